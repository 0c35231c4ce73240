//! Which of the three formats a source has, and reading it whatever it has.

use std::{io::BufRead, path::Path};

use crate::{RteError, RteExample, read_jsonl, read_parquet, read_tsv};

/// A format of the task's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The hub's Parquet files.
    Parquet,
    /// SuperGLUE's JSONL.
    Jsonl,
    /// GLUE's TSV.
    Tsv,
}

impl Format {
    /// Every format, the one to prefer first where a folder holds a split in several.
    pub const ALL: [Self; 3] = [Self::Parquet, Self::Jsonl, Self::Tsv];

    /// The extension of the format's files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
            Self::Tsv => "tsv",
        }
    }

    /// The format that a file's extension stands for, if it is one of [`Format::extension`].
    pub fn from_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        Self::ALL.into_iter().find(|format| extension.eq_ignore_ascii_case(format.extension()))
    }

    /// The format of a source that begins with these bytes: Parquet's magic `PAR1`, JSONL's brace, TSV otherwise.
    pub fn of_content(beginning: &[u8]) -> Self {
        let text = beginning.strip_prefix("\u{feff}".as_bytes()).unwrap_or(beginning);
        if beginning.starts_with(b"PAR1") {
            Self::Parquet
        } else if text.trim_ascii_start().starts_with(b"{") {
            Self::Jsonl
        } else {
            Self::Tsv
        }
    }

    /// Reads every example of `input`; `file` is the name that errors give it.
    ///
    /// # Errors
    ///
    /// Those of [`read_parquet`], [`read_jsonl`] or [`read_tsv`], and what reading the source gives.
    pub fn read(self, mut input: impl BufRead, file: &str) -> Result<Vec<RteExample>, RteError> {
        match self {
            Self::Tsv => read_tsv(input, file),
            Self::Jsonl => read_jsonl(input, file),
            Self::Parquet => {
                let mut bytes = Vec::new();
                input
                    .read_to_end(&mut bytes)
                    .map_err(|source| RteError::Io { file: file.to_owned(), source })?;
                read_parquet(bytes, file)
            }
        }
    }
}

/// Reads every example of a source of any format, told by how it begins; `file` is the name that errors give it.
///
/// Made for a stream such as standard input, where no extension tells the format. Labels and numbers of rows are
/// optional in every format.
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
pub fn read_examples(mut input: impl BufRead, file: &str) -> Result<Vec<RteExample>, RteError> {
    let beginning =
        input.fill_buf().map_err(|source| RteError::Io { file: file.to_owned(), source })?;
    Format::of_content(beginning).read(input, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, HUB_SCHEMA, hub_columns, hub_properties, parquet_file};

    #[test]
    fn the_three_formats_give_the_same_examples_whatever_their_source_is_called() {
        let examples = testing::examples();
        let parquet = parquet_file(HUB_SCHEMA, &[hub_columns(&examples)], hub_properties());
        let sources = [
            testing::tsv(&examples).into_bytes(),
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
}
