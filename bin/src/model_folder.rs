//! Where models come from (the program itself, a path, or the hub), and the files of a model's folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use albert::{LoadReport, ModelConfig, Precision, SequenceClassifier, tokenizer_config};
use burn::tensor::backend::Backend;
use files::FileKind;
use rte::{EncodedExample, Padding, Task, TextBatcher, TextDataset, TextTokenizer};
use serde::Deserialize;

use crate::ProgramError;
use crate::device::DeviceKind;
use crate::hub::{self, repo::Kind};
use crate::settings::{DEFAULT_MAX_LENGTH, DEFAULT_TASK, is_embedded};

/// The name of the bundled model in messages.
const EMBEDDED_MODEL: &str = "the bundled model";

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// What the model was fine-tuned on: a [`Task`] as JSON. Not one of Hugging Face's files, whose libraries ignore it.
pub(crate) const TASK: &str = "task.json";

/// The files of a model, wherever they are.
#[derive(Clone, Debug)]
pub(crate) enum ModelSource {
    /// The small ALBERT in the program.
    Embedded,
    /// A Hugging Face folder.
    Folder(PathBuf),
}

impl ModelSource {
    /// Find the model that `--model` names. A model on the hub is downloaded; the output folder of
    /// `finetune` stands for the model in it.
    ///
    /// # Errors
    /// As [`hub::named`].
    pub(crate) fn find(path: &Path) -> Result<Self, ProgramError> {
        if is_embedded(path) {
            return Ok(Self::Embedded);
        }
        let downloaded = hub::named(path, Kind::Model)?;
        Ok(Self::Folder(downloaded.unwrap_or_else(|| model_in_output(path))))
    }

    /// The name of the model in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Embedded => EMBEDDED_MODEL.to_owned(),
            Self::Folder(path) => path.display().to_string(),
        }
    }

    fn config(&self) -> Result<ModelConfig, ProgramError> {
        Ok(match self {
            Self::Embedded => ModelConfig::from_json(embedded::CONFIG)?,
            Self::Folder(path) => ModelConfig::from_folder(path)?,
        })
    }

    fn tokenizer(&self, max_length: usize) -> Result<TextTokenizer, ProgramError> {
        Ok(match self {
            Self::Embedded => {
                let json = embedded::TOKENIZER.as_bytes();
                TextTokenizer::from_bytes(json, EMBEDDED_MODEL, max_length)?
            }
            Self::Folder(path) => TextTokenizer::from_folder(path, max_length)?,
        })
    }
}

/// A model's configuration and tokenizer.
pub(crate) struct ModelFolder {
    /// Where its files are.
    pub(crate) source: ModelSource,
    /// `config.json`.
    pub(crate) config: ModelConfig,
    /// `tokenizer.json`, truncating texts to [`Self::max_length`] tokens.
    pub(crate) tokenizer: TextTokenizer,
    /// The longest text or pair, in tokens.
    pub(crate) max_length: usize,
    /// Whether to initialize a new classifier even if the weights have one.
    new_classifier: bool,
}

impl ModelFolder {
    /// Open a pretrained model.
    ///
    /// # Errors
    /// An unusable `config.json` or `tokenizer.json`, a `max_length` beyond the model's position embeddings, a tokenizer
    /// with ids beyond the model's vocabulary or segments.
    pub(crate) fn open(path: &Path, max_length: usize) -> Result<Self, ProgramError> {
        Self::new(ModelSource::find(path)?, max_length)
    }

    fn new(source: ModelSource, max_length: usize) -> Result<Self, ProgramError> {
        let config = source.config()?;
        config.check_length(max_length)?;
        let tokenizer = source.tokenizer(max_length)?;
        tokenizer.check_vocabulary(config.vocab_size)?;
        tokenizer.check_segments(config.type_vocab_size)?;
        Ok(Self { source, config, tokenizer, max_length, new_classifier: false })
    }

    /// Open a fine-tuned model. Without a `max_length` it is the one that the model was fine-tuned with.
    ///
    /// # Errors
    /// As [`open`](Self::open), and the bundled model, which is not fine-tuned.
    pub(crate) fn open_fine_tuned(
        path: &Path,
        max_length: Option<usize>,
    ) -> Result<Self, ProgramError> {
        let source = ModelSource::find(path)?;
        let ModelSource::Folder(folder) = &source else {
            return Err(ProgramError::Mismatch(
                "the bundled model is not fine-tuned: run `l2sp finetune` first, then give its output folder as --model"
                    .into(),
            ));
        };
        let max_length = match max_length {
            Some(max_length) => max_length,
            None => {
                let longest = source.config()?.max_length();
                written_max_length(folder).unwrap_or(DEFAULT_MAX_LENGTH).min(longest)
            }
        };
        Self::new(source, max_length)
    }

    /// The task that a fine-tuned model is for: `name`, what its run has written, or RTE.
    ///
    /// # Errors
    /// An unknown name, a `task.json` that cannot be read.
    pub(crate) fn task(&self, name: Option<&str>) -> Result<Task, ProgramError> {
        let written = match &self.source {
            ModelSource::Folder(folder) => Some(folder.join(TASK)).filter(|path| path.exists()),
            ModelSource::Embedded => None,
        };
        match (name, written) {
            (Some(name), _) => Ok(Task::named(name)?),
            (None, Some(path)) => {
                let text = files::read_to_string(&path, FileKind::Config)
                    .map_err(ProgramError::io("read", &path))?;
                serde_json::from_str(&text)
                    .map_err(|error| ProgramError::Mismatch(format!("{}: {error}", path.display())))
            }
            (None, None) => Ok(Task::named(DEFAULT_TASK)?),
        }
    }

    /// Prepare the model for fine-tuning on `task`: its classifier is kept if it is for the same labels, in whatever
    /// order, and replaced by a new one otherwise. Returns the model's index of each of the task's labels.
    pub(crate) fn prepare_for(&mut self, task: &Task, new_classifier: bool) -> Vec<usize> {
        let labels: Vec<&str> = task.labels.iter().map(String::as_str).collect();
        let kept = if new_classifier { None } else { self.label_indices(task) };
        self.new_classifier = kept.is_none();
        if kept.is_none() || !self.has_label_names() {
            self.config = self.config.clone().with_labels(&labels);
        }
        kept.unwrap_or_else(|| (0..labels.len()).collect())
    }

    /// The model's index of each of the task's labels: by name, whatever its case if need be, or in order for a model
    /// without label names. `None` if the model is for other labels.
    pub(crate) fn label_indices(&self, task: &Task) -> Option<Vec<usize>> {
        let names = &self.config.id2label;
        if names.len() != task.labels.len() {
            return None;
        }
        if !self.has_label_names() {
            return Some((0..names.len()).collect());
        }
        let find = |is_it: &dyn Fn(&str) -> bool| {
            names.iter().find(|(_, name)| is_it(name)).map(|(index, _)| *index)
        };
        // Published models write a label as ENTAILMENT, too.
        let index = |label: &String| {
            let lower_case = label.to_lowercase();
            find(&|name| name == label).or_else(|| find(&|name| name.to_lowercase() == lower_case))
        };
        let indices: Vec<usize> = task.labels.iter().map(index).collect::<Option<_>>()?;
        let distinct: BTreeSet<usize> = indices.iter().copied().collect();
        (distinct.len() == indices.len()).then_some(indices)
    }

    /// [`label_indices`](Self::label_indices) of a model that must be for the labels of `task`.
    ///
    /// # Errors
    /// A model for other labels.
    pub(crate) fn require_labels_of(&self, task: &Task) -> Result<Vec<usize>, ProgramError> {
        self.label_indices(task).ok_or_else(|| {
            let names = self.labels();
            ProgramError::Mismatch(format!(
                "{}: the model has {} labels ({}), but the task has {} ({}); give the --task it was fine-tuned on",
                self.source.name(),
                names.len(),
                names.join(", "),
                task.labels.len(),
                task.labels.join(", ")
            ))
        })
    }

    /// The names of the model's labels, by index.
    pub(crate) fn labels(&self) -> Vec<&str> {
        self.config.id2label.values().map(String::as_str).collect()
    }

    /// Whether the labels have names, other than transformers' default `LABEL_0`, `LABEL_1`, …
    fn has_label_names(&self) -> bool {
        self.config.id2label.iter().any(|(index, name)| *name != format!("LABEL_{index}"))
    }

    /// Load the weights. A classifier that is missing or must be new is initialized with `seed`.
    ///
    /// # Errors
    /// As [`SequenceClassifier::from_pretrained`].
    pub(crate) fn load<B: Backend>(
        &self,
        seed: u64,
        device: &B::Device,
    ) -> Result<(SequenceClassifier<B>, LoadReport), ProgramError> {
        type Classifier<B> = SequenceClassifier<B>;
        let config = &self.config;
        Ok(match &self.source {
            ModelSource::Embedded => {
                Classifier::from_bytes(embedded::WEIGHTS, EMBEDDED_MODEL, config, seed, device)?
            }
            ModelSource::Folder(path) if self.new_classifier => {
                Classifier::from_pretrained_encoder(path, config, seed, device)?
            }
            ModelSource::Folder(path) => Classifier::from_pretrained(path, config, seed, device)?,
        })
    }

    /// Load a fine-tuned model, computing in `precision`.
    ///
    /// # Errors
    /// Weights that cannot be read or lack the classifier: one initialized at random predicts nothing.
    pub(crate) fn load_fine_tuned<B: Backend>(
        &self,
        precision: Precision,
        device: &B::Device,
    ) -> Result<SequenceClassifier<B>, ProgramError> {
        let (model, report) = self.load::<B>(0, device)?;
        if !report.new.is_empty() {
            return Err(ProgramError::Mismatch(format!(
                "{}: the weights lack {}, so this model is not fine-tuned: run `l2sp finetune` with it first",
                self.source.name(),
                report.new.join(", ")
            )));
        }
        Ok(model.in_precision(precision))
    }

    /// Save the files next to the weights of a model fine-tuned on `task`: the tokenizer, as Python's
    /// `AutoTokenizer` reads it, and the task.
    ///
    /// # Errors
    /// A file cannot be read or written; the error names it.
    pub(crate) fn save_tokenizer_and_task(
        &self,
        task: &Task,
        folder: &Path,
    ) -> Result<(), ProgramError> {
        let (tokenizer, source) = match &self.source {
            ModelSource::Embedded => (embedded::TOKENIZER.as_bytes().to_vec(), None),
            ModelSource::Folder(path) => {
                let file = path.join(TOKENIZER);
                let bytes = files::read(&file, FileKind::Tokenizer);
                (bytes.map_err(ProgramError::io("read", &file))?, Some(path.as_path()))
            }
        };
        let path = folder.join(TOKENIZER);
        files::write(&path, &tokenizer).map_err(ProgramError::io("write", &path))?;
        write_tokenizer_config(&self.config, &tokenizer, source, self.max_length, folder)?;
        let task = serde_json::to_string_pretty(task)
            .map_err(|error| ProgramError::Internal(error.to_string()))?;
        let path = folder.join(TASK);
        files::write(&path, format!("{task}\n").as_bytes())
            .map_err(ProgramError::io("write", &path))
    }

    /// Tokenize a dataset whose labels are at `label_indices` in the model.
    ///
    /// # Errors
    /// A text that the tokenizer refuses.
    pub(crate) fn encode(
        &self,
        dataset: &TextDataset,
        label_indices: &[usize],
    ) -> Result<Vec<EncodedExample>, ProgramError> {
        let mut examples = self.tokenizer.encode_all(dataset.examples())?;
        for example in &mut examples {
            example.label = example.label.map(|label| label_indices[label]);
        }
        Ok(examples)
    }

    /// Makes batches of up to `rows` examples for a device. Where each shape is compiled, all have `rows` rows, and one length
    /// or, if asked for, a few.
    pub(crate) fn batcher(&self, device: DeviceKind, padding: Padding, rows: usize) -> TextBatcher {
        let fixed = device.compiles_each_shape();
        TextBatcher {
            padding: if fixed && padding == Padding::Longest {
                Padding::MaxLength
            } else {
                padding
            },
            max_length: self.max_length,
            pad_token_id: self.tokenizer.pad_token_id(),
            rows: fixed.then_some(rows),
        }
    }
}

/// The model's folder in the output folder of `finetune`; `path` itself if it is not an output folder.
fn model_in_output(path: &Path) -> PathBuf {
    let inside = path.join("model");
    if !path.join("config.json").exists() && inside.is_dir() { inside } else { path.to_owned() }
}

/// Write the `tokenizer_config.json` that goes with a `tokenizer.json`; `source` is the folder it comes from.
///
/// # Errors
/// Names the file if it cannot be written.
pub(crate) fn write_tokenizer_config(
    config: &ModelConfig,
    tokenizer: &[u8],
    source: Option<&Path>,
    max_length: usize,
    folder: &Path,
) -> Result<(), ProgramError> {
    let text = tokenizer_config(config, tokenizer, source, max_length);
    let path = folder.join(TOKENIZER_CONFIG);
    files::write(&path, text.as_bytes()).map_err(ProgramError::io("write", &path))
}

/// `model_max_length` in `tokenizer_config.json`, if it is a usable length.
fn written_max_length(folder: &Path) -> Option<usize> {
    #[derive(Deserialize)]
    struct TokenizerConfig {
        /// Hugging Face writes a number beyond any integer for "no limit".
        model_max_length: Option<f64>,
    }
    let text = files::read_to_string(&folder.join(TOKENIZER_CONFIG), FileKind::Config).ok()?;
    let config: TokenizerConfig = serde_json::from_str(&text).ok()?;
    let length = config.model_max_length?;
    (1.0..1e9).contains(&length).then_some(length as usize)
}
