//! Checkpoints: where a run stands, in a file that is whole or not there.
//!
//! A checkpoint is the SHA-256 of the rest, then a safetensors file: the tensors of [`training_state`] and, as its
//! metadata, [`Progress`] in TOML. The dropout of a step is drawn from the run's seed and the step's number, an
//! epoch's order from the data seed and the epoch's, the learning rate follows from the step: so the step is all there
//! is to know of the generators, the schedule and the place in the data.
//!
//! [`training_state`]: crate::training_state

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, TensorData};
use rte::EncodedExample;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ProgramError;
use crate::journal::EvaluationRecord;
use crate::output::{Output, write_beside};
use crate::training_state::{self, Tensors};

/// The longest a run goes on without a checkpoint, unless its steps are longer or `--checkpoint-every` says otherwise.
const AT_LEAST_EVERY: Duration = Duration::from_secs(300);

/// The metadata's key.
const PROGRESS: &str = "progress";

/// The bytes of a SHA-256.
const HASH: usize = 32;

/// How far a run has come, and what run it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Optimizer steps taken.
    pub step: usize,
    /// Training examples so far.
    pub examples: usize,
    /// The time of the training steps.
    pub train_seconds: f64,
    /// The time of the evaluations.
    pub eval_seconds: f64,
    /// `metrics.jsonl` as it was.
    pub metrics: Metrics,
    /// What was read when the run began.
    pub contents: Contents,
    /// All evaluations.
    pub evaluations: Vec<EvaluationRecord>,
    /// What `config.toml` holds.
    pub settings: toml::Table,
}

/// How `metrics.jsonl` begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// So many bytes.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: String,
}

/// SHA-256 of what a run read, so that it does not go on with something else of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// The weights, new ones included.
    pub model: String,
    /// The tokens and labels of both splits.
    pub data: String,
}

impl Contents {
    /// Of a model before its first step, and of the two splits.
    pub fn of<B: AutodiffBackend, M: Module<B>>(model: &M, splits: [&[EncodedExample]; 2]) -> Self {
        let mut weights = Sha256::new();
        for (name, data) in training_state::collect(model, Vec::new()) {
            weights.update(name);
            weights.update(data.as_bytes());
        }
        let data = sha256_hex(format!("{splits:?}").as_bytes());
        Self { model: format!("{:x}", weights.finalize()), data }
    }

    /// What is not as it was.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let pairs =
            [("model", &self.model, &now.model), ("data", &self.data, &now.data)].into_iter();
        pairs
            .filter(|(_, then, now)| then != now)
            .map(|(key, ..)| format!("{key}: what was read then is not what is there now"))
            .collect()
    }
}

/// A checkpoint in memory.
#[derive(Debug)]
pub struct Checkpoint {
    /// How far the run has come.
    pub progress: Progress,
    /// Model and optimizer.
    pub tensors: Tensors,
}

impl Checkpoint {
    /// The file's bytes.
    ///
    /// # Errors
    /// A tensor that is neither float32 nor int64; a defect of the caller.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ProgramError> {
        let internal = |error: String| ProgramError::Internal(error);
        let progress = toml::to_string(&self.progress).map_err(|e| internal(e.to_string()))?;
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
        let metadata = HashMap::from([(PROGRESS.to_owned(), progress)]);
        let file = serialize(views, Some(metadata)).map_err(|e| internal(e.to_string()))?;
        let mut bytes = Sha256::digest(&file).to_vec();
        bytes.extend(file);
        Ok(bytes)
    }

    /// Read a file's bytes.
    ///
    /// # Errors
    /// Says what is wrong with them: damage of any kind, or another version's format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (hash, file) = bytes.split_at_checked(HASH).ok_or("it is cut short")?;
        if Sha256::digest(file).as_slice() != hash {
            return Err("its checksum is wrong".into());
        }
        Self::from_safetensors(file)
    }

    /// Read what the checksum covers.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_safetensors(file: &[u8]) -> Result<Self, String> {
        let text = |error: safetensors::SafeTensorError| error.to_string();
        let (_, metadata) = SafeTensors::read_metadata(file).map_err(text)?;
        let progress = metadata.metadata().as_ref().and_then(|metadata| metadata.get(PROGRESS));
        let progress = toml::from_str(progress.ok_or("it does not say how far the run is")?)
            .map_err(|error| format!("how far the run is: {error}"))?;
        let views = SafeTensors::deserialize(file).map_err(text)?;
        let tensors = views.iter().map(|(name, view)| Ok((name.to_owned(), tensor(name, &view)?)));
        Ok(Self { progress, tensors: tensors.collect::<Result<_, String>>()? })
    }
}

/// A tensor of a file, in memory of its own.
fn tensor(name: &str, view: &TensorView<'_>) -> Result<TensorData, String> {
    let (shape, bytes) = (view.shape(), view.data());
    match view.dtype() {
        Dtype::F32 => {
            let numbers = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            Ok(TensorData::new(numbers.collect::<Vec<_>>(), shape))
        }
        Dtype::I64 => {
            let numbers = bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            Ok(TensorData::new(numbers.collect::<Vec<_>>(), shape))
        }
        other => Err(format!("{name} is {other:?}")),
    }
}

/// Saves a run's checkpoints into its folder, and keeps the last two.
#[derive(Clone, Debug)]
pub struct Keeper {
    folder: PathBuf,
    /// `--checkpoint-every`.
    every: Option<usize>,
    settings: toml::Table,
    contents: Contents,
    saved: Instant,
}

impl Keeper {
    /// For a run into `output`.
    pub fn new(
        output: &Output,
        every: Option<usize>,
        settings: toml::Table,
        contents: Contents,
    ) -> Self {
        Self { folder: output.checkpoints(), every, settings, contents, saved: Instant::now() }
    }

    /// The settings that checkpoints carry.
    pub fn settings(&self) -> &toml::Table {
        &self.settings
    }

    /// What checkpoints say that the run read.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Whether `--checkpoint-every` or its default asks for a checkpoint after `step`.
    pub fn is_due(&self, step: usize) -> bool {
        match self.every {
            Some(every) => step.is_multiple_of(every),
            None => self.saved.elapsed() >= AT_LEAST_EVERY,
        }
    }

    /// Save, then remove all but this and the one before.
    ///
    /// # Errors
    /// Names the file that cannot be written; those of before are still there.
    pub fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), ProgramError> {
        let bytes = checkpoint.to_bytes()?;
        // Made by the run itself, so that a folder that has gone is noticed.
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(ProgramError::io("create", &self.folder)(error));
            }
            _ => {}
        }
        let step = checkpoint.progress.step;
        write_beside(&file(&self.folder, step), &bytes)?;
        self.saved = Instant::now();
        let steps = steps(&self.folder)?;
        let before = steps.iter().copied().find(|&other| other < step);
        for other in steps.into_iter().filter(|&other| other != step && Some(other) != before) {
            let path = file(&self.folder, other);
            fs::remove_file(&path).map_err(ProgramError::io("remove", &path))?;
        }
        Ok(())
    }
}

/// The last checkpoint of a run that is whole and goes with its `metrics.jsonl`; nothing if the run was stopped before
/// its first. Those that are damaged are reported on standard error.
///
/// # Errors
/// Checkpoints, but none that can be used.
pub fn newest(output: &Output) -> Result<Option<Checkpoint>, ProgramError> {
    let folder = output.checkpoints();
    let steps = steps(&folder)?;
    for &step in &steps {
        let path = file(&folder, step);
        match read(&path, &output.metrics_path()) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            Err(reason) => eprintln!("warning: {} cannot be used: {reason}", path.display()),
        }
    }
    match steps.is_empty() {
        true => Ok(None),
        false => Err(ProgramError::NoCheckpoint(folder)),
    }
}

fn read(path: &Path, metrics: &Path) -> Result<Checkpoint, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::from_bytes(&bytes)?;
    let Metrics { bytes, sha256 } = &checkpoint.progress.metrics;
    let written = fs::read(metrics).map_err(|error| format!("{}: {error}", metrics.display()))?;
    let begins = usize::try_from(*bytes).ok().and_then(|bytes| written.get(..bytes));
    if begins.map(sha256_hex).as_ref() != Some(sha256) {
        return Err(format!("{} does not begin as it did then", metrics.display()));
    }
    Ok(checkpoint)
}

/// The steps of the checkpoints in a folder, the last first.
fn steps(folder: &Path) -> Result<Vec<usize>, ProgramError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(ProgramError::io("read", folder))?,
    };
    let step = |entry: fs::DirEntry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("step-")?.strip_suffix(".checkpoint")?.parse().ok()
    };
    let mut steps: Vec<usize> = entries.flatten().filter_map(step).collect();
    steps.sort_unstable_by(|one, other| other.cmp(one));
    Ok(steps)
}

fn file(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("step-{step}.checkpoint"))
}

/// The SHA-256 of some bytes, in hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(step: usize) -> Checkpoint {
        let progress = Progress {
            step,
            examples: 8 * step,
            train_seconds: 0.1 + 0.2,
            eval_seconds: 1.0 / 3.0,
            metrics: Metrics { bytes: 0, sha256: sha256_hex(b"") },
            contents: Contents { model: "m".into(), data: "d".into() },
            evaluations: vec![EvaluationRecord {
                step,
                epoch: 1,
                eval_loss: 0.7,
                eval_accuracy: 2.0 / 3.0,
            }],
            settings: toml::toml! { epochs = 3 },
        };
        let tensors = [
            ("parameter/w".to_owned(), TensorData::new(vec![1.0f32, f32::MIN_POSITIVE], [2, 1])),
            ("time/w".to_owned(), TensorData::new(vec![7i64], [1])),
        ];
        Checkpoint { progress, tensors: tensors.into() }
    }

    fn folder() -> (tempfile::TempDir, Output) {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Output::create(folder.path(), false, "").expect("created");
        output.metrics().expect("created");
        (folder, output)
    }

    fn keeper(output: &Output) -> Keeper {
        Keeper::new(output, Some(1), toml::Table::new(), checkpoint(1).progress.contents)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = checkpoint(3);
        let read = Checkpoint::from_bytes(&written.to_bytes().expect("bytes")).expect("read");
        assert_eq!((read.progress, read.tensors), (written.progress, written.tensors));
    }

    #[test]
    fn any_damaged_byte_is_noticed() {
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
        let mut keeper = keeper(&output);
        for step in [1, 2, 9, 10] {
            keeper.save(&checkpoint(step)).expect("saved");
        }
        assert_eq!(steps(&output.checkpoints()).expect("read"), [10, 9]);
        // What was saved by a run that went on from an earlier checkpoint.
        keeper.save(&checkpoint(9)).expect("saved");
        assert_eq!(steps(&output.checkpoints()).expect("read"), [9]);
    }

    #[test]
    fn the_newest_whole_one_is_used() {
        let (_folder, output) = folder();
        assert!(newest(&output).expect("none").is_none());
        let mut keeper = keeper(&output);
        for step in [4, 5] {
            keeper.save(&checkpoint(step)).expect("saved");
        }
        let step = || newest(&output).map(|newest| newest.expect("one").progress.step);
        assert_eq!(step().expect("whole"), 5);
        fs::write(file(&output.checkpoints(), 5), "half").expect("written");
        assert_eq!(step().expect("the one before"), 4);
        fs::write(file(&output.checkpoints(), 4), "half").expect("written");
        let error = step().expect_err("none left").to_string();
        assert!(error.contains("checkpoints"), "{error}");
    }

    #[test]
    fn a_shorter_metrics_file_is_noticed() {
        let (_folder, output) = folder();
        let mut later = checkpoint(2);
        later.progress.metrics = Metrics { bytes: 3, sha256: sha256_hex(b"{}\n") };
        keeper(&output).save(&later).expect("saved");
        newest(&output).expect_err("nothing was written");
        fs::write(output.metrics_path(), "{}\n{\"half").expect("written");
        assert!(newest(&output).expect("its beginning is there").is_some());
    }
}
