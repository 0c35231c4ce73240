//! Where models and data come from: the program itself, a path, or the hub.

use std::path::{Path, PathBuf};

use albert::{LoadReport, ModelConfig, SequenceClassifier};
use burn::tensor::backend::Backend;
use rte::{LABELS, PairTokenizer, RteDataset, RteExample, Split, label_id};

use crate::ProgramError;
use crate::hub::{self, Freshness};

/// The name of what the program carries. (A folder of this name is `./embedded`.)
pub const EMBEDDED: &str = "embedded";

/// What errors call the embedded model and task.
const EMBEDDED_MODEL: &str = "the embedded model";
const EMBEDDED_TASK: &str = "the embedded task";

/// Whether a `--model` or `--data` is what the program carries.
pub fn is_embedded(path: &Path) -> bool {
    path == Path::new(EMBEDDED)
}

/// A pretrained or fine-tuned model.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// The small ALBERT that the program carries.
    Embedded,
    /// A Hugging Face folder.
    Folder(PathBuf),
}

impl ModelSource {
    /// What a `--model` means. What is on the hub is fetched.
    ///
    /// # Errors
    /// As [`hub::model`].
    pub fn find(path: &Path) -> Result<Self, ProgramError> {
        if is_embedded(path) {
            return Ok(Self::Embedded);
        }
        let fetched = hub::model(path, Freshness::Cached)?;
        Ok(Self::Folder(fetched.unwrap_or_else(|| path.to_path_buf())))
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        match self {
            Self::Embedded => EMBEDDED_MODEL.to_owned(),
            Self::Folder(path) => path.display().to_string(),
        }
    }

    /// `config.json`.
    ///
    /// # Errors
    /// As [`ModelConfig::from_folder`].
    pub fn config(&self) -> Result<ModelConfig, ProgramError> {
        Ok(match self {
            Self::Embedded => ModelConfig::from_json(embedded::CONFIG)?,
            Self::Folder(path) => ModelConfig::from_folder(path)?,
        })
    }

    /// `tokenizer.json`, for pairs of at most `max_length` tokens.
    ///
    /// # Errors
    /// As [`PairTokenizer::from_folder`].
    pub fn tokenizer(&self, max_length: usize) -> Result<PairTokenizer, ProgramError> {
        Ok(match self {
            Self::Embedded => {
                let json = embedded::TOKENIZER.as_bytes();
                PairTokenizer::from_bytes(json, EMBEDDED_MODEL, max_length)?
            }
            Self::Folder(path) => PairTokenizer::from_folder(path, max_length)?,
        })
    }

    /// `model.safetensors`, under a classifier that is drawn from `seed` if need be.
    ///
    /// # Errors
    /// As [`SequenceClassifier::from_pretrained`].
    pub fn load<B: Backend>(
        &self,
        config: &ModelConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(SequenceClassifier<B>, LoadReport), ProgramError> {
        type Classifier<B> = SequenceClassifier<B>;
        Ok(match self {
            Self::Embedded => {
                Classifier::from_bytes(embedded::WEIGHTS, EMBEDDED_MODEL, config, seed, device)?
            }
            Self::Folder(path) => Classifier::from_pretrained(path, config, seed, device)?,
        })
    }

    /// Put a copy of `tokenizer.json` into `folder`.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn copy_tokenizer(&self, folder: &Path) -> Result<(), ProgramError> {
        const FILE: &str = "tokenizer.json";
        let to = folder.join(FILE);
        let copied = match self {
            Self::Embedded => std::fs::write(&to, embedded::TOKENIZER),
            Self::Folder(path) => std::fs::copy(path.join(FILE), &to).map(|_| ()),
        };
        copied.map_err(ProgramError::io("write", &to))
    }
}

/// What a `--data` means: the same path, or the folder of what was fetched from the hub.
///
/// # Errors
/// As [`hub::data`].
pub fn find_data(path: &Path) -> Result<PathBuf, ProgramError> {
    Ok(hub::data(path, Freshness::Cached)?.unwrap_or_else(|| path.to_path_buf()))
}

/// A split of what a `--data` means: of the embedded task, of a folder, or a file.
///
/// # Errors
/// As [`RteDataset::open`].
pub fn dataset(data: &Path, split: Split) -> Result<RteDataset, ProgramError> {
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
