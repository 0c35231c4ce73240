//! Text classification tasks for [Burn](https://burn.dev): reading, tokenizing, batching, scoring.
//!
//! The crate is named after RTE (recognizing textual entailment: does the first text of a pair entail the second?), the
//! GLUE task it began with. It reads every classification task of GLUE, SNLI, and tables of your own.
//!
//! | step | here |
//! |---|---|
//! | choose a task, or name the columns of your own | [`Task`], [`PRESETS`] |
//! | read a split from Parquet, JSONL, TSV or CSV | [`TextDataset`], [`Split`]; streams: [`read_examples`] |
//! | take a part of it | [`TextDataset::sample`], [`TextDataset::divide`] |
//! | tokenize texts or pairs | [`TextTokenizer`], [`EncodedExample`] |
//! | make tensors | [`TextBatcher`], [`Padding`], [`TextBatch`] |
//! | score predictions | [`ConfusionMatrix`], [`Metric`] |
//!
//! # A published task
//!
//! ```
//! use burn::{backend::Flex, data::dataloader::batcher::Batcher};
//! use rte::{Padding, Split, Task, TextBatch, TextBatcher, TextDataset, TextTokenizer};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! std::fs::write(
//!     folder.join("dev.tsv"),
//!     "index\tsentence1\tsentence2\tlabel\n0\ta dog barks\ta dog\tentailment\n",
//! )?;
//! let dataset = TextDataset::open(folder, &Task::named("rte")?, Split::Validation)?;
//! dataset.require_labels()?;
//!
//! # std::fs::write(folder.join("tokenizer.json"), r#"{
//! #     "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
//! #     "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
//! #     "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
//! #     "model": {"type": "WordLevel", "unk_token": "[UNK]",
//! #         "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "dog": 5, "barks": 6}}
//! # }"#)?;
//! let tokenizer = TextTokenizer::from_folder(folder, 128)?;
//! let examples = tokenizer.encode_all(dataset.examples())?;
//! assert_eq!(examples[0].input_ids, [2, 4, 5, 6, 3, 4, 5, 3]);
//! assert_eq!(examples[0].token_type_ids, [0, 0, 0, 0, 0, 1, 1, 1]);
//!
//! let batcher = TextBatcher {
//!     padding: Padding::Longest,
//!     max_length: 128,
//!     pad_token_id: tokenizer.pad_token_id(),
//!     rows: None,
//! };
//! let batch: TextBatch<Flex> = batcher.batch(examples, &Default::default());
//! assert_eq!(batch.input_ids.dims(), [1, 8]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Your own data
//!
//! Columns are identified by name, the second text is optional, and the labels are those of the training split unless they
//! are given. The [`Task`] of the dataset then has them; store it with the model to read later files without naming the
//! columns again.
//!
//! ```
//! use rte::{Split, Task, TextDataset};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! std::fs::write(
//!     folder.join("train.csv"),
//!     "review,verdict\n\"short, and sweet\",good\ntoo long,bad\nnot my cup of tea,bad\na gem,good\n",
//! )?;
//! let task = Task::from_columns("review", None, "verdict", vec![])?;
//! let dataset = TextDataset::open(folder, &task, Split::Train)?;
//! assert_eq!(dataset.task().labels, ["bad", "good"]);
//!
//! // No validation split: set half of each label aside.
//! let (training, validation) = dataset.divide(0.5, 20003)?;
//! assert_eq!((training.examples().len(), validation.examples().len()), (2, 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod chunks;
mod dataset;
mod delimited;
mod discovery;
mod error;
mod example;
mod format;
mod jsonl;
mod parquet;
mod sample;
mod split;
mod task;
#[cfg(test)]
mod testing;
mod text;
mod tokenize;

pub use self::{
    batch::{Padding, TextBatch, TextBatcher},
    dataset::TextDataset,
    error::{Place, RteError},
    example::Example,
    format::{Format, read_examples},
    split::Split,
    task::{PRESETS, Preset, Submission, Task},
    tokenize::{EncodedExample, EncodedText, TextTokenizer},
};
pub use metrics::{ConfusionMatrix, Metric};
