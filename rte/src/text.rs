//! How error messages show names.

/// The names that a column may have: `sentence1 (or premise)`.
pub(crate) fn wanted<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [first, others @ ..] if !others.is_empty() => {
            format!("{} (or {})", first.as_ref(), listed(others))
        }
        names => names.iter().map(AsRef::as_ref).collect(),
    }
}

/// A list: `train.tsv, dev.tsv`.
pub(crate) fn listed<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
