//! Examples, and how they come from the rows that the formats give: by the labels' ids.

use std::collections::BTreeSet;

use crate::{RteError, Task, error::Place, task::are_labels, text::listed};

/// One or two texts and their label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The text, of a pair the first one: the premise in RTE.
    pub text: String,
    /// The second text of a pair: the hypothesis in RTE.
    pub text_pair: Option<String>,
    /// An index into [`Task::labels`]; `None` where the file has no label.
    pub label: Option<usize>,
    /// The file's own number for the row, or the row's position from 0 in its split where the file has none.
    pub idx: usize,
}

/// The rows of one file.
pub(crate) struct Rows {
    /// The file's path, or what errors call it.
    pub(crate) file: String,
    pub(crate) rows: Vec<Row>,
    /// What [`Row::number`] counts: `line` or `row`.
    pub(crate) unit: &'static str,
    /// The names that the file gives its integer labels.
    pub(crate) class_names: Option<Vec<String>>,
    /// How many incomplete rows were left out.
    pub(crate) skipped: usize,
}

impl Rows {
    pub(crate) fn new(file: &str, unit: &'static str) -> Self {
        Self { file: file.to_owned(), rows: Vec::new(), unit, class_names: None, skipped: 0 }
    }
}

pub(crate) struct Row {
    /// Counted from 1; a header is line 1.
    pub(crate) number: usize,
    pub(crate) text: String,
    pub(crate) text_pair: Option<String>,
    pub(crate) label: RawLabel,
    pub(crate) idx: Option<usize>,
}

/// A label as the file has it.
pub(crate) enum RawLabel {
    Missing,
    Integer(i64),
    Name(String),
    /// Neither a name nor an integer, as an error message shows it.
    Invalid(String),
}

/// The examples of one file.
pub(crate) struct Examples {
    pub(crate) examples: Vec<Example>,
    /// Whether integer labels came without names, so that they were taken for ids of [`Task::labels`].
    pub(crate) assumed_label_order: bool,
    pub(crate) first_unlabelled: Option<Place>,
}

impl Task {
    /// The names of the labels in these files: in their own order where they have one, else sorted, numbers by value.
    pub(crate) fn labels_of(&self, files: &[Rows]) -> Result<Vec<String>, RteError> {
        for rows in files {
            for row in &rows.rows {
                if let RawLabel::Invalid(label) = &row.label {
                    return Err(RteError::UnknownLabel {
                        place: Place {
                            file: rows.file.clone(),
                            unit: rows.unit,
                            number: row.number,
                        },
                        label: label.clone(),
                        accepted: "texts or integers".to_owned(),
                    });
                }
            }
        }
        let class_names = files.first().and_then(|rows| rows.class_names.clone());
        let labels = class_names.unwrap_or_else(|| sorted_labels(files));
        if !are_labels(&labels) {
            return Err(RteError::TooFewLabels {
                file: listed(files.iter().map(|rows| &rows.file)),
                column: listed(&self.label),
                found: match labels.is_empty() {
                    true => {
                        "none; if the labels are in another column, name that column".to_owned()
                    }
                    false => listed(labels),
                },
            });
        }
        Ok(labels)
    }

    /// The examples of a file; `first` is the position of its first row in the split.
    pub(crate) fn examples(&self, file: Rows, first: usize) -> Result<Examples, RteError> {
        let class_ids = match &file.class_names {
            Some(names) => Some(self.class_ids(names, &file.file)?),
            None => None,
        };
        let mut read = Examples {
            examples: Vec::with_capacity(file.rows.len()),
            assumed_label_order: false,
            first_unlabelled: None,
        };
        for (position, row) in file.rows.into_iter().enumerate() {
            let place = || Place { file: file.file.clone(), unit: file.unit, number: row.number };
            let label = match self.label_of(&row.label, class_ids.as_deref()) {
                Ok(label) => label,
                Err(label) => {
                    let accepted = self.accepted();
                    return Err(RteError::UnknownLabel { place: place(), label, accepted });
                }
            };
            match label {
                Some(Label::Assumed(_)) => read.assumed_label_order = true,
                None if read.first_unlabelled.is_none() => read.first_unlabelled = Some(place()),
                _ => {}
            }
            read.examples.push(Example {
                text: row.text,
                text_pair: row.text_pair,
                label: label.map(|(Label::Known(id) | Label::Assumed(id))| id),
                idx: row.idx.unwrap_or(first + position),
            });
        }
        Ok(read)
    }

    /// The id of a label, `None` where there is none, or what an error calls a label that is not the task's.
    fn label_of(
        &self,
        label: &RawLabel,
        class_ids: Option<&[usize]>,
    ) -> Result<Option<Label>, String> {
        let (number, shown) = match label {
            RawLabel::Missing => return Ok(None),
            RawLabel::Invalid(value) => return Err(value.clone()),
            RawLabel::Integer(number) => (Some(*number), number.to_string()),
            RawLabel::Name(name) => {
                let no_gold_label = self.preset().map_or(&[][..], |preset| preset.no_gold_label);
                if name.is_empty() || no_gold_label.contains(&name.as_str()) {
                    return Ok(None);
                }
                if let Some(id) = self.label_id(name) {
                    return Ok(Some(Label::Known(id)));
                }
                // 07 is not 7.
                let number = name.parse().ok().filter(|number: &i64| number.to_string() == *name);
                (number, format!("{name:?}"))
            }
        };
        let number = number.ok_or_else(|| shown.clone())?;
        let class = usize::try_from(number).ok();
        if let Some(ids) = class_ids {
            return match class {
                None if number == -1 => Ok(None),
                _ => class
                    .and_then(|class| ids.get(class))
                    .map(|id| Some(Label::Known(*id)))
                    .ok_or(shown),
            };
        }
        if let Some(id) = self.label_id(&number.to_string()) {
            return Ok(Some(Label::Known(id)));
        }
        match class {
            None if number == -1 => Ok(None),
            Some(id) if id < self.labels.len() && self.labels_are_names() => {
                Ok(Some(Label::Assumed(id)))
            }
            _ => Err(shown),
        }
    }

    /// Whether no label looks like an id, so that an integer can only be meant as one.
    fn labels_are_names(&self) -> bool {
        self.labels.iter().all(|label| label.parse::<i64>().is_err())
    }

    /// The task's ids of a file's classes.
    fn class_ids(&self, names: &[String], file: &str) -> Result<Vec<usize>, RteError> {
        names.iter().map(|name| self.label_id(name)).collect::<Option<_>>().ok_or_else(|| {
            RteError::OtherTask {
                file: file.to_owned(),
                found: listed(names),
                expected: listed(&self.labels),
            }
        })
    }

    /// The labels that are accepted, as an error message shows them.
    fn accepted(&self) -> String {
        let ids = self.labels_are_names();
        let label = |(id, name): (usize, &String)| {
            if ids { format!("{name} ({id})") } else { name.clone() }
        };
        let mut labels: Vec<String> = self.labels.iter().enumerate().map(label).collect();
        let last = labels.pop().unwrap_or_default();
        format!("{} and {last}; -1 or null where there is none", labels.join(", "))
    }
}

/// The labels of the rows, sorted, numbers by value.
fn sorted_labels(files: &[Rows]) -> Vec<String> {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for row in files.iter().flat_map(|rows| &rows.rows) {
        match &row.label {
            RawLabel::Integer(number) => drop(numbers.insert(*number)),
            // A number is one only as it would be written: 007 is not 7.
            RawLabel::Name(name) if !name.is_empty() => match name.parse::<i64>() {
                Ok(number) if number.to_string() == *name => drop(numbers.insert(number)),
                _ => drop(names.insert(name.clone())),
            },
            _ => {}
        }
    }
    numbers.iter().map(i64::to_string).chain(names).collect()
}

enum Label {
    Known(usize),
    /// An integer without a name.
    Assumed(usize),
}

#[cfg(test)]
mod tests {
    use crate::{Format, RteError, Task, TextDataset};

    fn own() -> Task {
        Task::from_columns("text", None, "label", vec![]).unwrap()
    }

    fn read(task: &Task, labels: &[&str]) -> Result<Vec<Option<usize>>, RteError> {
        let rows: String = labels.iter().map(|label| format!("a\t{label}\n")).collect();
        let examples = Format::Tsv.read(format!("text\tlabel\n{rows}").as_bytes(), "f", task)?;
        Ok(examples.into_iter().map(|example| example.label).collect())
    }

    #[test]
    fn labels_of_the_training_split_are_sorted() {
        assert_eq!(read(&own(), &["yes", "no", "yes"]).unwrap(), [Some(1), Some(0), Some(1)]);
        assert_eq!(read(&own(), &["10", "9", "-1"]).unwrap(), [Some(2), Some(1), Some(0)]);
        assert_eq!(read(&own(), &["yes", "", "no"]).unwrap(), [Some(1), None, Some(0)]);
        assert_eq!(read(&own(), &["07", "7", "10"]).unwrap(), [Some(2), Some(0), Some(1)]);
        assert_eq!(
            read(&own(), &["yes", "yes"]).unwrap_err().to_string(),
            "f: column label needs two or more different labels, but has yes"
        );
        assert_eq!(
            read(&own(), &["", ""]).unwrap_err().to_string(),
            "f: column label needs two or more different labels, but has none; if the labels are in another column, name that column"
        );
        let rows = &b"{\"text\": \"a\", \"label\": true}"[..];
        let error = Format::Jsonl.read(rows, "f", &own()).unwrap_err().to_string();
        assert!(
            error.starts_with("f, line 1: unknown label true; the labels are texts"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_label_in_another_split_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (train, dev) = (folder.path().join("train.csv"), folder.path().join("dev.csv"));
        std::fs::write(&train, "text,label\na,yes\nb,no\n").unwrap();
        std::fs::write(&dev, "text,label\na,yes\nb,maybe\n").unwrap();
        let task = TextDataset::from_file(&train, &own()).unwrap().task().clone();
        assert_eq!(task.labels, ["no", "yes"]);
        assert_eq!(
            TextDataset::from_file(&dev, &task).unwrap_err().to_string(),
            format!(
                "{}, line 3: unknown label \"maybe\"; the labels are no (0) and yes (1); -1 or null where there is none",
                dev.display()
            )
        );
    }

    #[test]
    fn integers_are_names_where_the_labels_are_and_else_ids() {
        let given = |labels: &[&str]| Task {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..own()
        };
        assert_eq!(read(&given(&["b", "a"]), &["0", "1", "-1"]).unwrap(), [Some(0), Some(1), None]);
        assert_eq!(read(&given(&["2", "1"]), &["1", "2"]).unwrap(), [Some(1), Some(0)]);
        assert!(read(&given(&["2", "1"]), &["0"]).is_err());
        assert!(read(&given(&["b", "a"]), &["2"]).is_err());
        assert!(read(&given(&["7", "8"]), &["07"]).is_err());
    }
}
