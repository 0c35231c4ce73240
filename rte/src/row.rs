//! Rows as the formats give them, and what makes examples of them: the label's id.

use crate::{LABELS, RteError, RteExample, columns::listed, error::Place, label_id};

/// The rows of one file.
pub(crate) struct Rows {
    pub(crate) rows: Vec<Row>,
    /// What [`Row::number`] counts: `line` or `row`.
    pub(crate) unit: &'static str,
    /// The names that the file gives its integer labels.
    pub(crate) class_names: Option<Vec<String>>,
    /// How messages name the labels that this format accepts.
    pub(crate) accepted: &'static str,
}

pub(crate) struct Row {
    /// Counted from 1; a header is line 1.
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) text_pair: String,
    pub(crate) label: RawLabel,
    pub(crate) idx: Option<usize>,
}

/// A label as the file has it.
pub(crate) enum RawLabel {
    Missing,
    /// -1 marks a row without a label.
    Integer(i64),
    Name(String),
    /// Neither a name nor an integer, as an error message shows it.
    Invalid(String),
}

/// The examples of one file.
pub(crate) struct Examples {
    pub(crate) examples: Vec<RteExample>,
    /// Whether integer labels came without names, so that they were taken for ids of [`LABELS`].
    pub(crate) assumed_label_order: bool,
}

impl Rows {
    pub(crate) fn into_examples(self, file: &str) -> Result<Examples, RteError> {
        let class_ids = self.class_names.map(|names| class_ids(names, file)).transpose()?;
        let mut assumed_label_order = false;
        let mut examples = Vec::with_capacity(self.rows.len());
        for (position, row) in self.rows.into_iter().enumerate() {
            let unknown = |label: String| RteError::UnknownLabel {
                place: Place { file: file.to_owned(), unit: self.unit, number: row.number },
                label,
                accepted: self.accepted,
            };
            let label = match row.label {
                RawLabel::Missing | RawLabel::Integer(-1) => None,
                RawLabel::Integer(number) => {
                    let class = usize::try_from(number).ok();
                    let id = match &class_ids {
                        Some(ids) => class.and_then(|class| ids.get(class).copied()),
                        None => class.filter(|class| *class < LABELS.len()),
                    };
                    assumed_label_order |= class_ids.is_none();
                    Some(id.ok_or_else(|| unknown(number.to_string()))?)
                }
                RawLabel::Name(name) => {
                    Some(label_id(&name).ok_or_else(|| unknown(format!("{name:?}")))?)
                }
                RawLabel::Invalid(value) => return Err(unknown(value)),
            };
            examples.push(RteExample {
                sentence1: row.text,
                sentence2: row.text_pair,
                label,
                idx: row.idx.unwrap_or(position),
            });
        }
        Ok(Examples { examples, assumed_label_order })
    }
}

/// The task's ids of a file's classes.
fn class_ids(names: Vec<String>, file: &str) -> Result<Vec<usize>, RteError> {
    names.iter().map(|name| label_id(name)).collect::<Option<_>>().ok_or_else(|| {
        RteError::OtherTask {
            file: file.to_owned(),
            found: listed(&names),
            expected: listed(LABELS),
        }
    })
}
