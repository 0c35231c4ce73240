//! The columns every format has, under GLUE's names and SuperGLUE's.

/// The premise.
pub(crate) const SENTENCE1: &[&str] = &["sentence1", "premise"];
/// The hypothesis.
pub(crate) const SENTENCE2: &[&str] = &["sentence2", "hypothesis"];
/// The label; a file without it is unlabelled.
pub(crate) const LABEL: &[&str] = &["label"];
/// The row's own number; a file without it is numbered by position from 0.
pub(crate) const IDX: &[&str] = &["index", "idx"];

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
