//! The journal on the screen: burn-train's dashboard, or plain lines.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::train::LearnerSummary;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricDefinition, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};

use crate::ProgramError;
use crate::journal::{Journal, Slot};
use crate::recipe::DashboardName;

/// Between two lines.
const INTERVAL: Duration = Duration::from_secs(5);

/// What `auto` comes to here.
///
/// # Errors
/// `tui` without a terminal.
pub fn choose(name: DashboardName) -> Result<DashboardName, ProgramError> {
    let terminal = std::io::stdout().is_terminal();
    match name {
        DashboardName::Auto if terminal => Ok(DashboardName::Tui),
        DashboardName::Auto => Ok(DashboardName::Plain),
        DashboardName::Tui if !terminal => {
            Err(ProgramError::Usage("--dashboard tui needs a terminal; use plain or off".into()))
        }
        name => Ok(name),
    }
}

/// A number of each step, as a metric of burn-train's.
#[derive(Clone)]
pub struct Reading {
    name: MetricName,
    unit: Option<&'static str>,
    higher_is_better: bool,
    read: fn(&Slot) -> f64,
    state: NumericMetricState,
}

impl Reading {
    fn new(name: &str, read: fn(&Slot) -> f64) -> Self {
        Self {
            name: Arc::new(name.to_string()),
            unit: None,
            higher_is_better: false,
            read,
            state: NumericMetricState::new(),
        }
    }

    /// The loss.
    pub fn loss() -> Self {
        Self::new("Loss", |slot| slot.score.loss())
    }

    /// The accuracy, in percent.
    pub fn accuracy() -> Self {
        let accuracy = Self::new("Accuracy", |slot| 100.0 * slot.score.accuracy());
        Self { unit: Some("%"), higher_is_better: true, ..accuracy }
    }

    /// The learning rate.
    pub fn learning_rate() -> Self {
        Self::new("Learning rate", |slot| {
            slot.record.get().map_or(f64::NAN, |record| record.learning_rate)
        })
    }

    /// The gradients' norm before clipping.
    pub fn grad_norm() -> Self {
        Self::new("Gradient norm", |slot| {
            slot.record.get().map_or(f64::NAN, |record| record.grad_norm)
        })
    }

    /// The distance from the source, after the step.
    pub fn distance() -> Self {
        Self::new("Distance from source", |slot| {
            slot.record.get().map_or(f64::NAN, |record| record.distance)
        })
    }
}

impl Metric for Reading {
    type Input = Slot;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: self.unit.map(str::to_string),
            higher_is_better: self.higher_is_better,
        }
        .into()
    }

    fn update(&mut self, slot: &Slot, _metadata: &MetricMetadata) -> SerializedEntry {
        let mut format = FormatOptions::new(self.name()).precision(3);
        if let Some(unit) = self.unit {
            format = format.unit(unit);
        }
        self.state.update((self.read)(slot), slot.score.examples, format)
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for Reading {
    fn value(&self) -> NumericEntry {
        self.state.current_value()
    }

    fn running_value(&self) -> NumericEntry {
        self.state.running_value()
    }
}

/// A line every few seconds and after each evaluation, or nothing at all.
pub struct Lines {
    journal: Arc<Journal>,
    quiet: bool,
    printed: Option<Instant>,
    evaluations: usize,
}

impl Lines {
    /// Lines about `journal`, none if `quiet`.
    pub fn new(journal: Arc<Journal>, quiet: bool) -> Self {
        Self { journal, quiet, printed: None, evaluations: 0 }
    }

    fn print_step(&mut self) {
        let length = self.journal.length();
        let due = self.printed.is_none_or(|printed| printed.elapsed() >= INTERVAL);
        let step = self.journal.step();
        let ends_epoch = step == length.total_steps || step.is_multiple_of(length.steps_per_epoch);
        if self.quiet || !(due || ends_epoch) {
            return;
        }
        let Some(standing) = self.journal.standing() else { return };
        let (record, recent) = (&standing.record, &standing.recent);
        // The step was printed already and only an evaluation has gone on since.
        if recent.examples == 0 {
            return;
        }
        self.printed = Some(Instant::now());
        eprintln!(
            "epoch {}/{}  step {:>w$}/{}  loss {:.4}  accuracy {:5.1} %  learning rate {:.2e}  gradient norm {:.3}  \
             distance {:.4}  {:.1} examples/s  ETA {}",
            record.epoch,
            length.epochs,
            record.step,
            length.total_steps,
            recent.loss(),
            100.0 * recent.accuracy(),
            record.learning_rate,
            record.grad_norm,
            record.distance,
            standing.examples_per_second,
            in_words(standing.remaining),
            w = length.total_steps.to_string().len(),
        );
    }

    fn print_evaluation(&mut self) {
        let evaluations = self.journal.evaluations();
        if let (Some(last), true) = (evaluations.last(), evaluations.len() > self.evaluations) {
            self.evaluations = evaluations.len();
            if !self.quiet {
                eprintln!(
                    "epoch {}/{}  evaluated {} examples: loss {:.4}, accuracy {:.2} %",
                    last.epoch,
                    self.journal.length().epochs,
                    self.journal.length().eval_examples,
                    last.eval_loss,
                    100.0 * last.eval_accuracy,
                );
            }
        }
    }
}

/// `1 h 02 min`, `3 min 05 s`, `12 s`.
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

impl MetricsRendererTraining for Lines {
    fn update_train(&mut self, _state: MetricState) {}

    fn update_valid(&mut self, _state: MetricState) {}

    fn render_train(&mut self, _item: TrainingProgress, _indicators: Vec<ProgressType>) {
        self.print_step();
    }

    fn render_valid(&mut self, _item: TrainingProgress, _indicators: Vec<ProgressType>) {
        self.print_step();
        self.print_evaluation();
    }

    fn on_train_end(
        &mut self,
        _summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

impl MetricsRendererEvaluation for Lines {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _indicators: Vec<ProgressType>) {}
}

impl MetricsRenderer for Lines {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _definition: MetricDefinition) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (seconds, words) in [
            (0.2, "0 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (754.0, "12 min 34 s"),
            (7384.0, "2 h 03 min"),
        ] {
            assert_eq!(in_words(Duration::from_secs_f64(seconds)), words);
        }
    }
}
