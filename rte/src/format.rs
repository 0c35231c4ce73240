//! Which format a source has, and reading it whatever it has.

use std::{io::Read, path::Path};

use files::FileKind;

use crate::{
    Example, RteError, Task,
    delimited::{self, Delimiter},
    example::Rows,
    jsonl, parquet,
};

/// A format of data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Parquet, the hub's format.
    Parquet,
    /// JSONL, SuperGLUE's format.
    Jsonl,
    /// TSV, GLUE's format; quotes are ordinary characters.
    Tsv,
    /// CSV, where a field may be quoted.
    Csv,
}

impl Format {
    /// Every format, the one to prefer first where a folder holds a split in several.
    pub const ALL: [Self; 4] = [Self::Parquet, Self::Jsonl, Self::Tsv, Self::Csv];

    /// The extension of the format's files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
            Self::Tsv => "tsv",
            Self::Csv => "csv",
        }
    }

    /// The format that a file's extension stands for, if it is one of [`Format::extension`].
    pub fn from_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        Self::ALL.into_iter().find(|format| extension.eq_ignore_ascii_case(format.extension()))
    }

    /// The format of a source that begins with these bytes: Parquet's magic `PAR1`, JSONL's brace, or the bracket of a JSON
    /// array, which is none but whose error says so; of the others CSV
    /// where the first line has commas and no tab, and TSV otherwise.
    pub fn of_content(beginning: &[u8]) -> Self {
        let text = beginning.strip_prefix("\u{feff}".as_bytes()).unwrap_or(beginning);
        let text = text.trim_ascii_start();
        let mut first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().iter();
        if beginning.starts_with(b"PAR1") {
            Self::Parquet
        } else if text.starts_with(b"{") || text.starts_with(b"[") {
            Self::Jsonl
        } else if first_line.clone().any(|byte| *byte == b',')
            && first_line.all(|byte| *byte != b'\t')
        {
            Self::Csv
        } else {
            Self::Tsv
        }
    }

    /// Reads every example of `input`; `file` is the name that errors give it.
    ///
    /// | format | one row | columns |
    /// |---|---|---|
    /// | Parquet | a row; pages uncompressed or compressed with Snappy, gzip or Zstandard | by name |
    /// | JSONL | a line with a JSON object | by key; other keys are ignored |
    /// | TSV | a line; a `"` is an ordinary character | by the header's names |
    /// | CSV | a record; fields may be quoted | by the header's names |
    ///
    /// The columns are the task's; for a published task `index` or `idx` is the row's own number. Labels and numbers are optional. A
    /// label is one of the task's names or an integer: a class of the file's own `ClassLabel` in Parquet, else an index
    /// into [`Task::labels`]; -1, null and an empty field mark a row without a label. A task that has no labels yet
    /// takes those of the source, where -1 is a label like any other. Text is UTF-8.
    ///
    /// # Errors
    ///
    /// A missing column, a value of the wrong kind, an unknown label, bytes that are not UTF-8, a damaged file, each
    /// with its row or line; a Parquet file that unpacks to more than 64 times its size and 16 MiB, and what reading
    /// the source gives.
    pub fn read(self, input: impl Read, file: &str, task: &Task) -> Result<Vec<Example>, RteError> {
        let rows = self.rows(bytes_of(input, file)?, file, task)?;
        examples(rows, task)
    }

    pub(crate) fn rows(self, bytes: Vec<u8>, file: &str, task: &Task) -> Result<Rows, RteError> {
        match self {
            Self::Parquet => parquet::read(bytes, file, task),
            Self::Jsonl => jsonl::read(&bytes, file, task),
            Self::Tsv => delimited::read(&bytes, Delimiter::Tab, file, task),
            Self::Csv => delimited::read(&bytes, Delimiter::Comma, file, task),
        }
    }
}

fn bytes_of(input: impl Read, file: &str) -> Result<Vec<u8>, RteError> {
    files::read_stream(input, FileKind::Data)
        .map_err(|source| RteError::Io { file: file.to_owned(), source })
}

fn examples(rows: Rows, task: &Task) -> Result<Vec<Example>, RteError> {
    if !task.labels.is_empty() {
        return Ok(task.examples(rows, 0)?.examples);
    }
    let labels = task.labels_of(std::slice::from_ref(&rows))?;
    Ok(Task { labels, ..task.clone() }.examples(rows, 0)?.examples)
}

/// Reads every example of a source of any format, told by how it begins; `file` is the name that errors give it.
///
/// Made for a stream such as standard input, where no extension tells the format.
///
/// ```
/// use rte::{Task, read_examples};
///
/// let tsv = "sentence1\tsentence2\nA b c.\tA b.\n";
/// let examples = read_examples(tsv.as_bytes(), "standard input", &Task::named("rte")?)?;
/// assert_eq!((examples[0].idx, examples[0].label), (0, None));
/// # Ok::<(), rte::RteError>(())
/// ```
///
/// # Errors
///
/// Those of [`Format::read`].
pub fn read_examples(input: impl Read, file: &str, task: &Task) -> Result<Vec<Example>, RteError> {
    let bytes = bytes_of(input, file)?;
    let rows = Format::of_content(&bytes).rows(bytes, file, task)?;
    examples(rows, task)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ::parquet::file::properties::WriterProperties;
    use proptest::{
        collection::vec,
        prelude::*,
        sample::Index,
        test_runner::{Config, TestRunner},
    };

    use super::*;
    use crate::testing::{
        self, HUB_SCHEMA, hub_columns, hub_properties, parquet_file, plain_properties,
        version_2_properties,
    };

    #[test]
    fn every_format_gives_the_same_examples_whatever_their_source_is_called() {
        let examples = testing::examples();
        let parquet = parquet_file(HUB_SCHEMA, &[hub_columns(&examples)], hub_properties());
        let sources = [
            testing::tsv(&examples).into_bytes(),
            testing::csv(&examples).into_bytes(),
            testing::jsonl(&examples).into_bytes(),
            format!("\u{feff}\r\n{}", testing::jsonl(&examples)).into_bytes(),
            parquet,
        ];
        for source in sources {
            assert_eq!(
                read_examples(source.as_slice(), "standard input", &testing::rte()).unwrap(),
                examples
            );
        }
    }

    #[test]
    fn an_array_of_json_objects_is_refused_as_what_it_is() {
        let error = read_examples(&b"[{\"sentence1\": \"a\"}]"[..], "f", &testing::rte());
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with("JSONL has one object per line"), "{error}");
    }

    #[test]
    fn extensions_tell_formats() {
        assert_eq!(Format::from_extension(Path::new("a/dev.TSV")), Some(Format::Tsv));
        assert_eq!(Format::from_extension(Path::new("val.jsonl")), Some(Format::Jsonl));
        assert_eq!(Format::from_extension(Path::new("x.parquet")), Some(Format::Parquet));
        assert_eq!(Format::from_extension(Path::new("parquet")), None);
    }

    #[test]
    fn damaged_sources_never_panic() {
        let examples = testing::examples();
        let hub = |properties| parquet_file(HUB_SCHEMA, &[hub_columns(&examples)], properties);
        for (format, valid) in [
            (Format::Tsv, testing::tsv(&examples).into_bytes()),
            (Format::Csv, testing::csv(&examples).into_bytes()),
            (Format::Jsonl, testing::jsonl(&examples).into_bytes()),
            (Format::Parquet, hub(version_2_properties())),
            // Without compression, damage reaches the dictionary and its indices.
            (Format::Parquet, hub(WriterProperties::default())),
            (Format::Parquet, hub(plain_properties())),
        ] {
            let edit = (any::<Index>(), any::<Index>(), vec(any::<u8>(), 0..8));
            let damaged = vec(edit, 1..5).prop_map(|edits| {
                edits.into_iter().fold(valid.clone(), |mut bytes, (start, length, inserted)| {
                    let start = start.index(bytes.len() + 1);
                    let end = (start + length.index(9)).min(bytes.len());
                    bytes.splice(start..end, inserted);
                    bytes
                })
            });
            let (read, tried) = (Cell::new(0), Cell::new(0));
            let mut runner =
                TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(2000) });
            runner
                .run(&damaged, |bytes| {
                    tried.set(tried.get() + 1);
                    read.set(
                        read.get()
                            + u32::from(
                                format.read(bytes.as_slice(), "damaged", &testing::rte()).is_ok(),
                            ),
                    );
                    let _ = read_examples(bytes.as_slice(), "damaged", &testing::rte());
                    Ok(())
                })
                .unwrap();
            assert!((1..tried.get()).contains(&read.get()), "{format:?}: {} read", read.get());
        }
    }
}
