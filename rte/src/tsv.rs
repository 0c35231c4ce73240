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
