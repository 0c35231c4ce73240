//! What can go wrong between a file and a batch, said with the file, the row and the column.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

use crate::Split;

/// Where in a file a row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's path, or whatever name the caller gave its source.
    pub file: String,
    /// What is counted: `line` in text files (the header is line 1), `row` otherwise.
    pub unit: &'static str,
    /// The line or row, counted from 1.
    pub number: usize,
}

impl Place {
    pub(crate) fn line(file: &str, number: usize) -> Self {
        Self { file: file.to_owned(), unit: "line", number }
    }

    pub(crate) fn row(file: &str, number: usize) -> Self {
        Self { file: file.to_owned(), unit: "row", number }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, {} {}", self.file, self.unit, self.number)
    }
}

/// An error of this crate. Every message says what was wrong, where, and what would be right.
#[derive(Debug, Error)]
pub enum RteError {
    /// A file, folder or stream could not be read.
    #[error("cannot read {file}: {source}")]
    Io {
        /// The path or name of the source.
        file: String,
        /// The system's reason.
        source: io::Error,
    },

    /// A label that is not one of the task's.
    #[error("{place}: unknown label {label}; the labels are {accepted}")]
    UnknownLabel {
        /// The row that contains it.
        place: Place,
        /// The label as the file has it.
        label: String,
        /// The labels that are accepted.
        accepted: String,
    },

    /// A column, or a key of a JSON object, that is not there.
    #[error("{place}: no column {wanted}; it has {found}{hint}")]
    MissingColumn {
        /// The row, or the file's name where the whole file lacks the column.
        place: String,
        /// The names the column may have.
        wanted: String,
        /// The names that are there.
        found: String,
        /// What to do, where another format was probably meant.
        hint: &'static str,
    },

    /// A row of a TSV or CSV file with another number of fields than its header.
    #[error("{place}: {found} fields where the header has {expected}; {hint}")]
    FieldCount {
        /// The row.
        place: Place,
        /// The header's number of fields.
        expected: usize,
        /// The row's number of fields.
        found: usize,
        /// How this format separates fields.
        hint: &'static str,
    },

    /// A file that names its labels, and not as the task does.
    #[error(
        "{file}: its labels are {found}, but the task's are {expected}; the file belongs to another task"
    )]
    OtherTask {
        /// The file.
        file: String,
        /// The file's label names.
        found: String,
        /// The task's label names.
        expected: String,
    },

    /// A value of the wrong kind.
    #[error("{place}, column {column}: {reason}")]
    InvalidValue {
        /// The row.
        place: Place,
        /// The column's name.
        column: String,
        /// What is wrong with the value.
        reason: String,
    },

    /// A quoted field that the file ends in.
    #[error("{place}: the quote at the beginning of a field is never closed")]
    UnclosedQuote {
        /// The first line of the record.
        place: Place,
    },

    /// Bytes that are not UTF-8.
    #[error("{place}: not valid UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// The line.
        place: Place,
    },

    /// A line of a JSONL file that is not a JSON object.
    #[error("{place}: not a JSON object: {reason}; JSONL has one object per line")]
    Json {
        /// The line.
        place: Place,
        /// The parser's reason.
        reason: String,
    },

    /// A file that is not Parquet, is damaged, or uses a part of the format that is not read here.
    #[error("{file}: {reason}")]
    Parquet {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A column of a Parquet file that cannot be read.
    #[error("{file}, column {column}: {reason}")]
    ParquetColumn {
        /// The file.
        file: String,
        /// The column's name in the file.
        column: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A task's name that is not known.
    #[error(
        "unknown task {name:?}; the tasks are {known}; for other data, give the columns of the text and the label instead"
    )]
    UnknownTask {
        /// The name.
        name: String,
        /// The names of the published tasks.
        known: String,
    },

    /// A task whose targets are scores.
    #[error(
        "{name} is a regression task: its targets are scores, not labels; only classification tasks are supported"
    )]
    Regression {
        /// The name.
        name: String,
    },

    /// Labels that were given and make no task.
    #[error("the labels are {labels}; give at least two, each only once")]
    InvalidLabels {
        /// The labels.
        labels: String,
    },

    /// A training split with fewer than two labels, or with two labels of the same name.
    #[error("{file}: column {column} needs two or more different labels, but has {found}")]
    TooFewLabels {
        /// The files of the split.
        file: String,
        /// The label's column.
        column: String,
        /// The labels found.
        found: String,
    },

    /// A share of the training examples that leaves none on one side.
    #[error(
        "a validation share of {share} of {examples} examples leaves no example for training or for validation; use a share between 0 and 1, and data with at least two examples of a label"
    )]
    InvalidShare {
        /// The share.
        share: f64,
        /// The number of examples to divide.
        examples: usize,
    },

    /// A split without a single row.
    #[error("{file} contains no examples")]
    Empty {
        /// The file, or the files of a sharded split.
        file: String,
    },

    /// A folder without a file for the split.
    #[error("{folder}: no {split} split; looked for {looked_for}; the folder holds {found}")]
    MissingSplit {
        /// The folder.
        folder: PathBuf,
        /// The split asked for.
        split: Split,
        /// The file names that would have been taken.
        looked_for: String,
        /// What the folder holds.
        found: String,
    },

    /// A split in several files of which some are missing or belong to another set.
    #[error(
        "{folder}: the {split} split should have {expected} shards, but the folder holds {found}"
    )]
    MissingShards {
        /// The folder.
        folder: PathBuf,
        /// The split.
        split: Split,
        /// The number of files that their names promise.
        expected: usize,
        /// The files found.
        found: String,
    },

    /// An example without a label where labels are needed.
    #[error("{place}: the label is missing; training and evaluation need one in every row")]
    Unlabelled {
        /// The first row without a label.
        place: Place,
    },

    /// A split's name that is not known.
    #[error(
        "unknown split {name:?}; the splits are train, validation (dev, val) and test, and validation_mismatched and test_mismatched of MNLI"
    )]
    UnknownSplit {
        /// The name.
        name: String,
    },

    /// A model folder without a `tokenizer.json`.
    #[error("{folder}: no tokenizer.json{hint}")]
    MissingTokenizer {
        /// The model folder.
        folder: PathBuf,
        /// What to do instead, where the folder holds another form of the tokenizer.
        hint: &'static str,
    },

    /// A `tokenizer.json` that cannot be used.
    #[error("{path}: not a usable tokenizer: {reason}")]
    DamagedTokenizer {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        reason: String,
    },

    /// A maximum length that leaves no room for the texts.
    #[error(
        "max length {max_length} is too small: {special_tokens} special tokens and a token of each text need at least {minimum}"
    )]
    MaxLengthTooSmall {
        /// The maximum length asked for.
        max_length: usize,
        /// The special tokens around a pair.
        special_tokens: usize,
        /// The smallest maximum length that works.
        minimum: usize,
    },

    /// A name that is no [`Padding`](crate::Padding).
    #[error(
        "unknown padding {0:?}; the paddings are longest, max-length and multiple-of-N, such as multiple-of-32"
    )]
    UnknownPadding(String),

    /// A tokenizer that has no padding token.
    #[error(
        "{path}: there is no padding token: no token <pad> or [PAD], no padding settings, and no pad_token_id in the config.json next to it; add a pad_token_id there"
    )]
    NoPadToken {
        /// The tokenizer's file.
        path: PathBuf,
    },

    /// A tokenizer with an id that the model has no embedding for.
    #[error(
        "{path}: its largest token id is {max_token_id}, but the model's vocabulary has {vocab_size} entries (ids 0 to {}); use the tokenizer the model was trained with",
        vocab_size.saturating_sub(1)
    )]
    TokenizerExceedsVocabulary {
        /// The tokenizer's file.
        path: PathBuf,
        /// The largest id the tokenizer can give.
        max_token_id: u32,
        /// The model's vocabulary size.
        vocab_size: usize,
    },

    /// A tokenizer with a segment that the model has no embedding for.
    #[error(
        "{path}: its largest segment id is {max_segment_id}, but the model has {type_vocab_size} segments (ids 0 to {}); use the tokenizer the model was trained with",
        type_vocab_size.saturating_sub(1)
    )]
    TokenizerExceedsSegments {
        /// The tokenizer's file.
        path: PathBuf,
        /// The largest segment id the tokenizer can give.
        max_segment_id: u32,
        /// The model's number of segments.
        type_vocab_size: usize,
    },

    /// A text the tokenizer refuses.
    #[error("cannot tokenize {what}: {reason}")]
    Encode {
        /// The example.
        what: String,
        /// The tokenizer's reason.
        reason: String,
    },
}
