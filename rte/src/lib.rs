//! The GLUE task RTE (recognising textual entailment) for Burn: reading, tokenising, batching.
//!
//! An example is a pair of sentences and whether the first entails the second.
//!
//! | step | here |
//! |---|---|
//! | read Parquet, JSONL, TSV or CSV | [`RteDataset`], [`RteExample`], [`Split`]; streams: [`read_examples`] |
//! | tokenise pairs | [`PairTokenizer`], [`EncodedExample`] |
//! | make tensors | [`RteBatcher`], [`Padding`], [`RteBatch`] |
//!
//! ```
//! use burn::{backend::Flex, data::dataloader::batcher::Batcher};
//! use rte::{Padding, PairTokenizer, RteBatch, RteBatcher, RteDataset, Split};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! std::fs::write(
//!     folder.join("dev.tsv"),
//!     "index\tsentence1\tsentence2\tlabel\n0\ta dog barks\ta dog\tentailment\n",
//! )?;
//! let dataset = RteDataset::open(folder, Split::Validation)?;
//! dataset.require_labels()?;
//!
//! # std::fs::write(folder.join("tokenizer.json"), r#"{
//! #     "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
//! #     "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
//! #     "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
//! #     "model": {"type": "WordLevel", "unk_token": "[UNK]",
//! #         "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "dog": 5, "barks": 6}}
//! # }"#)?;
//! let tokenizer = PairTokenizer::from_folder(folder, 128)?;
//! let examples = tokenizer.encode_all(dataset.examples())?;
//! assert_eq!(examples[0].input_ids, [2, 4, 5, 6, 3, 4, 5, 3]);
//! assert_eq!(examples[0].token_type_ids, [0, 0, 0, 0, 0, 1, 1, 1]);
//!
//! let batcher = RteBatcher {
//!     padding: Padding::Longest,
//!     max_length: 128,
//!     pad_token_id: tokenizer.pad_token_id(),
//! };
//! let batch: RteBatch<Flex> = batcher.batch(examples, &Default::default());
//! assert_eq!(batch.input_ids.dims(), [1, 8]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod chunks;
mod columns;
mod dataset;
mod delimited;
mod discovery;
mod error;
mod example;
mod format;
mod jsonl;
mod parquet;
mod row;
mod split;
#[cfg(test)]
mod testing;
mod tokenize;

pub use self::{
    batch::{Padding, RteBatch, RteBatcher},
    dataset::RteDataset,
    error::{Place, RteError},
    example::{LABELS, RteExample, label_id},
    format::{Format, read_examples},
    split::Split,
    tokenize::{EncodedExample, EncodedPair, PairTokenizer},
};
