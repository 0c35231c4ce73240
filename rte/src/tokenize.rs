//! Sentence pairs to token ids, with the tokenizer of a model folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use serde_json::Value;
use tokenizers::{
    PostProcessor, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
    utils::truncation::truncate_encodings,
};

use crate::{RteError, RteExample};

/// A pair's token ids and segment ids, of the same length; no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPair {
    /// The token ids, special tokens included.
    pub input_ids: Vec<u32>,
    /// For each token its segment, as the tokenizer's template has it: 0 in the first sentence, 1 in the second.
    pub token_type_ids: Vec<u32>,
}

/// A tokenised [`RteExample`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedExample {
    /// The token ids, special tokens included; no padding.
    pub input_ids: Vec<u32>,
    /// For each token its segment.
    pub token_type_ids: Vec<u32>,
    /// The example's label.
    pub label: Option<usize>,
    /// The example's number.
    pub idx: usize,
}

/// Tokenises sentence pairs as the original library does for a pair with `truncation="longest_first"`.
///
/// Special tokens and segment ids come from the template of the folder's `tokenizer.json`; the padding and truncation
/// that the file may carry do not count. A pair longer than the maximum length, special tokens included, loses tokens
/// from the end of its longer sentence until both are equally long, then from both.
#[derive(Debug, Clone)]
pub struct PairTokenizer {
    tokenizer: Tokenizer,
    path: PathBuf,
    /// The length that is left for the two sentences.
    sentences_length: usize,
    pad_token_id: u32,
    max_token_id: u32,
}

impl PairTokenizer {
    /// Reads `tokenizer.json` from a model folder, for pairs of at most `max_length` tokens, special tokens included.
    ///
    /// # Errors
    ///
    /// A missing or damaged `tokenizer.json`, a tokenizer without a padding token, a maximum length that leaves less
    /// than a token to each sentence.
    pub fn from_folder(folder: &Path, max_length: usize) -> Result<Self, RteError> {
        let path = folder.join("tokenizer.json");
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => missing_tokenizer(folder),
            _ => RteError::Io { file: path.display().to_string(), source },
        })?;
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| {
            RteError::DamagedTokenizer { path: path.clone(), reason: error.to_string() }
        })?;
        let pad_token_id = pad_token_id(&tokenizer, folder)
            .ok_or_else(|| RteError::NoPadToken { path: path.clone() })?;
        tokenizer.with_padding(None);
        // Removing the truncation cannot fail: only lengths are checked.
        let _ = tokenizer.with_truncation(None);
        let special_tokens =
            tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(true));
        let minimum = special_tokens + 2;
        if max_length < minimum {
            return Err(RteError::MaxLengthTooSmall { max_length, special_tokens, minimum });
        }
        let mut tokenizer = Self {
            tokenizer,
            path,
            sentences_length: max_length - special_tokens,
            pad_token_id,
            max_token_id: 0,
        };
        // The template may name ids that the vocabulary does not have.
        let template = tokenizer.encode("", "")?.input_ids;
        tokenizer.max_token_id = tokenizer
            .tokenizer
            .get_vocab(true)
            .into_values()
            .chain(template)
            .chain([pad_token_id])
            .max()
            .unwrap_or_default();
        Ok(tokenizer)
    }

    /// The number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The largest token id that can come out; it may be larger than [`PairTokenizer::vocab_size`] less one.
    pub fn max_token_id(&self) -> u32 {
        self.max_token_id
    }

    /// The id for padding: of the file's padding settings, else of a token `<pad>` or `[PAD]`, else `pad_token_id` of
    /// the `config.json` beside it.
    pub fn pad_token_id(&self) -> u32 {
        self.pad_token_id
    }

    /// Checks that a model with a vocabulary of `vocab_size` has an embedding for every token id.
    ///
    /// # Errors
    ///
    /// [`RteError::TokenizerExceedsVocabulary`].
    pub fn check_vocabulary(&self, vocab_size: usize) -> Result<(), RteError> {
        if (self.max_token_id as usize) < vocab_size {
            return Ok(());
        }
        Err(RteError::TokenizerExceedsVocabulary {
            path: self.path.clone(),
            max_token_id: self.max_token_id,
            vocab_size,
        })
    }

    /// Tokenises one pair.
    ///
    /// # Errors
    ///
    /// A sentence that the tokenizer refuses, such as an unknown word where it has no token for these.
    pub fn encode(&self, sentence1: &str, sentence2: &str) -> Result<EncodedPair, RteError> {
        self.encode_pair(sentence1, sentence2).map_err(|error| RteError::Encode {
            what: "the pair".to_owned(),
            reason: error.to_string(),
        })
    }

    fn encode_pair(&self, sentence1: &str, sentence2: &str) -> tokenizers::Result<EncodedPair> {
        let first = self.tokenizer.encode_fast(sentence1, false)?;
        let mut second = self.tokenizer.encode_fast(sentence2, false)?;
        // Post-processors without a template keep the segment ids they are given.
        second.set_type_ids(vec![1; second.len()]);
        let truncation = TruncationParams {
            max_length: self.sentences_length,
            strategy: TruncationStrategy::LongestFirst,
            direction: TruncationDirection::Right,
            stride: 0,
        };
        let (mut first, second) = truncate_encodings(first, Some(second), &truncation)?;
        // The cut-off parts would be combined with each other, quadratically many for two long texts.
        first.take_overflowing();
        let second = second.map(|mut second| {
            second.take_overflowing();
            second
        });
        let pair = self.tokenizer.post_process(first, second, true)?;
        Ok(EncodedPair {
            input_ids: pair.get_ids().to_vec(),
            token_type_ids: pair.get_type_ids().to_vec(),
        })
    }

    /// Tokenises many examples on all cores, in their order.
    ///
    /// # Errors
    ///
    /// The first example that [`PairTokenizer::encode`] refuses, by its `idx`.
    pub fn encode_all(&self, examples: &[RteExample]) -> Result<Vec<EncodedExample>, RteError> {
        self.encode_all_with_progress(examples, || ())
    }

    /// [`PairTokenizer::encode_all`], calling `done` after each example, from any thread.
    ///
    /// # Errors
    ///
    /// As [`PairTokenizer::encode_all`].
    pub fn encode_all_with_progress(
        &self,
        examples: &[RteExample],
        done: impl Fn() + Sync,
    ) -> Result<Vec<EncodedExample>, RteError> {
        examples
            .par_iter()
            .map(|example| {
                let pair =
                    self.encode_pair(&example.sentence1, &example.sentence2).map_err(|error| {
                        RteError::Encode {
                            what: format!("the example with idx {}", example.idx),
                            reason: error.to_string(),
                        }
                    })?;
                done();
                Ok(EncodedExample {
                    input_ids: pair.input_ids,
                    token_type_ids: pair.token_type_ids,
                    label: example.label,
                    idx: example.idx,
                })
            })
            .collect()
    }
}

fn pad_token_id(tokenizer: &Tokenizer, folder: &Path) -> Option<u32> {
    tokenizer
        .get_padding()
        .map(|padding| padding.pad_id)
        .or_else(|| ["<pad>", "[PAD]"].iter().find_map(|token| tokenizer.token_to_id(token)))
        .or_else(|| {
            let config = fs::read(folder.join("config.json")).ok()?;
            let config: Value = serde_json::from_slice(&config).ok()?;
            config.get("pad_token_id")?.as_u64()?.try_into().ok()
        })
}

fn missing_tokenizer(folder: &Path) -> RteError {
    let has = |name: &str| folder.join(name).exists();
    let hint = if has("spiece.model") || has("vocab.txt") {
        ", only the older form of the vocabulary; make one with Python's transformers: AutoTokenizer.from_pretrained(FOLDER, use_fast=True).save_pretrained(FOLDER)"
    } else if folder.is_dir() {
        "; copy it from where the model comes from"
    } else {
        ", for the folder does not exist"
    };
    RteError::MissingTokenizer { folder: folder.to_owned(), hint }
}
