//! GLUE's TSV: a header, then one row a line, fields separated by tabs.
//!
//! There is no quoting: a `"` is a letter. A reader that takes it for a quote loses rows of the real files.

use std::io::BufRead;

use crate::{
    RteError, RteExample,
    columns::{self, IDX, LABEL, SENTENCE1, SENTENCE2},
    error::Place,
    label_id,
    lines::numbered_lines,
};

/// Reads GLUE's TSV from `input`; `file` is the name that errors give it.
///
/// The header names the columns: `sentence1` and `sentence2` (or `premise` and `hypothesis`) in any order, and
/// `index` (or `idx`) and `label` where the file has them. Other columns are ignored, as are empty lines.
///
/// ```
/// let text = "index\tsentence1\tsentence2\tlabel\n7\tA \"b\" c.\tA b.\tentailment\n";
/// let examples = rte::read_tsv(text.as_bytes(), "train.tsv")?;
/// assert_eq!(examples[0].sentence1, "A \"b\" c.");
/// assert_eq!((examples[0].idx, examples[0].label), (7, Some(0)));
/// # Ok::<(), rte::RteError>(())
/// ```
///
/// # Errors
///
/// A missing column, a row with another number of fields than the header, a label or an index that is none, and bytes
/// that are not UTF-8, each with the line.
pub fn read_tsv(input: impl BufRead, file: &str) -> Result<Vec<RteExample>, RteError> {
    let mut lines = numbered_lines(input, file);
    let Some(header) = lines.next() else {
        return Ok(Vec::new());
    };
    let header = Header::parse(header?)?;
    lines.enumerate().map(|(position, line)| header.example(line?, position)).collect()
}

/// Which field holds which column.
struct Header {
    fields: usize,
    sentence1: usize,
    sentence2: usize,
    label: Option<usize>,
    idx: Option<usize>,
}

impl Header {
    fn parse((place, line): (Place, String)) -> Result<Self, RteError> {
        let names: Vec<&str> = line.split('\t').collect();
        let find = |wanted: &[&str]| names.iter().position(|name| wanted.contains(name));
        let require = |wanted: &[&str]| {
            find(wanted).ok_or_else(|| RteError::MissingColumn {
                place: place.to_string(),
                wanted: columns::wanted(wanted),
                found: columns::listed(&names),
            })
        };
        Ok(Self {
            fields: names.len(),
            sentence1: require(SENTENCE1)?,
            sentence2: require(SENTENCE2)?,
            label: find(LABEL),
            idx: find(IDX),
        })
    }

    fn example(
        &self,
        (place, line): (Place, String),
        position: usize,
    ) -> Result<RteExample, RteError> {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.len() != self.fields {
            return Err(RteError::FieldCount { place, expected: self.fields, found: fields.len() });
        }
        let label = match self.label.map(|field| fields[field]) {
            None => None,
            Some(name) => Some(label_id(name).ok_or_else(|| RteError::UnknownLabel {
                place: place.clone(),
                label: format!("{name:?}"),
                accepted: "entailment and not_entailment",
            })?),
        };
        let idx = match self.idx.map(|field| fields[field]) {
            None => position,
            Some(text) => text.parse().map_err(|_| RteError::InvalidValue {
                place,
                column: columns::wanted(IDX),
                reason: format!("{text:?} is not a whole number from 0"),
            })?,
        };
        Ok(RteExample {
            sentence1: fields[self.sentence1].to_owned(),
            sentence2: fields[self.sentence2].to_owned(),
            label,
            idx,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<RteExample>, RteError> {
        read_tsv(text.as_ref(), "dev.tsv")
    }

    fn error(text: impl AsRef<[u8]>) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn quotes_are_letters() {
        let examples = testing::examples();
        assert_eq!(read(testing::tsv(&examples)).unwrap(), examples);
    }

    #[test]
    fn line_ends_and_a_byte_order_mark_do_not_matter() {
        let text = testing::tsv(&testing::examples());
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(read(windows).unwrap(), testing::examples());
        assert_eq!(read(text.trim_end()).unwrap(), testing::examples());
        assert_eq!(read(format!("{text}\n\n")).unwrap(), testing::examples());
    }

    #[test]
    fn columns_go_by_name() {
        let text =
            "label\thypothesis\textra\tpremise\nnot_entailment\th\tx\tp\nentailment\th\tx\tp\n";
        let examples = read(text).unwrap();
        assert_eq!((examples[0].sentence1.as_str(), examples[0].sentence2.as_str()), ("p", "h"));
        assert_eq!((examples[0].label, examples[0].idx), (Some(1), 0));
        assert_eq!((examples[1].label, examples[1].idx), (Some(0), 1));
    }

    #[test]
    fn without_the_column_nothing_is_labelled() {
        assert_eq!(read("index\tsentence1\tsentence2\n5\ta\tb\n").unwrap()[0].label, None);
    }

    #[test]
    fn a_file_without_rows_gives_none() {
        assert_eq!(read("index\tsentence1\tsentence2\n").unwrap(), []);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn errors_name_file_line_and_column() {
        assert_eq!(
            error("index\tsentence1\tlabel\n"),
            "dev.tsv, line 1: no column sentence2 (or hypothesis); it has index, sentence1, label"
        );
        let header = "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n";
        assert_eq!(
            error(format!("{header}1\ta\tb\tneutral\n")),
            "dev.tsv, line 3: unknown label \"neutral\"; the labels are entailment and not_entailment"
        );
        assert_eq!(
            error(format!("{header}\n1\ta\tb\n")),
            "dev.tsv, line 4: 3 fields where the header has 4; fields are separated by single tabs, quotes are ordinary letters"
        );
        assert_eq!(
            error(format!("{header}-1\ta\tb\tentailment\n")),
            "dev.tsv, line 3, column index (or idx): \"-1\" is not a whole number from 0"
        );
        assert_eq!(
            error([header.as_bytes(), b"1\t\xff\tb\tentailment\n"].concat()),
            "dev.tsv, line 3: not valid UTF-8; save the file as UTF-8"
        );
    }
}
