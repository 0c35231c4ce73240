//! The records of a run: a [`StepRecord`] for each optimizer step, an [`EvaluationRecord`] for each evaluation, and
//! the [`Progress`] that both add up to.

use std::ops::AddAssign;
use std::time::Duration;

use rte::{ConfusionMatrix, Metric};
use serde::{Deserialize, Serialize};

/// One optimizer step.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// The step, counted from 1.
    pub step: usize,
    /// The epoch that the step belongs to, counted from 1.
    pub epoch: usize,
    /// The mean loss over the step's examples, before the update.
    pub loss: f64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// The global L2 norm of the gradients, before clipping.
    pub grad_norm: f64,
    /// ‖θ − θ⁰‖₂ over the pretrained parameters, after the update.
    pub distance: f64,
}

/// One evaluation on the validation split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationRecord {
    /// Optimizer steps taken so far.
    pub step: usize,
    /// The epoch of the last of these steps, counted from 1.
    pub epoch: usize,
    /// The mean loss over the validation examples.
    pub eval_loss: f64,
    /// The share of validation examples classified correctly.
    pub eval_accuracy: f64,
    /// F1, for the tasks that GLUE scores by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_f1: Option<f64>,
    /// Matthews' correlation coefficient, for the tasks that GLUE scores by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_matthews_correlation: Option<f64>,
}

impl EvaluationRecord {
    /// The record of an evaluation after `step`, in `epoch`, with the metrics of the task.
    pub fn new(step: usize, epoch: usize, evaluation: &Evaluation, metrics: &[Metric]) -> Self {
        let of_task = |metric| metrics.contains(&metric).then(|| evaluation.metric(metric));
        Self {
            step,
            epoch,
            eval_loss: evaluation.loss(),
            eval_accuracy: evaluation.metric(Metric::Accuracy),
            eval_f1: of_task(Metric::F1),
            eval_matthews_correlation: of_task(Metric::MatthewsCorrelation),
        }
    }

    /// A metric of the task; NaN if it is not one of them.
    pub fn metric(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Accuracy => self.eval_accuracy,
            Metric::F1 => self.eval_f1.unwrap_or(f64::NAN),
            Metric::MatthewsCorrelation => self.eval_matthews_correlation.unwrap_or(f64::NAN),
        }
    }
}

/// The loss and the predictions of a model on labelled examples.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The sum of the losses of the examples.
    pub loss_sum: f64,
    /// The predictions by label.
    pub confusion: ConfusionMatrix,
}

impl Evaluation {
    /// An evaluation without examples, of a task with this number of labels.
    pub fn new(labels: usize) -> Self {
        Self { loss_sum: 0.0, confusion: ConfusionMatrix::new(labels) }
    }

    /// The number of examples.
    pub fn examples(&self) -> usize {
        self.confusion.total() as usize
    }

    /// The mean loss.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.examples() as f64
    }

    /// A metric of the predictions.
    pub fn metric(&self, metric: Metric) -> f64 {
        metric.value(&self.confusion)
    }
}

impl AddAssign<&Evaluation> for Evaluation {
    fn add_assign(&mut self, other: &Self) {
        self.loss_sum += other.loss_sum;
        self.confusion += &other.confusion;
    }
}

/// The loss and the correct predictions of a model on the examples of one or more training steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// The sum of the losses of the examples.
    pub loss_sum: f64,
    /// The number of examples classified correctly.
    pub correct: usize,
    /// The number of examples.
    pub examples: usize,
}

impl AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.correct += other.correct;
        self.examples += other.examples;
    }
}

impl Score {
    /// The mean loss.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.examples as f64
    }

    /// The share of examples classified correctly.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.examples as f64
    }
}

/// The length of a run.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// Passes over the training examples.
    pub epochs: usize,
    /// Optimizer steps in an epoch.
    pub steps_per_epoch: usize,
    /// Optimizer steps in the run.
    pub total_steps: usize,
    /// Optimizer steps from one evaluation to the next.
    pub steps_per_evaluation: usize,
    /// Training examples in an epoch.
    pub train_examples: usize,
    /// Examples in an evaluation.
    pub eval_examples: usize,
}

impl Length {
    /// The epoch that `step` belongs to, both counted from 1.
    pub fn epoch_of(&self, step: usize) -> usize {
        step.div_ceil(self.steps_per_epoch)
    }

    /// Whether `step` is the last of its epoch or of the run.
    pub fn ends_epoch(&self, step: usize) -> bool {
        step == self.total_steps || step.is_multiple_of(self.steps_per_epoch)
    }

    /// Whether an evaluation follows `step`.
    pub fn is_evaluated(&self, step: usize) -> bool {
        step == self.total_steps || step.is_multiple_of(self.steps_per_evaluation)
    }

    /// The number of evaluations in the run.
    pub fn evaluations(&self) -> usize {
        self.total_steps.div_ceil(self.steps_per_evaluation)
    }
}

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Optimizer steps taken.
    pub step: usize,
    /// Training examples seen.
    pub examples: usize,
    /// Seconds spent on training steps.
    pub train_seconds: f64,
    /// Seconds spent on evaluations.
    pub eval_seconds: f64,
    /// The records of all evaluations.
    pub evaluations: Vec<EvaluationRecord>,
}

impl Progress {
    /// The evaluation with the best value of `metric`; of equals the first.
    pub fn best(&self, metric: Metric) -> Option<&EvaluationRecord> {
        let better = |it: &EvaluationRecord, best: &EvaluationRecord| {
            it.metric(metric) > best.metric(metric)
        };
        self.evaluations.iter().reduce(|best, it| if better(it, best) { it } else { best })
    }

    /// The number of evaluations since the best value of `metric`.
    pub fn evaluations_since_best(&self, metric: Metric) -> usize {
        let best = self.best(metric).map_or(0, |best| best.step);
        self.evaluations.iter().filter(|evaluation| evaluation.step > best).count()
    }

    /// Training examples per second; 0 before the first step.
    pub fn examples_per_second(&self) -> f64 {
        if self.examples > 0 { self.examples as f64 / self.train_seconds } else { 0.0 }
    }

    /// An estimate of the time that the remaining steps and evaluations take, from the time of those completed.
    pub fn remaining(&self, length: &Length) -> Duration {
        let per_step = self.train_seconds / self.step as f64;
        let per_evaluation = match self.evaluations.len() {
            // Before the first evaluation: a forward pass costs about a third of a training step.
            0 => length.eval_examples as f64 / self.examples_per_second() / 3.0,
            done => self.eval_seconds / done as f64,
        };
        let steps = (length.total_steps - self.step) as f64;
        let evaluations = length.evaluations().saturating_sub(self.evaluations.len()) as f64;
        Duration::try_from_secs_f64(per_step * steps + per_evaluation * evaluations)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The progress after evaluations with these accuracies, every 10 steps.
    fn evaluated(accuracies: &[f64]) -> Progress {
        let record = |(index, &eval_accuracy): (usize, &f64)| EvaluationRecord {
            step: 10 * (index + 1),
            epoch: 1,
            eval_loss: 0.7,
            eval_accuracy,
            eval_f1: None,
            eval_matthews_correlation: None,
        };
        let evaluations = accuracies.iter().enumerate().map(record).collect();
        Progress { evaluations, ..Progress::default() }
    }

    #[test]
    fn the_first_of_equal_evaluations_is_the_best() {
        let best = |accuracies: &[f64]| {
            let progress = evaluated(accuracies);
            let step = progress.best(Metric::Accuracy).map(|best| best.step);
            (step, progress.evaluations_since_best(Metric::Accuracy))
        };
        assert_eq!(best(&[]), (None, 0));
        assert_eq!(best(&[0.5]), (Some(10), 0));
        assert_eq!(best(&[0.5, 0.7, 0.7, 0.6]), (Some(20), 2));
        assert_eq!(best(&[0.5, 0.4, 0.6]), (Some(30), 0));
    }

    #[test]
    fn the_remaining_time_counts_all_evaluations() {
        let length = Length {
            epochs: 2,
            steps_per_epoch: 50,
            total_steps: 95,
            steps_per_evaluation: 10,
            train_examples: 400,
            eval_examples: 80,
        };
        assert_eq!(length.evaluations(), 10);
        let steps: Vec<_> = (1..=95).filter(|&step| length.is_evaluated(step)).collect();
        assert_eq!(steps, [10, 20, 30, 40, 50, 60, 70, 80, 90, 95]);
        // 2 s a step, 3 s an evaluation: 55 steps and 6 evaluations are left.
        let progress = evaluated(&[0.5; 4]);
        let progress = Progress { step: 40, train_seconds: 80.0, eval_seconds: 12.0, ..progress };
        assert_eq!(progress.remaining(&length), Duration::from_secs(2 * 55 + 3 * 6));
    }
}
