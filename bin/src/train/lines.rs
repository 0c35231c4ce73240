//! The progress of a run as plain lines on standard error.

use std::time::{Duration, Instant};

use indicatif::HumanDuration;
use rte::Metric;

use super::progress::{Evaluation, EvaluationRecord, Length, Progress, Score, StepRecord};
use super::run::Observer;
use super::step::Step;
use crate::signals::StopRequest;
use crate::terminal::notice;

/// The time between two lines.
const INTERVAL: Duration = Duration::from_secs(5);

/// Prints a line every few seconds, at the end of each epoch and at each evaluation.
pub(super) struct Lines {
    length: Length,
    stop: StopRequest,
    /// Prints nothing.
    quiet: bool,
    printed: Option<Instant>,
    /// The training examples since the last line.
    recent: Score,
}

impl Lines {
    /// Lines about a run of this length; `stop` is the request that ends it early.
    pub(super) fn new(length: Length, stop: StopRequest, quiet: bool) -> Self {
        Self { length, stop, quiet, printed: None, recent: Score::default() }
    }
}

impl Observer for Lines {
    fn step(&mut self, progress: &Progress, record: &StepRecord, step: Step) {
        self.recent += step.score;
        let due = self.printed.is_none_or(|printed| printed.elapsed() >= INTERVAL);
        let step = record.step;
        if self.quiet || !(due || self.length.ends_epoch(step) || self.length.is_evaluated(step)) {
            return;
        }
        self.printed = Some(Instant::now());
        let recent = std::mem::take(&mut self.recent);
        notice(format_args!(
            "epoch {}/{}  step {:>w$}/{}  loss {:.4}  accuracy {:5.1} %  learning rate {:.2e}  gradient norm {:.3}  \
             distance {:.4}  {:.1} examples/s  ETA {}",
            record.epoch,
            self.length.epochs,
            record.step,
            self.length.total_steps,
            recent.loss(),
            100.0 * recent.accuracy(),
            record.learning_rate,
            record.grad_norm,
            record.distance,
            progress.examples_per_second(),
            HumanDuration(progress.remaining(&self.length)),
            w = self.length.total_steps.to_string().len(),
        ));
    }

    fn evaluating(&mut self, _: &Progress, _: &Evaluation) {}

    fn evaluated(&mut self, record: &EvaluationRecord) {
        if !self.quiet {
            // At the end of an epoch its number says it all.
            let step = match self.length.ends_epoch(record.step) {
                true => String::new(),
                false => format!("  step {}/{}", record.step, self.length.total_steps),
            };
            let metrics = [Metric::Accuracy, Metric::F1, Metric::MatthewsCorrelation].into_iter();
            let metrics: Vec<String> = metrics
                .map(|metric| (metric, record.metric(metric)))
                .filter(|(_, value)| !value.is_nan())
                .map(|(metric, value)| metric.show(value))
                .collect();
            notice(format_args!(
                "epoch {}/{}{step}  evaluated {} examples: loss {:.4}, {}",
                record.epoch,
                self.length.epochs,
                self.length.eval_examples,
                record.eval_loss,
                metrics.join(", "),
            ));
        }
    }

    fn should_stop(&self) -> bool {
        self.stop.is_requested()
    }
}
