//! Which format a source has, and reading it whatever it has.

use std::{io::BufRead, path::Path};

use files::FileKind;

use crate::{
    RteError, RteExample,
    columns::RTE,
    delimited::{self, Delimiter},
    jsonl, parquet,
    row::Examples,
};

/// A format of the task's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The hub's Parquet files.
    Parquet,
    /// SuperGLUE's JSONL.
    Jsonl,
    /// GLUE's TSV, where quotes are ordinary letters.
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

    /// The format of a source that begins with these bytes: Parquet's magic `PAR1`, JSONL's brace; of the others CSV
    /// where the first line has commas and no tab, and TSV otherwise.
    pub fn of_content(beginning: &[u8]) -> Self {
        let text = beginning.strip_prefix("\u{feff}".as_bytes()).unwrap_or(beginning);
        let text = text.trim_ascii_start();
        let mut first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().iter();
        if beginning.starts_with(b"PAR1") {
            Self::Parquet
        } else if text.starts_with(b"{") {
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
    /// | TSV | a line; a `"` is a letter | by the header's names |
    /// | CSV | a record; fields may be quoted | by the header's names |
    ///
    /// The columns are `sentence1` and `sentence2` (or `premise` and `hypothesis`), and `label` and `index` (or `idx`)
    /// where they are known. A label is a name or, in Parquet and JSONL, an integer: a class of the file's own
    /// `ClassLabel`, else 0 `entailment` and 1 `not_entailment`; -1 and null mark a row without a label. Text is UTF-8.
    ///
    /// # Errors
    ///
    /// A missing column, a value of the wrong kind, an unknown label, bytes that are not UTF-8, a damaged file, each
    /// with its row or line; a Parquet file that unpacks to more than 64 times its size and 16 MiB, and what reading
    /// the source gives.
    pub fn read(self, input: impl BufRead, file: &str) -> Result<Vec<RteExample>, RteError> {
        let bytes = files::read_stream(input, FileKind::Data)
            .map_err(|source| RteError::Io { file: file.to_owned(), source })?;
        Ok(self.read_bytes(bytes, file)?.examples)
    }

    pub(crate) fn read_bytes(self, bytes: Vec<u8>, file: &str) -> Result<Examples, RteError> {
        let rows = match self {
            Self::Parquet => parquet::read(bytes, file, &RTE)?,
            Self::Jsonl => jsonl::read(&bytes, file, &RTE)?,
            Self::Tsv => delimited::read(&bytes, Delimiter::Tab, file, &RTE)?,
            Self::Csv => delimited::read(&bytes, Delimiter::Comma, file, &RTE)?,
        };
        rows.into_examples(file)
    }
}

/// Reads every example of a source of any format, told by how it begins; `file` is the name that errors give it.
///
/// Made for a stream such as standard input, where no extension tells the format. Labels and the rows' own
/// numbers are optional in every format.
///
/// ```
/// let tsv = "sentence1\tsentence2\nA b c.\tA b.\n";
/// let examples = rte::read_examples(tsv.as_bytes(), "standard input")?;
/// assert_eq!((examples[0].idx, examples[0].label), (0, None));
/// # Ok::<(), rte::RteError>(())
/// ```
///
/// # Errors
///
/// Those of [`Format::read`].
pub fn read_examples(input: impl BufRead, file: &str) -> Result<Vec<RteExample>, RteError> {
    let bytes = files::read_stream(input, FileKind::Data)
        .map_err(|source| RteError::Io { file: file.to_owned(), source })?;
    Ok(Format::of_content(&bytes).read_bytes(bytes, file)?.examples)
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
            assert_eq!(read_examples(source.as_slice(), "standard input").unwrap(), examples);
        }
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
                        read.get() + u32::from(format.read(bytes.as_slice(), "damaged").is_ok()),
                    );
                    let _ = read_examples(bytes.as_slice(), "damaged");
                    Ok(())
                })
                .unwrap();
            assert!((1..tried.get()).contains(&read.get()), "{format:?}: {} read", read.get());
        }
    }
}
