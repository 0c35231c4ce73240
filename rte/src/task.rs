//! Tasks as data: GLUE's classification tasks and SNLI, a row each, and tasks of a user's own columns.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{Metric, RteError, Split, text::listed};

/// A published task. [`PRESETS`] is the table; a new GLUE-like task is one more row.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name in lower case, as the hub's configurations have it.
    pub name: &'static str,
    /// Other names it goes by.
    pub aliases: &'static [&'static str],
    /// The name of GLUE's folder and submission file.
    pub glue_name: &'static str,
    /// The names that the column of the text may have, best first.
    pub text: &'static [&'static str],
    /// The names that the column of the second text may have; empty for single texts.
    pub text_pair: &'static [&'static str],
    /// The names that the column of the label may have.
    pub label: &'static [&'static str],
    /// The columns of a TSV file that has no header.
    pub header: &'static [&'static str],
    /// The labels' names by id.
    pub labels: &'static [&'static str],
    /// The value of the label column where annotators did not agree.
    pub no_gold_label: &'static [&'static str],
    /// Whether the published files have truncated rows, which are skipped.
    pub incomplete_rows: bool,
    /// Whether the validation and test splits are a matched and a mismatched one.
    pub matched_splits: bool,
    /// How the task is scored; the first metric, the main one, decides which evaluation is best.
    pub metrics: &'static [Metric],
    /// The hub's data set and its configuration.
    pub hub: (&'static str, &'static str),
    /// How GLUE's submission files write a prediction; `None` without a leaderboard.
    pub submission: Option<Submission>,
}

/// How GLUE's submission files write a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submission {
    /// The label's name.
    Names,
    /// The label's id.
    Ids,
}

/// What most rows of the table have.
const GLUE: Preset = Preset {
    name: "",
    aliases: &[],
    glue_name: "",
    text: &["sentence1"],
    text_pair: &["sentence2"],
    label: &["label"],
    header: &[],
    labels: &[],
    no_gold_label: &[],
    incomplete_rows: false,
    matched_splits: false,
    metrics: &[Metric::Accuracy],
    hub: ("nyu-mll/glue", ""),
    submission: Some(Submission::Names),
};

const ENTAILMENT: &[&str] = &["entailment", "not_entailment"];
const NLI: &[&str] = &["entailment", "neutral", "contradiction"];
const PREMISE: &[&str] = &["sentence1", "premise"];
const HYPOTHESIS: &[&str] = &["sentence2", "hypothesis"];

/// The published tasks.
pub const PRESETS: [Preset; 9] = [
    Preset {
        name: "rte",
        glue_name: "RTE",
        text: PREMISE,
        text_pair: HYPOTHESIS,
        labels: ENTAILMENT,
        hub: ("nyu-mll/glue", "rte"),
        ..GLUE
    },
    Preset {
        name: "mnli",
        glue_name: "MNLI",
        text: PREMISE,
        text_pair: HYPOTHESIS,
        label: &["gold_label", "label"],
        labels: NLI,
        no_gold_label: &["-"],
        matched_splits: true,
        hub: ("nyu-mll/glue", "mnli"),
        ..GLUE
    },
    Preset {
        name: "qnli",
        glue_name: "QNLI",
        text: &["question"],
        text_pair: &["sentence"],
        labels: ENTAILMENT,
        hub: ("nyu-mll/glue", "qnli"),
        ..GLUE
    },
    Preset {
        name: "mrpc",
        glue_name: "MRPC",
        text: &["sentence1", "#1 String"],
        text_pair: &["sentence2", "#2 String"],
        label: &["label", "Quality"],
        labels: &["not_equivalent", "equivalent"],
        metrics: &[Metric::F1, Metric::Accuracy],
        hub: ("nyu-mll/glue", "mrpc"),
        submission: Some(Submission::Ids),
        ..GLUE
    },
    Preset {
        name: "qqp",
        glue_name: "QQP",
        text: &["question1"],
        text_pair: &["question2"],
        label: &["label", "is_duplicate"],
        labels: &["not_duplicate", "duplicate"],
        incomplete_rows: true,
        metrics: &[Metric::F1, Metric::Accuracy],
        hub: ("nyu-mll/glue", "qqp"),
        submission: Some(Submission::Ids),
        ..GLUE
    },
    Preset {
        name: "cola",
        glue_name: "CoLA",
        text: &["sentence"],
        text_pair: &[],
        header: &["source", "label", "mark", "sentence"],
        labels: &["unacceptable", "acceptable"],
        metrics: &[Metric::MatthewsCorrelation, Metric::Accuracy],
        hub: ("nyu-mll/glue", "cola"),
        submission: Some(Submission::Ids),
        ..GLUE
    },
    Preset {
        name: "sst2",
        aliases: &["sst-2"],
        glue_name: "SST-2",
        text: &["sentence"],
        text_pair: &[],
        labels: &["negative", "positive"],
        hub: ("nyu-mll/glue", "sst2"),
        submission: Some(Submission::Ids),
        ..GLUE
    },
    Preset {
        name: "wnli",
        glue_name: "WNLI",
        labels: &["not_entailment", "entailment"],
        hub: ("nyu-mll/glue", "wnli"),
        submission: Some(Submission::Ids),
        ..GLUE
    },
    Preset {
        name: "snli",
        aliases: &["nli"],
        glue_name: "SNLI",
        text: &["premise", "sentence1"],
        text_pair: &["hypothesis", "sentence2"],
        label: &["gold_label", "label"],
        labels: NLI,
        no_gold_label: &["-"],
        hub: ("stanfordnlp/snli", "plain_text"),
        submission: None,
        ..GLUE
    },
];

/// What the files of a task hold: which columns are the texts, which the label, and what the labels are.
///
/// It is saved with a fine-tuned model, so that data can later be read without naming the columns again.
///
/// ```
/// use rte::Task;
///
/// let mnli = Task::named("mnli")?;
/// assert_eq!(mnli.labels, ["entailment", "neutral", "contradiction"]);
///
/// // A user's own table; the labels come from the training split.
/// let own = Task::from_columns("question", Some("answer"), "verdict", vec![])?;
/// let stored = serde_json::to_string(&own)?;
/// assert_eq!(serde_json::from_str::<Task>(&stored)?, own);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The name of one of the [`PRESETS`]; `None` for a user's own columns.
    #[serde(default)]
    pub name: Option<String>,
    /// The names that the column of the text may have, best first.
    pub text: Vec<String>,
    /// The names that the column of the second text may have; empty for single texts.
    #[serde(default)]
    pub text_pair: Vec<String>,
    /// The names that the column of the label may have; a file without it is unlabelled.
    pub label: Vec<String>,
    /// The labels' names by id; empty until they are taken from the training split.
    #[serde(default)]
    pub labels: Vec<String>,
}

impl Task {
    /// One of the [`PRESETS`], by name or alias; capitals do not matter.
    ///
    /// # Errors
    ///
    /// A name that is none of them, and STS-B, whose targets are scores and not labels.
    pub fn named(name: &str) -> Result<Self, RteError> {
        let lower = name.to_lowercase();
        if ["stsb", "sts-b"].contains(&lower.as_str()) {
            return Err(RteError::Regression { name: name.to_owned() });
        }
        let preset = PRESETS
            .iter()
            .find(|preset| preset.name == lower || preset.aliases.contains(&lower.as_str()))
            .ok_or_else(|| RteError::UnknownTask {
                name: name.to_owned(),
                known: listed(PRESETS.iter().map(|preset| preset.name)),
            })?;
        Ok(preset.into())
    }

    /// A task on a user's own columns. Empty `labels` stand for those of the training split: in the order of its `ClassLabel`
    /// in Parquet, otherwise sorted.
    ///
    /// # Errors
    ///
    /// A label that is given twice, and one label alone.
    pub fn from_columns(
        text: &str,
        text_pair: Option<&str>,
        label: &str,
        labels: Vec<String>,
    ) -> Result<Self, RteError> {
        if !labels.is_empty() && !are_labels(&labels) {
            return Err(RteError::InvalidLabels { labels: listed(&labels) });
        }
        Ok(Self {
            name: None,
            text: vec![text.to_owned()],
            text_pair: text_pair.map(str::to_owned).into_iter().collect(),
            label: vec![label.to_owned()],
            labels,
        })
    }

    /// The published task, unless it is a user's own.
    pub fn preset(&self) -> Option<&'static Preset> {
        let name = self.name.as_deref()?;
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// How the task is scored; the first metric, the main one, decides which evaluation is best. A task on a user's own columns
    /// is scored by accuracy.
    pub fn metrics(&self) -> &'static [Metric] {
        self.preset().map_or(&[Metric::Accuracy], |preset| preset.metrics)
    }

    /// The columns that may hold the number of a row. A user's own rows are numbered by position: what such a column
    /// means there is not known.
    pub(crate) fn idx(&self) -> &'static [&'static str] {
        if self.name.is_some() { &["index", "idx"] } else { &[] }
    }

    /// The file names, without extension, that a split may have, best first.
    pub(crate) fn split_stems(&self, split: Split) -> Vec<&'static str> {
        let (matched, plain): (Vec<&'static str>, Vec<&'static str>) =
            split.names().iter().copied().partition(|name| name.ends_with("_matched"));
        let has_matched = self.preset().is_some_and(|preset| preset.matched_splits);
        if has_matched { [matched, plain].concat() } else { plain }
    }

    /// The subfolders of a data folder that are searched, too: named after the task, and `data`.
    pub(crate) fn subfolders(&self) -> Vec<&'static str> {
        let Some(preset) = self.preset() else { return vec!["data"] };
        let configuration = (preset.hub.1 != preset.name).then_some(preset.hub.1);
        [preset.name, preset.glue_name].into_iter().chain(configuration).chain(["data"]).collect()
    }

    /// GLUE's submission file: its name, and its text for predictions of `(idx, label)`. `None` for a task without a
    /// leaderboard.
    ///
    /// ```
    /// let rte = rte::Task::named("rte")?;
    /// let (name, text) = rte.submission(rte::Split::Test, [(0, 1), (1, 0)]).unwrap();
    /// assert_eq!(name, "RTE.tsv");
    /// assert_eq!(text, "index\tprediction\n0\tnot_entailment\n1\tentailment\n");
    /// # Ok::<(), rte::RteError>(())
    /// ```
    pub fn submission(
        &self,
        split: Split,
        predictions: impl IntoIterator<Item = (usize, usize)>,
    ) -> Option<(String, String)> {
        let preset = self.preset()?;
        let form = preset.submission?;
        let suffix = match (preset.matched_splits, split) {
            (false, _) => "",
            (true, Split::ValidationMismatched | Split::TestMismatched) => "-mm",
            (true, _) => "-m",
        };
        let mut text = "index\tprediction\n".to_owned();
        for (idx, label) in predictions {
            text += &match (form, self.labels.get(label)) {
                (Submission::Names, Some(name)) => format!("{idx}\t{name}\n"),
                _ => format!("{idx}\t{label}\n"),
            };
        }
        Some((format!("{}{suffix}.tsv", preset.glue_name), text))
    }

    /// The id of a label's name.
    ///
    /// ```
    /// let rte = rte::Task::named("rte")?;
    /// assert_eq!(rte.label_id("not_entailment"), Some(1));
    /// assert_eq!(rte.label_id("neutral"), None);
    /// # Ok::<(), rte::RteError>(())
    /// ```
    pub fn label_id(&self, name: &str) -> Option<usize> {
        self.labels.iter().position(|label| label == name)
    }
}

/// Whether these are two or more labels, all different.
pub(crate) fn are_labels(names: &[String]) -> bool {
    names.len() >= 2 && names.iter().collect::<HashSet<_>>().len() == names.len()
}

impl From<&Preset> for Task {
    fn from(preset: &Preset) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            name: Some(preset.name.to_owned()),
            text: owned(preset.text),
            text_pair: owned(preset.text_pair),
            label: owned(preset.label),
            labels: owned(preset.labels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_go_by_name_and_alias() {
        for preset in &PRESETS {
            let task = Task::named(&preset.name.to_uppercase()).unwrap();
            assert_eq!(task.preset(), Some(preset));
            for alias in preset.aliases {
                assert_eq!(Task::named(alias).unwrap(), task);
            }
            assert!(preset.labels.len() >= 2 && !preset.metrics.is_empty(), "{}", preset.name);
        }
        assert_eq!(
            Task::named("boolq").unwrap_err().to_string(),
            "unknown task \"boolq\"; the tasks are rte, mnli, qnli, mrpc, qqp, cola, sst2, wnli, snli; for other data, give the columns of the text and the label instead"
        );
        assert_eq!(
            Task::named("STS-B").unwrap_err().to_string(),
            "STS-B is a regression task: its targets are scores, not labels; only classification tasks are supported"
        );
    }

    #[test]
    fn wrong_labels_are_refused() {
        let own = |labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Task::from_columns("text", None, "label", labels)
        };
        own(&[]).unwrap();
        own(&["b", "a"]).unwrap();
        for labels in [&["a"][..], &["a", "b", "a"]] {
            let error = own(labels).unwrap_err().to_string();
            assert!(error.ends_with("give at least two, each only once"), "{error}");
        }
    }

    #[test]
    fn submissions_are_as_glue_wants_them() {
        let submission =
            |name: &str, split| Task::named(name).unwrap().submission(split, [(7, 1), (8, 0)]);
        assert_eq!(
            submission("mnli", Split::TestMismatched).unwrap(),
            ("MNLI-mm.tsv".to_owned(), "index\tprediction\n7\tneutral\n8\tentailment\n".to_owned())
        );
        assert_eq!(submission("mnli", Split::Test).unwrap().0, "MNLI-m.tsv");
        assert_eq!(
            submission("wnli", Split::Test).unwrap(),
            ("WNLI.tsv".to_owned(), "index\tprediction\n7\t1\n8\t0\n".to_owned())
        );
        assert_eq!(submission("snli", Split::Test), None);
    }
}
