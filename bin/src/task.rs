//! A model folder and RTE data, checked against each other and tokenised.

use std::path::Path;

use albert::{ModelConfig, tokenizer_config};
use rte::{EncodedExample, LABELS, PairTokenizer, RteExample, Split};
use serde::Deserialize;

use crate::ProgramError;
use crate::output::write_beside;
use crate::source::{ModelSource, dataset};

/// The longest pair, in tokens, where neither a flag nor the model folder says otherwise.
const DEFAULT_MAX_LENGTH: usize = 128;

/// The file of a model folder that says how long a pair may be.
pub(crate) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// A model folder's configuration and tokenizer.
pub struct ModelFolder {
    /// Where it comes from.
    pub source: ModelSource,
    /// `config.json`.
    pub config: ModelConfig,
    /// `tokenizer.json`, cutting pairs to [`Self::max_length`] tokens.
    pub tokenizer: PairTokenizer,
    /// The longest pair, in tokens.
    pub max_length: usize,
}

/// What `tokenizer_config.json` holds for us.
#[derive(Deserialize)]
struct TokenizerConfig {
    /// Hugging Face writes a number beyond any integer for "no limit".
    model_max_length: Option<f64>,
}

impl ModelFolder {
    /// Read a pretrained model's folder, or the embedded model; pairs are cut to `max_length` tokens.
    ///
    /// # Errors
    /// An unusable `config.json` or `tokenizer.json`, a length beyond the model's position
    /// embeddings, a tokenizer with ids beyond the model's vocabulary.
    pub fn open(path: &Path, max_length: usize) -> Result<Self, ProgramError> {
        let source = ModelSource::find(path)?;
        let config = source.config()?;
        config.check_length(max_length)?;
        let tokenizer = source.tokenizer(max_length)?;
        tokenizer.check_vocabulary(config.vocab_size)?;
        Ok(Self { source, config, tokenizer, max_length })
    }

    /// Read a fine-tuned model's folder, or the `model` folder in what `finetune` wrote. Without a
    /// `max_length` it is the one that the model was fine-tuned with.
    ///
    /// # Errors
    /// As [`open`](Self::open), and a model that has not RTE's two labels.
    pub fn open_fine_tuned(path: &Path, max_length: Option<usize>) -> Result<Self, ProgramError> {
        let ModelSource::Folder(path) = ModelSource::find(path)? else {
            return Err(ProgramError::Mismatch(
                "the embedded model is not fine-tuned yet: use finetune first, and --model with its output folder"
                    .into(),
            ));
        };
        let inside = path.join("model");
        let path =
            if !path.join("config.json").exists() && inside.is_dir() { &inside } else { &path };
        let config = ModelConfig::from_folder(path)?;
        if config.num_labels() != LABELS.len() {
            return Err(ProgramError::Mismatch(format!(
                "{}: the model has {} labels, but RTE has {} ({})",
                path.join("config.json").display(),
                config.num_labels(),
                LABELS.len(),
                LABELS.join(", ")
            )));
        }
        let length = max_length
            .or_else(|| written_max_length(path).map(|length| length.min(config.max_length())))
            .unwrap_or(DEFAULT_MAX_LENGTH.min(config.max_length()));
        Self::open(path, length)
    }

    /// Put the tokenizer beside a fine-tuned model, as Python's `AutoTokenizer` reads it.
    ///
    /// # Errors
    /// Names the file that cannot be read or written.
    pub fn copy_tokenizer(&self, folder: &Path) -> Result<(), ProgramError> {
        self.source.copy_tokenizer(folder)?;
        let path = folder.join("tokenizer.json");
        let tokenizer = std::fs::read(&path).map_err(ProgramError::io("read", &path))?;
        let source = match &self.source {
            ModelSource::Embedded => None,
            ModelSource::Folder(path) => Some(path.as_path()),
        };
        let text = tokenizer_config(&self.config, &tokenizer, source, self.max_length);
        write_beside(&folder.join(TOKENIZER_CONFIG), text.as_bytes())
    }

    /// Tokenise a labelled split of RTE.
    ///
    /// # Errors
    /// Data that cannot be read, is empty or lacks a label.
    pub fn labelled(&self, data: &Path, split: Split) -> Result<Vec<EncodedExample>, ProgramError> {
        let dataset = dataset(data, split)?;
        dataset.require_labels()?;
        self.encode(dataset.examples())
    }

    /// Tokenise examples.
    ///
    /// # Errors
    /// As [`PairTokenizer::encode_all`].
    pub fn encode(&self, examples: &[RteExample]) -> Result<Vec<EncodedExample>, ProgramError> {
        Ok(self.tokenizer.encode_all(examples)?)
    }

    /// For each of RTE's [`LABELS`], the model's index of it: by name, or in order for a model that
    /// does not name its labels.
    pub fn label_indices(&self) -> Vec<usize> {
        let named = |label: &str| {
            self.config.id2label.iter().find(|(_, name)| *name == label).map(|(index, _)| *index)
        };
        LABELS.iter().enumerate().map(|(order, label)| named(label).unwrap_or(order)).collect()
    }
}

/// `model_max_length` of a folder's `tokenizer_config.json`, if it says a usable one.
fn written_max_length(folder: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(folder.join(TOKENIZER_CONFIG)).ok()?;
    let config: TokenizerConfig = serde_json::from_str(&text).ok()?;
    let length = config.model_max_length?;
    (1.0..1e9).contains(&length).then_some(length as usize)
}
