//! One row of the task: two sentences, and whether the first entails the second.

/// The labels' names by id, in the order of GLUE's hub files: 0 is `entailment`.
pub const LABELS: [&str; 2] = ["entailment", "not_entailment"];

/// A sentence pair of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RteExample {
    /// The premise.
    pub sentence1: String,
    /// The hypothesis.
    pub sentence2: String,
    /// An index into [`LABELS`]; `None` where the file has no label (the hub's -1, a TSV without the column).
    pub label: Option<usize>,
    /// The file's own number for the row, or the row's position from 0 where the file has none.
    pub idx: usize,
}

/// The id of a label's name.
///
/// ```
/// assert_eq!(rte::label_id("not_entailment"), Some(1));
/// assert_eq!(rte::label_id("neutral"), None);
/// ```
pub fn label_id(name: &str) -> Option<usize> {
    LABELS.iter().position(|label| *label == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_agree() {
        for (id, name) in LABELS.iter().enumerate() {
            assert_eq!(label_id(name), Some(id));
        }
        assert_eq!(label_id("Entailment"), None);
    }
}
