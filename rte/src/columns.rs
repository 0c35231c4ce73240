//! Which columns of a file hold the texts, the label and the row's number.

/// For each column the names it may have, the preferred first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) text: &'static [&'static str],
    pub(crate) text_pair: &'static [&'static str],
    /// A file without this column is unlabelled.
    pub(crate) label: &'static [&'static str],
    /// Rows of a file without this column are numbered by position from 0.
    pub(crate) idx: &'static [&'static str],
}

/// RTE's columns under GLUE's names and SuperGLUE's.
pub(crate) const RTE: Columns = Columns {
    text: &["sentence1", "premise"],
    text_pair: &["sentence2", "hypothesis"],
    label: &["label"],
    idx: &["index", "idx"],
};

/// The names as an error message shows them: `sentence1 (or premise)`.
pub(crate) fn wanted(names: &[&str]) -> String {
    match names {
        [first, others @ ..] if !others.is_empty() => format!("{first} (or {})", others.join(", ")),
        _ => names.concat(),
    }
}

/// A list of names as an error message shows it.
pub(crate) fn listed<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
