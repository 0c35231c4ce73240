//! The metrics of GLUE, computed from the counts of a confusion matrix, and what they are called.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// A score of predictions, larger is better. It is serialized as its [`key`](Metric::key).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// [`ConfusionMatrix::accuracy`].
    #[default]
    #[serde(rename = "eval_accuracy")]
    Accuracy,
    /// [`ConfusionMatrix::f1`].
    #[serde(rename = "eval_f1")]
    F1,
    /// [`ConfusionMatrix::matthews_correlation`].
    #[serde(rename = "eval_matthews_correlation")]
    MatthewsCorrelation,
}

impl Metric {
    /// The name on the hub: `accuracy`, `f1` or `matthews_correlation`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::F1 => "f1",
            Self::MatthewsCorrelation => "matthews_correlation",
        }
    }

    /// The key in the results of an evaluation: the [`name`](Self::name) after `eval_`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Accuracy => "eval_accuracy",
            Self::F1 => "eval_f1",
            Self::MatthewsCorrelation => "eval_matthews_correlation",
        }
    }

    /// The name for readers, as within a sentence: `accuracy`, `F1` or `Matthews correlation`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::F1 => "F1",
            Self::MatthewsCorrelation => "Matthews correlation",
        }
    }

    /// A value with the name of the metric: `accuracy 66.43 %`, `F1 81.22 %` or `Matthews correlation 0.4125`.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::MatthewsCorrelation => format!("{} {value:.4}", self.title()),
            _ => format!("{} {:.2} %", self.title(), 100.0 * value),
        }
    }

    /// The chance level, if it does not depend on the data: 0 for Matthews' correlation. `None` for the others, whose chance
    /// level is the metric of always predicting the majority class, [`ConfusionMatrix::majority_baseline`].
    pub fn chance_level(self) -> Option<f64> {
        (self == Self::MatthewsCorrelation).then_some(0.0)
    }

    /// The metric of these predictions.
    pub fn value(self, matrix: &ConfusionMatrix) -> f64 {
        match self {
            Self::Accuracy => matrix.accuracy(),
            Self::F1 => matrix.f1(),
            Self::MatthewsCorrelation => matrix.matthews_correlation(),
        }
    }
}

/// How often each label was predicted for each label.
///
/// ```
/// use metrics::{ConfusionMatrix, Metric};
///
/// let mut matrix = ConfusionMatrix::new(2);
/// for (label, prediction) in [(0, 0), (0, 1), (1, 1), (1, 1)] {
///     matrix.add(label, prediction);
/// }
/// assert_eq!(matrix.rows().collect::<Vec<_>>(), [[1, 1], [0, 2]]);
/// assert_eq!(matrix.accuracy(), 0.75);
/// assert_eq!(matrix.f1(), 0.8);
/// // Always the more frequent label would be right in half of the cases.
/// assert_eq!(Metric::Accuracy.value(&matrix.majority_baseline()), 0.5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    labels: usize,
    /// Row by row.
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// A matrix of zeros.
    pub fn new(labels: usize) -> Self {
        Self { labels, counts: vec![0; labels * labels] }
    }

    /// Counts a prediction.
    ///
    /// # Panics
    ///
    /// If `label` or `prediction` is not below the number of labels.
    pub fn add(&mut self, label: usize, prediction: usize) {
        assert!(
            label < self.labels && prediction < self.labels,
            "not one of {} labels",
            self.labels
        );
        self.counts[label * self.labels + prediction] += 1;
    }

    /// A row for each true label, in it a count for each predicted one.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks(self.labels.max(1))
    }

    /// The number of predictions.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The share of predictions that are right; 0 of none.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct() as f64, self.total() as f64)
    }

    /// `2 TP / (2 TP + FP + FN)`, where the positive class is label 1, whatever the number of labels; 0 where label 1
    /// neither occurs nor is predicted.
    pub fn f1(&self) -> f64 {
        let [Some(occurs), Some(predicted)] =
            [self.occurrences().get(1).copied(), self.predictions().get(1).copied()]
        else {
            return 0.0;
        };
        ratio(2.0 * self.counts[self.labels + 1] as f64, (occurs + predicted) as f64)
    }

    /// Matthews' correlation, for more than two labels as generalized by Gorodkin (2004); 0 where all labels or all
    /// predictions are the same.
    ///
    /// With `c` right of `s` predictions and label `k` occurring `tₖ` and predicted `pₖ` times:
    /// `(c s − Σ tₖ pₖ) / √((s² − Σ pₖ²) (s² − Σ tₖ²))`.
    pub fn matthews_correlation(&self) -> f64 {
        let total = self.total() as f64;
        let (occurs, predicted) = (self.occurrences(), self.predictions());
        let dot = |a: &[u64], b: &[u64]| -> f64 {
            a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum()
        };
        let covariance = self.correct() as f64 * total - dot(&occurs, &predicted);
        let variances = [&predicted, &occurs].map(|counts| total * total - dot(counts, counts));
        ratio(covariance, (variances[0] * variances[1]).sqrt())
    }

    /// The same counts with label `indices[i]` as label `i`; `indices` must be a permutation of the labels.
    ///
    /// # Panics
    ///
    /// If `indices` has another length, or holds an index that no label has.
    pub fn reordered(&self, indices: &[usize]) -> Self {
        assert_eq!(indices.len(), self.labels, "one index per label");
        let counts = indices.iter().flat_map(|&label| {
            indices.iter().map(move |&prediction| self.counts[label * self.labels + prediction])
        });
        Self { labels: self.labels, counts: counts.collect() }
    }

    /// What always predicting the most frequent label would give. A model whose metric is not above this one's has not
    /// learned the task; of Matthews' correlation it is 0.
    pub fn majority_baseline(&self) -> Self {
        let occurs = self.occurrences();
        let mut baseline = Self::new(self.labels);
        // The first of equally frequent labels.
        let most = occurs.iter().enumerate().rev().max_by_key(|(_, count)| **count);
        if let Some((majority, _)) = most {
            for (label, count) in occurs.iter().enumerate() {
                baseline.counts[label * self.labels + majority] = *count;
            }
        }
        baseline
    }

    fn correct(&self) -> u64 {
        self.counts.iter().step_by(self.labels + 1).sum()
    }

    /// How often each label occurs.
    fn occurrences(&self) -> Vec<u64> {
        self.rows().map(|row| row.iter().sum()).collect()
    }

    /// How often each label is predicted.
    fn predictions(&self) -> Vec<u64> {
        (0..self.labels).map(|label| self.rows().map(|row| row[label]).sum()).collect()
    }
}

impl AddAssign<&ConfusionMatrix> for ConfusionMatrix {
    /// Counts the predictions of both matrices.
    ///
    /// # Panics
    ///
    /// If they are not of the same number of labels.
    fn add_assign(&mut self, other: &ConfusionMatrix) {
        assert_eq!(self.labels, other.labels, "matrices of different numbers of labels");
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `tests/reference/metric_cases.py`.
    #[derive(Deserialize)]
    struct Case {
        labels: Vec<usize>,
        predictions: Vec<usize>,
        confusion_matrix: Vec<Vec<u64>>,
        accuracy: f64,
        f1: f64,
        matthews_correlation: f64,
        majority: Majority,
    }

    #[derive(Deserialize)]
    struct Majority {
        accuracy: f64,
        f1: f64,
        matthews_correlation: f64,
    }

    #[test]
    fn metrics_are_those_of_scikit_learn() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/metrics/cases.json");
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(cases.len() > 10);
        for (number, case) in cases.into_iter().enumerate() {
            let mut matrix = ConfusionMatrix::new(case.confusion_matrix.len());
            for (label, prediction) in case.labels.iter().zip(&case.predictions) {
                matrix.add(*label, *prediction);
            }
            assert_eq!(matrix.rows().collect::<Vec<_>>(), case.confusion_matrix, "case {number}");
            assert_eq!(matrix.total(), case.labels.len() as u64);
            let baseline = matrix.majority_baseline();
            for (metric, matrix, expected) in [
                (Metric::Accuracy, &matrix, case.accuracy),
                (Metric::F1, &matrix, case.f1),
                (Metric::MatthewsCorrelation, &matrix, case.matthews_correlation),
                (Metric::Accuracy, &baseline, case.majority.accuracy),
                (Metric::F1, &baseline, case.majority.f1),
                (Metric::MatthewsCorrelation, &baseline, case.majority.matthews_correlation),
            ] {
                let value = metric.value(matrix);
                assert!(
                    (value - expected).abs() < 1e-12,
                    "case {number}, {metric:?}: {value}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn nothing_predicted_is_no_number_that_is_none() {
        for metric in [Metric::Accuracy, Metric::F1, Metric::MatthewsCorrelation] {
            for labels in 0..3 {
                assert_eq!(metric.value(&ConfusionMatrix::new(labels).majority_baseline()), 0.0);
            }
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.key());
            assert_eq!(metric.key(), format!("eval_{}", metric.name()));
        }
    }
}
