//! `predictions.jsonl`: what the model that a run saved predicts for the validation examples.

use std::path::{Path, PathBuf};

use metrics::ConfusionMatrix;
use serde::{Deserialize, Serialize};

use crate::by_name;
use crate::run::{ReadError, read};

/// A prediction as a line of JSON: what `l2sp predict` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The number of the example.
    pub idx: usize,
    /// The predicted label.
    pub label: String,
    /// All labels, in the model's order, and their probabilities. NaN is `null` in JSON.
    #[serde(with = "by_name")]
    pub probabilities: Vec<(String, f64)>,
}

/// A prediction for an example whose label is known: a line of `predictions.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelledPrediction {
    /// What the model predicts.
    #[serde(flatten)]
    pub prediction: Prediction,
    /// The text, of a pair the first one.
    pub text: String,
    /// The second text of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    /// The label of the example.
    pub true_label: String,
}

/// The predictions of a run: at least one.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// The labels, in the model's order.
    pub(crate) labels: Vec<String>,
    /// The predictions, in the order of the examples. All their labels are among [`Self::labels`].
    pub(crate) lines: Vec<LabelledPrediction>,
}

impl Predictions {
    /// The name of the file.
    const FILE: &str = "predictions.jsonl";

    /// The path of the file in the folder of a run.
    pub fn path(run: &Path) -> PathBuf {
        run.join(Self::FILE)
    }

    /// Reads the predictions of the run in a folder; `None` if there are none.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, a line that is malformed or has other labels than the first.
    pub fn read(run: &Path) -> Result<Option<Self>, ReadError> {
        let path = Self::path(run);
        let Some(text) = read(&path)? else { return Ok(None) };
        Self::parse(&text).map(Some).map_err(|(line, message)| ReadError::Predictions {
            path,
            line,
            message,
        })
    }

    /// The predictions, or the number of a line and what is wrong with it.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut labels: Vec<String> = Vec::new();
        let mut lines: Vec<LabelledPrediction> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let malformed = |message: String| (number, message);
            let line: LabelledPrediction =
                serde_json::from_str(line).map_err(|error| malformed(error.to_string()))?;
            let probabilities = &line.prediction.probabilities;
            if number == 1 {
                labels = probabilities.iter().map(|(label, _)| label.clone()).collect();
            }
            if !labels.iter().eq(probabilities.iter().map(|(label, _)| label)) {
                return Err(malformed("`probabilities` has other labels than line 1".into()));
            }
            for label in [&line.true_label, &line.prediction.label] {
                if !labels.contains(label) {
                    return Err(malformed(format!("the label {label:?} has no probability")));
                }
            }
            lines.push(line);
        }
        match lines.is_empty() {
            true => Err((1, "there is no prediction".into())),
            false => Ok(Self { labels, lines }),
        }
    }

    /// How often each label was predicted for each label.
    pub(crate) fn confusion(&self) -> ConfusionMatrix {
        let mut matrix = ConfusionMatrix::new(self.labels.len());
        let index = |label| self.labels.iter().position(|it| it == label);
        for line in &self.lines {
            if let (Some(label), Some(predicted)) =
                (index(&line.true_label), index(&line.prediction.label))
            {
                matrix.add(label, predicted);
            }
        }
        matrix
    }

    /// The predictions with the highest loss, −log of the true label's probability, worst first; of equals the first in
    /// the file. A probability that is NaN is worse than any other.
    pub(crate) fn worst(&self, count: usize) -> Vec<&LabelledPrediction> {
        let mut worst: Vec<_> = self.lines.iter().collect();
        let rank = |line: &LabelledPrediction| {
            let probability = line.probability_of_truth();
            if probability.is_nan() { f64::NEG_INFINITY } else { probability }
        };
        worst.sort_by(|one, other| rank(one).total_cmp(&rank(other)));
        worst.truncate(count);
        worst
    }
}

impl LabelledPrediction {
    /// The probability of the true label.
    pub(crate) fn probability_of_truth(&self) -> f64 {
        let mut probabilities = self.prediction.probabilities.iter();
        let of_truth = probabilities.find(|(label, _)| *label == self.true_label);
        of_truth.map_or(f64::NAN, |(_, probability)| *probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line whose labels are not in alphabetical order.
    fn line(idx: usize, true_label: &str, label: &str, yes: f64) -> String {
        let line = LabelledPrediction {
            prediction: Prediction {
                idx,
                label: label.into(),
                probabilities: vec![("yes".into(), yes), ("no".into(), 1.0 - yes)],
            },
            text: format!("text {idx}\n\"quoted\""),
            text_pair: None,
            true_label: true_label.into(),
        };
        serde_json::to_string(&line).unwrap()
    }

    #[test]
    fn a_line_has_the_keys_of_predict_and_more() {
        assert_eq!(
            line(3, "no", "yes", 0.75),
            r#"{"idx":3,"label":"yes","probabilities":{"yes":0.75,"no":0.25},"text":"text 3\n\"quoted\"","true_label":"no"}"#
        );
    }

    #[test]
    fn predictions_are_counted_in_the_order_of_the_labels_and_ranked_by_their_loss() {
        let lines = [
            line(0, "yes", "yes", 0.75),
            line(1, "no", "yes", 0.875),
            line(2, "yes", "no", 0.125),
            line(3, "no", "no", 0.0),
            line(4, "yes", "yes", f64::NAN),
        ];
        let predictions = Predictions::parse(&lines.join("\n")).unwrap();
        assert_eq!(predictions.labels, ["yes", "no"]);
        assert_eq!(predictions.confusion().rows().collect::<Vec<_>>(), [[2, 1], [1, 1]]);
        let worst = |count| -> Vec<usize> {
            predictions.worst(count).iter().map(|line| line.prediction.idx).collect()
        };
        assert_eq!(worst(9), [4, 1, 2, 0, 3]);
        assert_eq!(worst(2), [4, 1]);
        assert!(predictions.lines[4].probability_of_truth().is_nan());
        assert_eq!(predictions.lines[1].probability_of_truth(), 0.125);
    }

    #[test]
    fn a_damaged_file_is_named_with_its_line() {
        let good = line(0, "yes", "yes", 0.75);
        for (bad, message) in [
            ("", "EOF"),
            ("nonsense", "expected"),
            (&good[..good.len() / 2], "EOF"),
            // What `predict` writes, whose examples have no label.
            (r#"{"idx":0,"label":"yes","probabilities":{"yes":1,"no":0}}"#, "`text`"),
            (&good.replace(r#""true_label":"yes""#, r#""true_label":"maybe""#), "\"maybe\""),
            (&good.replace(r#""label":"yes""#, r#""label":"maybe""#), "\"maybe\""),
            (&good.replace(r#""no":"#, r#""maybe":"#), "other labels than line 1"),
            (&good.replace("0.75", "\"much\""), "f64"),
            (&good.replace(r#"{"yes":0.75,"no":0.25}"#, "[0.75,0.25]"), "an object of numbers"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(Predictions::path(folder.path()), format!("{good}\n{bad}\n{good}\n"))
                .unwrap();
            let error = Predictions::read(folder.path()).unwrap_err();
            assert!(matches!(error, ReadError::Predictions { line: 2, .. }), "{bad}: {error}");
            let error = error.to_string();
            assert!(
                error.contains("predictions.jsonl, line 2: ") && error.contains(message),
                "{error}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(Predictions::read(folder.path()).unwrap().is_none());
        std::fs::write(Predictions::path(folder.path()), "").unwrap();
        let error = Predictions::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("predictions.jsonl, line 1: there is no prediction"), "{error}");
    }
}
