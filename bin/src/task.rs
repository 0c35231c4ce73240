//! A model folder and RTE data, checked against each other and tokenised.

use std::path::Path;

use albert::AlbertConfig;
use rte::{EncodedExample, LABELS, PairTokenizer, RteExample, Split};
use serde::Deserialize;

use crate::ProgramError;
use crate::output::write_beside;
use crate::source::{ModelSource, dataset};

/// The longest pair, in tokens, where neither a flag nor the model folder says otherwise.
const DEFAULT_MAX_LENGTH: usize = 128;

/// The file of a model folder that says how long a pair may be.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// A model folder's configuration and tokenizer.
pub struct ModelFolder {
    /// Where it comes from.
    pub source: ModelSource,
    /// `config.json`.
    pub config: AlbertConfig,
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
        let config = AlbertConfig::from_folder(path)?;
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
            .or_else(|| {
                written_max_length(path).map(|length| length.min(config.max_position_embeddings))
            })
            .unwrap_or(DEFAULT_MAX_LENGTH.min(config.max_position_embeddings));
        Self::open(path, length)
    }

    /// Put the tokenizer beside a fine-tuned model, with the length of its pairs.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn copy_tokenizer(&self, folder: &Path) -> Result<(), ProgramError> {
        self.source.copy_tokenizer(folder)?;
        write_tokenizer_config(folder, self.max_length)
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

/// Put beside a `tokenizer.json` how long its pairs may be.
pub(crate) fn write_tokenizer_config(folder: &Path, max_length: usize) -> Result<(), ProgramError> {
    let text = serde_json::json!({
        "model_max_length": max_length,
        "tokenizer_class": "PreTrainedTokenizerFast",
    });
    write_beside(&folder.join(TOKENIZER_CONFIG), format!("{text:#}\n").as_bytes())
}

/// `model_max_length` of a folder's `tokenizer_config.json`, if it says a usable one.
fn written_max_length(folder: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(folder.join(TOKENIZER_CONFIG)).ok()?;
    let config: TokenizerConfig = serde_json::from_str(&text).ok()?;
    let length = config.model_max_length?;
    (1.0..1e9).contains(&length).then_some(length as usize)
}
