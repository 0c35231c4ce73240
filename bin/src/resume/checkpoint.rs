//! Checkpoints: the state of a run in a file that is either complete or absent.
//!
//! A checkpoint is the SHA-256 of what follows it, then a safetensors file: the tensors of [`state`] and, as
//! metadata, a [`CheckpointHeader`] in TOML. It holds no state of a random number generator: the dropout of a step is drawn
//! from the run's seed and the number of the step, the order of an epoch from the data seed and the number of the epoch,
//! and the learning rate follows from the step.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, TensorData};
use files::FileKind;
use rte::EncodedExample;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ProgramError;
use crate::terminal::notice;
use crate::train::metrics_log::Prefix;
use crate::train::progress::Progress;

use super::output::{Output, checkpoint_path, step_of};
use super::state::{self, Tensors};

/// The time between two checkpoints without `--checkpoint-every`, unless a step takes longer.
const INTERVAL: Duration = Duration::from_secs(300);

/// The key of the header in the metadata.
const HEADER: &str = "header";

/// The length of a SHA-256 in bytes.
const HASH: usize = 32;

/// The metadata of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointHeader {
    /// How far the run has come.
    pub progress: Progress,
    /// The part of `metrics.jsonl` written so far.
    pub metrics: Prefix,
    /// The hashes of the inputs of the run.
    pub contents: Contents,
    /// The settings of the run, as in `config.toml`.
    pub settings: toml::Table,
}

/// SHA-256 hashes of the inputs of a run, so that it is not resumed with different files of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// The weights, new ones included.
    pub model: String,
    /// The tokens and labels of both splits.
    pub data: String,
}

impl Contents {
    /// Hash the model before its first step and the two splits.
    pub fn of<B: AutodiffBackend, M: Module<B>>(model: &M, splits: [&[EncodedExample]; 2]) -> Self {
        let mut weights = Sha256::new();
        for (name, data) in state::collect(model, Vec::new()) {
            weights.update(name);
            weights.update(data.as_bytes());
        }
        let mut data = Sha256::new();
        // Nothing fails: what is written is hashed.
        write!(data, "{splits:?}").ok();
        let [model, data] = [weights, data].map(|hash| format!("{:x}", hash.finalize()));
        Self { model, data }
    }

    /// Describes the inputs that have changed.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let pairs =
            [("model", &self.model, &now.model), ("data", &self.data, &now.data)].into_iter();
        pairs
            .filter(|(_, then, now)| then != now)
            .map(|(key, ..)| format!("{key}: changed since the run was started"))
            .collect()
    }
}

/// A checkpoint in memory.
#[derive(Debug)]
pub struct Checkpoint {
    /// Its metadata.
    pub header: CheckpointHeader,
    /// The model and the state of its optimizer.
    pub tensors: Tensors,
}

impl Checkpoint {
    /// The file's bytes.
    ///
    /// # Errors
    /// A tensor is neither float32 nor int64, which is a bug in the caller.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ProgramError> {
        let internal = |error: String| ProgramError::Internal(error);
        let header = toml::to_string(&self.header).map_err(|e| internal(e.to_string()))?;
        let mut views = BTreeMap::new();
        for (name, data) in &self.tensors {
            let dtype = match data.dtype {
                DType::F32 => Dtype::F32,
                DType::I64 => Dtype::I64,
                other => return Err(internal(format!("{name} is {other:?}"))),
            };
            let view = TensorView::new(dtype, data.shape.to_vec(), data.as_bytes())
                .map_err(|error| internal(error.to_string()))?;
            views.insert(name, view);
        }
        let metadata = HashMap::from([(HEADER.to_owned(), header)]);
        let mut file = serialize(views, Some(metadata)).map_err(|e| internal(e.to_string()))?;
        let hash = Sha256::digest(&file);
        file.splice(..0, hash);
        Ok(file)
    }

    /// Read a file's bytes.
    ///
    /// # Errors
    /// A message that says why the bytes are not a checkpoint: they are damaged, or written by another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (hash, file) = bytes.split_at_checked(HASH).ok_or("it is truncated")?;
        if Sha256::digest(file).as_slice() != hash {
            return Err("its checksum is wrong".into());
        }
        Self::from_safetensors(file)
    }

    /// Read the safetensors file that follows the checksum.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_safetensors(file: &[u8]) -> Result<Self, String> {
        let text = |error: safetensors::SafeTensorError| error.to_string();
        let (_, metadata) = SafeTensors::read_metadata(file).map_err(text)?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(HEADER));
        let header = toml::from_str(header.ok_or("it has no header")?)
            .map_err(|error| format!("its header: {error}"))?;
        let views = SafeTensors::deserialize(file).map_err(text)?;
        let tensors = views.iter().map(|(name, view)| Ok((name.to_owned(), tensor(name, &view)?)));
        Ok(Self { header, tensors: tensors.collect::<Result<_, String>>()? })
    }
}

/// Copy a tensor out of a file.
fn tensor(name: &str, view: &TensorView<'_>) -> Result<TensorData, String> {
    let (shape, bytes) = (view.shape(), view.data());
    match view.dtype() {
        Dtype::F32 => {
            let values = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            Ok(TensorData::new(values.collect::<Vec<_>>(), shape))
        }
        Dtype::I64 => {
            let values = bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            Ok(TensorData::new(values.collect::<Vec<_>>(), shape))
        }
        other => Err(format!("{name} is {other:?}")),
    }
}

/// Saves a run's checkpoints into its folder, and keeps the last two.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    /// `--checkpoint-every`.
    every: Option<usize>,
    /// The settings of the run.
    pub(crate) settings: toml::Table,
    /// The hashes of the inputs of the run.
    pub(crate) contents: Contents,
    /// The step of the newest checkpoint; without one, that at which the run began.
    pub(crate) newest: usize,
    saved: Instant,
}

impl Checkpoints {
    /// The checkpoints of a run into `output` from the step `newest` on, whose settings and contents the checkpoints
    /// repeat.
    pub(crate) fn new(
        output: &Output,
        every: Option<usize>,
        settings: toml::Table,
        contents: Contents,
        newest: usize,
    ) -> Self {
        let (folder, saved) = (output.checkpoints(), Instant::now());
        Self { folder, every, settings, contents, newest, saved }
    }

    /// Whether `--checkpoint-every` or its default asks for a checkpoint after `step`.
    pub(crate) fn is_due(&self, step: usize) -> bool {
        match self.every {
            Some(every) => step.is_multiple_of(every),
            None => self.saved.elapsed() >= INTERVAL,
        }
    }

    /// Save a checkpoint, then remove all but this one and the one before.
    ///
    /// # Errors
    /// Names the file that cannot be written; the earlier checkpoints are kept.
    pub(crate) fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), ProgramError> {
        let bytes = checkpoint.to_bytes()?;
        // Not created recursively, so that a run notices when its output folder has disappeared.
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(ProgramError::io("create", &self.folder)(error));
            }
            _ => {}
        }
        let step = checkpoint.header.progress.step;
        let path = checkpoint_path(&self.folder, step);
        files::write(&path, &bytes).map_err(ProgramError::io("write", &path))?;
        (self.newest, self.saved) = (step, Instant::now());
        let steps = steps(&self.folder)?;
        let before = steps.iter().copied().find(|&other| other < step);
        for other in steps.into_iter().filter(|&other| other != step && Some(other) != before) {
            let path = checkpoint_path(&self.folder, other);
            fs::remove_file(&path).map_err(ProgramError::io("remove", &path))?;
        }
        Ok(())
    }
}

/// The newest checkpoint of a run that is intact and fits its `metrics.jsonl`; `None` if the run was stopped before its
/// first. Damaged ones are reported on standard error.
///
/// # Errors
/// There are checkpoints, but none is usable.
pub(crate) fn newest(output: &Output) -> Result<Option<Checkpoint>, ProgramError> {
    let folder = output.checkpoints();
    let steps = steps(&folder)?;
    for &step in &steps {
        let path = checkpoint_path(&folder, step);
        match read(&path, &output.metrics()) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(reason) => {
                notice(format_args!("warning: {} cannot be used: {reason}", path.display()))
            }
        }
    }
    match steps.is_empty() {
        true => Ok(None),
        false => Err(ProgramError::NoCheckpoint(folder)),
    }
}

fn read(path: &Path, metrics: &Path) -> Result<Checkpoint, String> {
    let bytes = files::read(path, FileKind::Weights).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::from_bytes(&bytes)?;
    let Prefix { bytes, sha256 } = &checkpoint.header.metrics;
    let written = files::read(metrics, FileKind::Data)
        .map_err(|error| format!("{}: {error}", metrics.display()))?;
    let begins = usize::try_from(*bytes).ok().and_then(|bytes| written.get(..bytes));
    if begins.map(sha256_hex).as_ref() != Some(sha256) {
        return Err(format!(
            "{} does not begin as it did when the checkpoint was saved",
            metrics.display()
        ));
    }
    Ok(checkpoint)
}

/// The steps of the checkpoints in a folder, the newest first.
fn steps(folder: &Path) -> Result<Vec<usize>, ProgramError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(ProgramError::io("read", folder))?,
    };
    let step = |entry: fs::DirEntry| step_of(entry.file_name().to_str()?);
    let mut steps: Vec<usize> = entries.flatten().filter_map(step).collect();
    steps.sort_unstable_by(|one, other| other.cmp(one));
    Ok(steps)
}

/// The SHA-256 of `bytes` in hexadecimal.
fn sha256_hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::train::progress::EvaluationRecord;

    fn checkpoint(step: usize) -> Checkpoint {
        let progress = Progress {
            step,
            examples: 8 * step,
            train_seconds: 0.1 + 0.2,
            eval_seconds: 1.0 / 3.0,
            evaluations: vec![EvaluationRecord {
                step,
                epoch: 1,
                eval_loss: 0.7,
                eval_accuracy: 2.0 / 3.0,
                eval_f1: Some(0.8),
                eval_matthews_correlation: None,
            }],
        };
        let header = CheckpointHeader {
            progress,
            metrics: Prefix { bytes: 0, sha256: sha256_hex(b"") },
            contents: Contents { model: "m".into(), data: "d".into() },
            settings: toml::toml! { epochs = 3 },
        };
        let tensors = [
            ("parameter/w".to_owned(), TensorData::new(vec![1.0f32, f32::MIN_POSITIVE], [2, 1])),
            ("time/w".to_owned(), TensorData::new(vec![7i64], [1])),
        ];
        Checkpoint { header, tensors: tensors.into() }
    }

    fn folder() -> (tempfile::TempDir, Output) {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Some(folder.path().to_owned());
        let settings = Settings { output, ..Settings::default() };
        let output = Output::create(&settings).expect("created");
        fs::write(output.metrics(), "").expect("created");
        (folder, output)
    }

    fn checkpoints(output: &Output) -> Checkpoints {
        let contents = checkpoint(1).header.contents;
        Checkpoints::new(output, Some(1), toml::Table::new(), contents, 0)
    }

    #[test]
    fn a_checkpoint_survives_a_round_trip() {
        let written = checkpoint(3);
        let read = Checkpoint::from_bytes(&written.to_bytes().expect("bytes")).expect("read");
        assert_eq!((read.header, read.tensors), (written.header, written.tensors));
    }

    #[test]
    fn any_damaged_byte_is_detected() {
        let bytes = checkpoint(3).to_bytes().expect("bytes");
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1;
            Checkpoint::from_bytes(&damaged).expect_err("damaged");
            Checkpoint::from_bytes(&bytes[..index]).expect_err("cut short");
        }
    }

    #[test]
    fn the_last_two_are_kept() {
        let (_folder, output) = folder();
        let mut checkpoints = checkpoints(&output);
        for step in [1, 2, 9, 10] {
            checkpoints.save(&checkpoint(step)).expect("saved");
        }
        assert_eq!(steps(&output.checkpoints()).expect("read"), [10, 9]);
        // Saved by a run that resumed from an earlier checkpoint.
        checkpoints.save(&checkpoint(9)).expect("saved");
        assert_eq!(steps(&output.checkpoints()).expect("read"), [9]);
    }

    #[test]
    fn the_newest_intact_checkpoint_is_used() {
        let (_folder, output) = folder();
        assert!(newest(&output).expect("none").is_none());
        let mut checkpoints = checkpoints(&output);
        for step in [4, 5] {
            checkpoints.save(&checkpoint(step)).expect("saved");
        }
        let step = || newest(&output).map(|newest| newest.expect("one").header.progress.step);
        assert_eq!(step().expect("intact"), 5);
        fs::write(checkpoint_path(&output.checkpoints(), 5), "half").expect("written");
        assert_eq!(step().expect("the one before"), 4);
        fs::write(checkpoint_path(&output.checkpoints(), 4), "half").expect("written");
        let error = step().expect_err("none left").to_string();
        assert!(error.contains("checkpoints"), "{error}");
    }

    #[test]
    fn a_shorter_metrics_file_is_detected() {
        let (_folder, output) = folder();
        let mut later = checkpoint(2);
        later.header.metrics = Prefix { bytes: 3, sha256: sha256_hex(b"{}\n") };
        checkpoints(&output).save(&later).expect("saved");
        newest(&output).expect_err("nothing was written");
        fs::write(output.metrics(), "{}\n{\"half").expect("written");
        assert!(newest(&output).expect("its beginning is there").is_some());
    }
}
