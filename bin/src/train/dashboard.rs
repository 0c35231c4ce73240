//! Runs a [`Run`] with burn-train's Learner, which keeps the metrics and draws the dashboard.
//!
//! The Learner's own training loop cannot resume within an epoch, and does not let anyone read the optimizer's state,
//! which a checkpoint needs. So [`Fit`] is a custom training strategy: the Learner calls it, and it runs the same
//! loop as without a dashboard.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use adamw_l2sp::{AdamWL2SPOptimizer, Schedule};
use burn::data::dataloader::{DataLoader, Progress as Items};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::train::logger::InMemoryMetricLogger;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, ItemLazy, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
    LearningComponentsMarker, SupervisedLearningStrategy, SupervisedTraining,
    SupervisedTrainingEventProcessor, TrainLoader, TrainOutput, TrainStep, TrainingComponents,
    TrainingItem, TrainingStrategy, ValidLoader,
};
use crossterm::terminal;
use indicatif::HumanDuration;
use rte::{Metric as TaskMetric, TextBatch};

use super::loader::StepLoader;
use super::progress::{Evaluation, EvaluationRecord, Length, Progress, StepRecord};
use super::run::{Ending, Observer, Run};
use super::step::{FineTuning, Step};
use crate::ProgramError;
use crate::signals::StopRequest;

type Components<B> = LearningComponentsMarker<B, Schedule, FineTuning<B>, AdamWL2SPOptimizer<B>>;

/// Run with the dashboard on the terminal.
pub(super) fn run<B: AutodiffBackend>(
    run: Run<B>,
    train: StepLoader<B>,
    validation: Arc<dyn DataLoader<B::InnerBackend, TextBatch<B::InnerBackend>>>,
    stop: StopRequest,
) -> Result<(Run<B>, Ending), ProgramError> {
    let interrupter = Interrupter::new();
    let renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
    let_ctrl_c_interrupt();
    let trainer = &run.trainer;
    let learner =
        Learner::new(trainer.model.clone(), trainer.optimizer.clone(), trainer.schedule.clone());
    let task_metrics = run.task_metrics;
    let fit = Arc::new(Fit { run: RefCell::new(run), ending: RefCell::new(None), stop });
    let mut training = SupervisedTraining::<Components<B>>::new("", Arc::new(train), validation)
        .metric_train(Now)
        .metric_train_numeric(Reading::new("Loss", |it: &Item| it.step.score.loss()))
        .metric_valid_numeric(Reading::new("Loss", |it: &Evaluation| it.loss()).total())
        .metric_train_numeric(
            Reading::new("Accuracy", |it: &Item| 100.0 * it.step.score.accuracy()).percent(),
        )
        .metric_valid_numeric(
            Reading::new("Accuracy", |it: &Evaluation| 100.0 * it.metric(TaskMetric::Accuracy))
                .percent()
                .total(),
        )
        // Short names: at 80 × 24 there is room for 46 characters.
        .metric_train_numeric(Reading::new("LR", |it: &Item| it.step.learning_rate))
        .metric_train_numeric(Reading::new("Norm", |it: &Item| it.step.grad_norm))
        .metric_train_numeric(Reading::new("Distance", |it: &Item| it.step.distance))
        // metrics.jsonl is the log.
        .with_metric_logger(InMemoryMetricLogger::new())
        .with_application_logger(None)
        .with_interrupter(interrupter)
        .with_training_strategy(TrainingStrategy::Custom(fit.clone()))
        .renderer(renderer);
    if task_metrics.contains(&TaskMetric::F1) {
        let f1 = Reading::new("F1", |it: &Evaluation| 100.0 * it.metric(TaskMetric::F1));
        training = training.metric_valid_numeric(f1.percent().total());
    }
    if task_metrics.contains(&TaskMetric::MatthewsCorrelation) {
        let correlation = |it: &Evaluation| it.metric(TaskMetric::MatthewsCorrelation);
        training = training
            .metric_valid_numeric(Reading::new("Matthews correlation", correlation).total());
    }
    // The terminal is usable again once the renderer is dropped.
    drop(training.launch(learner).renderer);
    let ended = Arc::into_inner(fit).and_then(|fit| Some((fit.run, fit.ending.into_inner()?)));
    let (run, ending) =
        ended.ok_or_else(|| ProgramError::Internal("the Learner did not train".into()))?;
    Ok((run.into_inner(), ending?))
}

struct Fit<B: AutodiffBackend> {
    run: RefCell<Run<B>>,
    ending: RefCell<Option<Result<Ending, ProgramError>>>,
    stop: StopRequest,
}

impl<B: AutodiffBackend> SupervisedLearningStrategy<Components<B>> for Fit<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        learner: Learner<Components<B>>,
        train: TrainLoader<Components<B>>,
        validation: ValidLoader<Components<B>>,
        _starting_epoch: usize,
    ) -> (FineTuning<B>, SupervisedTrainingEventProcessor<Components<B>>) {
        // The Learner's clones of the model and the optimizer would prevent in-place updates.
        drop(learner);
        let mut run = self.run.borrow_mut();
        let mut dashboard = Dashboard::<B> {
            events: components.event_processor,
            interrupter: components.interrupter,
            stop: self.stop.clone(),
            length: run.length,
        };
        let ending = run.run(train.iter(), &*validation, &mut dashboard);
        *self.ending.borrow_mut() = Some(ending);
        (run.trainer.model.clone(), dashboard.events)
    }
}

/// Passes events to the Learner's metrics and renderer.
struct Dashboard<B: AutodiffBackend> {
    events: SupervisedTrainingEventProcessor<Components<B>>,
    interrupter: Interrupter,
    stop: StopRequest,
    length: Length,
}

impl<B: AutodiffBackend> Dashboard<B> {
    fn item<T>(&self, item: T, step: usize, done: usize, total: usize) -> LearnerEvent<T> {
        let epoch = self.length.epoch_of(step);
        LearnerEvent::ProcessedItem(TrainingItem {
            item,
            progress: Items::new(done, total),
            global_progress: Items::new(epoch, self.length.epochs),
            iteration: Some(step),
            lr: None,
        })
    }
}

impl<B: AutodiffBackend> Observer for Dashboard<B> {
    fn step(&mut self, progress: &Progress, _: &StepRecord, step: Step) {
        let done = progress.examples % self.length.train_examples;
        let done = if done == 0 { self.length.train_examples } else { done };
        let item = Item { step, remaining: progress.remaining(&self.length) };
        let event = self.item(item, progress.step, done, self.length.train_examples);
        self.events.process_train(event);
    }

    fn evaluating(&mut self, progress: &Progress, evaluation: &Evaluation) {
        let (done, total) = (evaluation.examples(), self.length.eval_examples);
        self.events.process_valid(self.item(evaluation.clone(), progress.step, done, total));
    }

    fn evaluated(&mut self, record: &EvaluationRecord) {
        self.events.process_train(LearnerEvent::EndEpoch(record.epoch));
        self.events.process_valid(LearnerEvent::EndEpoch(record.epoch));
    }

    fn should_stop(&self) -> bool {
        self.stop.is_requested() || self.interrupter.should_stop()
    }
}

/// Let Ctrl-C send a signal although the dashboard reads the keyboard: raw mode, which it waits for, delivers Ctrl-C as a
/// key that the dashboard ignores.
#[cfg(unix)]
fn let_ctrl_c_interrupt() {
    use std::time::{Duration, Instant};

    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    // The dashboard enters raw mode from another thread.
    let started = Instant::now();
    while !terminal::is_raw_mode_enabled().unwrap_or(false) {
        if started.elapsed() > Duration::from_secs(2) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return };
    if let Ok(mut modes) = tcgetattr(&terminal) {
        modes.local_modes |= LocalModes::ISIG;
        tcsetattr(&terminal, OptionalActions::Now, &modes).ok();
    }
}

/// Elsewhere Ctrl-C is left to the dashboard, whose `q` stops the run.
#[cfg(not(unix))]
fn let_ctrl_c_interrupt() {}

// The Learner demands these traits of its model. The loop that it runs here calls the methods behind them.
impl<B: AutodiffBackend> TrainStep for FineTuning<B> {
    type Input = Vec<TextBatch<B>>;
    type Output = Item;

    /// The learning rate, the gradient norm and the distance of the [`Step`] are known only after the update.
    fn step(&self, batches: Self::Input) -> TrainOutput<Item> {
        let (grads, score) = self.gradients(batches);
        let step = Step { score, ..Step::default() };
        TrainOutput { grads, item: Item { step, remaining: Duration::ZERO } }
    }
}

impl<B: Backend> InferenceStep for FineTuning<B> {
    type Input = TextBatch<B>;
    type Output = Evaluation;

    fn step(&self, batch: TextBatch<B>) -> Evaluation {
        self.evaluate(batch).0
    }
}

/// A step, and how long the rest of the run will take.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    step: Step,
    remaining: Duration,
}

impl ItemLazy for Item {
    type ItemSync = Self;

    fn sync(self) -> Self {
        self
    }
}

impl ItemLazy for Evaluation {
    type ItemSync = Self;

    fn sync(self) -> Self {
        self
    }
}

impl Adaptor<Item> for Item {
    fn adapt(&self) -> Item {
        *self
    }
}

impl Adaptor<Evaluation> for Evaluation {
    fn adapt(&self) -> Evaluation {
        self.clone()
    }
}

/// The time left, the learning rate, the gradient norm and the distance from the source, in few words.
///
/// The dashboard lists metrics from the top, those without a plot first. At 80 × 24 it has room for eight lines of 26
/// characters, of which this takes three. Its own estimate of the time left begins after ten seconds.
#[derive(Clone)]
struct Now;

impl Metric for Now {
    type Input = Item;

    fn name(&self) -> MetricName {
        Arc::new("Now".to_owned())
    }

    fn update(&mut self, item: &Item, _metadata: &MetricMetadata) -> SerializedEntry {
        let Item { step, remaining } = item;
        let text = format!(
            "ETA {:#}, LR {:.1e}, norm {:.2}, distance {:.3}",
            HumanDuration(*remaining),
            step.learning_rate,
            step.grad_norm,
            step.distance,
        );
        SerializedEntry::new(text.clone(), text)
    }

    fn clear(&mut self) {}
}

/// A value of an [`Item`] or of an [`Evaluation`], as a metric of burn-train.
#[derive(Clone)]
struct Reading<T> {
    name: MetricName,
    read: fn(&T) -> f64,
    unit: Option<&'static str>,
    /// Each value already includes all before it, as in an evaluation; otherwise the mean of the values is shown.
    is_total: bool,
    state: NumericMetricState,
}

impl<T> Reading<T> {
    fn new(name: &str, read: fn(&T) -> f64) -> Self {
        let state = NumericMetricState::new();
        Self { name: Arc::new(name.to_owned()), read, unit: None, is_total: false, state }
    }

    fn percent(self) -> Self {
        Self { unit: Some("%"), ..self }
    }

    fn total(self) -> Self {
        Self { is_total: true, ..self }
    }
}

impl<T: Clone + Send + Sync + 'static> Metric for Reading<T> {
    type Input = T;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        let unit = self.unit.map(str::to_owned);
        NumericAttributes { higher_is_better: unit.is_some(), unit }.into()
    }

    fn update(&mut self, item: &T, _metadata: &MetricMetadata) -> SerializedEntry {
        let mut format = FormatOptions::new(self.name()).precision(3);
        if let Some(unit) = self.unit {
            format = format.unit(unit);
        }
        if self.is_total {
            self.state.reset();
        }
        self.state.update((self.read)(item), 1, format)
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl<T: Clone + Send + Sync + 'static> Numeric for Reading<T> {
    fn value(&self) -> NumericEntry {
        self.state.current_value()
    }

    fn running_value(&self) -> NumericEntry {
        self.state.running_value()
    }
}
