//! Where models and data come from (the program itself, a path, or the hub), and the files of a model's folder.

use std::path::{Path, PathBuf};

use albert::{AlbertConfig, AlbertForSequenceClassification, LoadReport, Precision};
use burn::tensor::backend::Backend;
use rte::{
    EncodedExample, LABELS, Padding, PairTokenizer, RteBatcher, RteDataset, RteExample, Split,
    label_id,
};
use serde::Deserialize;

use crate::ProgramError;
use crate::hub::{self, Freshness};
use crate::resume::file;
use crate::settings::DEFAULT_MAX_LENGTH;

/// The name of the bundled model and of the bundled task. (A folder of this name is `./embedded`.)
pub(crate) const EMBEDDED: &str = "embedded";

/// The folders in which a collection of tasks on the hub may have RTE.
pub(crate) const DATA_FOLDERS: &[&str] = &["rte", "RTE"];

/// What messages call them.
const EMBEDDED_MODEL: &str = "the bundled model";
const EMBEDDED_TASK: &str = "the bundled task";

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// Whether a `--model` or `--data` means the bundled one.
pub(crate) fn is_embedded(path: &Path) -> bool {
    path == Path::new(EMBEDDED)
}

/// The files of a model, wherever they are.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// The small ALBERT in the program.
    Embedded,
    /// A Hugging Face folder.
    Folder(PathBuf),
}

impl ModelSource {
    /// What a `--model` means. A model on the hub is downloaded; the output folder of `finetune` stands for the model in it.
    ///
    /// # Errors
    /// As [`hub::model`].
    pub fn find(path: &Path) -> Result<Self, ProgramError> {
        if is_embedded(path) {
            return Ok(Self::Embedded);
        }
        let downloaded = hub::model(path, Freshness::Cached)?;
        Ok(Self::Folder(downloaded.unwrap_or_else(|| model_in_output(path))))
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded => EMBEDDED_MODEL.to_owned(),
            Self::Folder(path) => path.display().to_string(),
        }
    }

    fn config(&self) -> Result<AlbertConfig, ProgramError> {
        Ok(match self {
            Self::Embedded => AlbertConfig::from_json(embedded::CONFIG)?,
            Self::Folder(path) => AlbertConfig::from_folder(path)?,
        })
    }

    fn tokenizer(&self, max_length: usize) -> Result<PairTokenizer, ProgramError> {
        Ok(match self {
            Self::Embedded => {
                let json = embedded::TOKENIZER.as_bytes();
                PairTokenizer::from_bytes(json, EMBEDDED_MODEL, max_length)?
            }
            Self::Folder(path) => PairTokenizer::from_folder(path, max_length)?,
        })
    }

    /// Load the weights. A classifier that they lack is initialized with `seed`.
    ///
    /// # Errors
    /// As [`AlbertForSequenceClassification::from_pretrained`].
    pub fn load<B: Backend>(
        &self,
        config: &AlbertConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(AlbertForSequenceClassification<B>, LoadReport), ProgramError> {
        type Classifier<B> = AlbertForSequenceClassification<B>;
        Ok(match self {
            Self::Embedded => {
                Classifier::from_bytes(embedded::WEIGHTS, EMBEDDED_MODEL, config, seed, device)?
            }
            Self::Folder(path) => Classifier::from_pretrained(path, config, seed, device)?,
        })
    }
}

/// A model's configuration and tokenizer.
pub struct ModelFolder {
    /// Where its files are.
    pub source: ModelSource,
    /// `config.json`.
    pub config: AlbertConfig,
    /// `tokenizer.json`, truncating pairs to [`Self::max_length`] tokens.
    pub tokenizer: PairTokenizer,
    /// The longest pair, in tokens.
    pub max_length: usize,
}

impl ModelFolder {
    /// Open a pretrained model.
    ///
    /// # Errors
    /// An unusable `config.json` or `tokenizer.json`, a `max_length` beyond the model's position embeddings, a tokenizer
    /// with ids beyond the model's vocabulary.
    pub fn open(path: &Path, max_length: usize) -> Result<Self, ProgramError> {
        let source = ModelSource::find(path)?;
        let config = source.config()?;
        config.check_length(max_length)?;
        let tokenizer = source.tokenizer(max_length)?;
        tokenizer.check_vocabulary(config.vocab_size)?;
        Ok(Self { source, config, tokenizer, max_length })
    }

    /// Open a fine-tuned model. Without a `max_length` it is the one that the model was fine-tuned with.
    ///
    /// # Errors
    /// As [`open`](Self::open), and a model that has not RTE's two labels.
    pub fn open_fine_tuned(path: &Path, max_length: Option<usize>) -> Result<Self, ProgramError> {
        let ModelSource::Folder(path) = ModelSource::find(path)? else {
            return Err(ProgramError::Mismatch(
                "the bundled model is not fine-tuned yet: use finetune first, and --model with its output folder"
                    .into(),
            ));
        };
        let config = AlbertConfig::from_folder(&path)?;
        if config.num_labels() != LABELS.len() {
            return Err(ProgramError::Mismatch(format!(
                "{}: the model has {} labels, but RTE has {} ({})",
                path.join("config.json").display(),
                config.num_labels(),
                LABELS.len(),
                LABELS.join(", ")
            )));
        }
        let max_length = max_length.unwrap_or_else(|| {
            let written = written_max_length(&path).unwrap_or(DEFAULT_MAX_LENGTH);
            written.min(config.max_position_embeddings)
        });
        Self::open(&path, max_length)
    }

    /// Load a fine-tuned model, computing in `precision`.
    ///
    /// # Errors
    /// Weights that cannot be read or lack the classifier: one initialized at random predicts nothing.
    pub fn load_fine_tuned<B: Backend>(
        &self,
        precision: Precision,
        device: &B::Device,
    ) -> Result<AlbertForSequenceClassification<B>, ProgramError> {
        let (model, report) = self.source.load::<B>(&self.config, 0, device)?;
        if !report.new.is_empty() {
            return Err(ProgramError::Mismatch(format!(
                "{}: the weights lack {}; this model is not fine-tuned yet: use finetune first",
                self.source.name(),
                report.new.join(", ")
            )));
        }
        Ok(model.in_precision(precision))
    }

    /// Save the tokenizer to a model's folder, together with the longest pair.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save_tokenizer(&self, folder: &Path) -> Result<(), ProgramError> {
        let to = folder.join(TOKENIZER);
        match &self.source {
            ModelSource::Embedded => std::fs::write(&to, embedded::TOKENIZER),
            ModelSource::Folder(path) => std::fs::copy(path.join(TOKENIZER), &to).map(|_| ()),
        }
        .map_err(ProgramError::io("write", &to))?;
        write_tokenizer_config(folder, self.max_length)
    }

    /// Tokenise a labelled split of RTE.
    ///
    /// # Errors
    /// Data that cannot be read, is empty or lacks a label.
    pub fn read_labelled(
        &self,
        data: &Path,
        split: Split,
    ) -> Result<Vec<EncodedExample>, ProgramError> {
        let dataset = open_data(data, split)?;
        dataset.require_labels()?;
        Ok(self.tokenizer.encode_all(dataset.examples())?)
    }

    /// Makes batches padded to their longest pair.
    pub fn batcher(&self) -> RteBatcher {
        RteBatcher {
            padding: Padding::Longest,
            max_length: self.max_length,
            pad_token_id: self.tokenizer.pad_token_id(),
        }
    }

    /// For each of RTE's [`LABELS`] the model's index of it: by name, or in order for a model without label names.
    pub fn label_indices(&self) -> Vec<usize> {
        let named = |label: &str| {
            self.config.id2label.iter().find(|(_, name)| *name == label).map(|(index, _)| *index)
        };
        LABELS.iter().enumerate().map(|(order, label)| named(label).unwrap_or(order)).collect()
    }
}

/// The model's folder in the output folder of `finetune`; `path` itself if it is no such folder.
fn model_in_output(path: &Path) -> PathBuf {
    let inside = path.join("model");
    if !path.join("config.json").exists() && inside.is_dir() { inside } else { path.to_owned() }
}

/// Write the `tokenizer_config.json` that goes with a `tokenizer.json`.
///
/// # Errors
/// Names the file if it cannot be written.
pub(crate) fn write_tokenizer_config(folder: &Path, max_length: usize) -> Result<(), ProgramError> {
    let text = serde_json::json!({
        "model_max_length": max_length,
        "tokenizer_class": "PreTrainedTokenizerFast",
    });
    file::write(&folder.join(TOKENIZER_CONFIG), format!("{text:#}\n").as_bytes())
}

/// `model_max_length` in `tokenizer_config.json`, if it is a usable length.
fn written_max_length(folder: &Path) -> Option<usize> {
    #[derive(Deserialize)]
    struct TokenizerConfig {
        /// Hugging Face writes a number beyond any integer for "no limit".
        model_max_length: Option<f64>,
    }
    let text = std::fs::read_to_string(folder.join(TOKENIZER_CONFIG)).ok()?;
    let config: TokenizerConfig = serde_json::from_str(&text).ok()?;
    let length = config.model_max_length?;
    (1.0..1e9).contains(&length).then_some(length as usize)
}

/// What a `--data` means: a path, or the folder that was downloaded from the hub.
///
/// # Errors
/// As [`hub::data`].
pub(crate) fn find_data(path: &Path) -> Result<PathBuf, ProgramError> {
    Ok(hub::data(path, DATA_FOLDERS, Freshness::Cached)?.unwrap_or_else(|| path.to_owned()))
}

/// Open a split of the bundled task, of a folder, or a file.
///
/// # Errors
/// As [`RteDataset::open`].
fn open_data(data: &Path, split: Split) -> Result<RteDataset, ProgramError> {
    if !is_embedded(data) {
        return Ok(RteDataset::open(data, split)?);
    }
    let task = embedded::task();
    let pairs = match split {
        Split::Train => &task.train,
        Split::Validation => &task.validation,
        Split::Test => &task.test,
    };
    let example = |(idx, pair): (usize, &embedded::Pair)| RteExample {
        sentence1: pair.premise.clone(),
        sentence2: pair.hypothesis.clone(),
        label: label_id(LABELS[usize::from(!pair.entailed)]),
        idx,
    };
    let examples = pairs.iter().enumerate().map(example).collect();
    Ok(RteDataset::from_examples(examples, EMBEDDED_TASK))
}
