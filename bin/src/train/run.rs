//! The training loop: step, log, checkpoint; evaluate now and then; stop when asked to or out of patience.

use std::time::Instant;

use burn::data::dataloader::DataLoader;
use burn::module::AutodiffModule;
use burn::optim::Optimizer;
use burn::tensor::backend::AutodiffBackend;
use rte::{Metric, TextBatch};

use super::metrics_log::MetricsLog;
use super::progress::{Evaluation, EvaluationRecord, Length, Progress, StepRecord};
use super::step::{FineTuning, NotFinite, Quantity, Step, Trainer};
use crate::ProgramError;
use crate::predictions::Predicted;
use crate::resume::{Checkpoint, CheckpointHeader, Checkpoints, state};
use crate::settings::Keep;

/// A run in progress: the trainer, the progress of the run and its records.
pub(super) struct Run<B: AutodiffBackend> {
    /// The model, its optimizer and the step they take together.
    pub trainer: Trainer<B>,
    /// The length of the run.
    pub length: Length,
    /// The steps and evaluations so far.
    pub progress: Progress,
    /// The model's index of each of the task's labels.
    pub label_indices: Vec<usize>,
    /// The metrics of the task; the first decides which evaluation is best.
    pub task_metrics: &'static [Metric],
    /// `metrics.jsonl`.
    pub metrics: MetricsLog,
    /// The optimizer steps from one of those in `metrics.jsonl` to the next.
    pub log_every: usize,
    /// The checkpoints that the run can be resumed from.
    pub checkpoints: Checkpoints,
    /// The number of evaluations without an improvement after which the run ends.
    pub patience: Option<usize>,
    /// Which weights are saved at the end.
    pub keep: Keep,
    /// The model of the best evaluation so far, for [`Keep::Best`]. Checkpoints hold it, so a resumed run has it as well.
    pub best: Option<FineTuning<B>>,
    /// The predictions of the last evaluation; for [`Keep::Best`], of the best one. Checkpoints hold them if the weights that
    /// they are of are in them.
    pub predicted: Option<Predicted>,
}

/// Why a run ended, if not with an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ending {
    /// After its last step and evaluation, or out of patience.
    Finished,
    /// Because it was asked to stop.
    Stopped,
    /// At a step whose loss or gradient norm was not finite, or at an evaluation whose loss was not.
    Diverged(NotFinite),
}

/// Shows the progress of a run to its user.
pub(crate) trait Observer {
    /// A step was taken.
    fn step(&mut self, progress: &Progress, record: &StepRecord, step: Step);

    /// A batch was evaluated; `evaluation` is the result so far.
    fn evaluating(&mut self, progress: &Progress, evaluation: &Evaluation);

    /// An evaluation is complete.
    fn evaluated(&mut self, record: &EvaluationRecord);

    /// Whether the user has asked for the run to stop.
    fn should_stop(&self) -> bool;
}

impl<B: AutodiffBackend> Run<B> {
    /// Train until the last step is taken and evaluated, or the metric has not improved for too long. `train` yields the batches of each optimizer step.
    ///
    /// # Errors
    /// `metrics.jsonl` or a checkpoint that cannot be written.
    pub(super) fn run(
        &mut self,
        mut train: impl Iterator<Item = Vec<TextBatch<B>>>,
        validation: &dyn DataLoader<B::InnerBackend, TextBatch<B::InnerBackend>>,
        observer: &mut dyn Observer,
    ) -> Result<Ending, ProgramError> {
        loop {
            let evaluation_due = self.evaluation_due();
            if !evaluation_due && self.is_out_of_patience() {
                return Ok(Ending::Finished);
            }
            if observer.should_stop()
                && (evaluation_due || self.progress.step < self.length.total_steps)
            {
                if self.checkpoints.newest < self.progress.step {
                    self.save_checkpoint()?;
                }
                return Ok(Ending::Stopped);
            }
            if evaluation_due {
                if let Err(not_finite) = self.evaluate(validation, observer)? {
                    return Ok(Ending::Diverged(not_finite));
                }
                continue;
            }
            let start = Instant::now();
            let Some(batches) = train.next() else { return Ok(Ending::Finished) };
            if let Err(not_finite) = self.step(batches, start, observer)? {
                return Ok(Ending::Diverged(not_finite));
            }
            let step = self.progress.step;
            if self.length.ends_epoch(step) || self.checkpoints.is_due(step) {
                self.save_checkpoint()?;
            }
        }
    }

    /// Take a step, and log it if it is its turn.
    fn step(
        &mut self,
        batches: Vec<TextBatch<B>>,
        start: Instant,
        observer: &mut dyn Observer,
    ) -> Result<Result<(), NotFinite>, ProgramError> {
        let step = match self.trainer.step(batches, self.progress.step) {
            Ok(step) => step,
            Err(not_finite) => return Ok(Err(not_finite)),
        };
        self.progress.step += 1;
        self.progress.examples += step.score.examples;
        self.progress.train_seconds += start.elapsed().as_secs_f64();
        let record = StepRecord {
            step: self.progress.step,
            epoch: self.length.epoch_of(self.progress.step),
            loss: step.score.loss(),
            learning_rate: step.learning_rate,
            grad_norm: step.grad_norm,
            distance: step.distance,
        };
        if record.step.is_multiple_of(self.log_every) || record.step == self.length.total_steps {
            self.metrics.write(&record)?;
        }
        observer.step(&self.progress, &record, step);
        Ok(Ok(()))
    }

    /// The step of the last evaluation; 0 before the first.
    fn evaluated(&self) -> usize {
        self.progress.evaluations.last().map_or(0, |evaluation| evaluation.step)
    }

    /// Whether the evaluation after the last step is still to come. A run that is resumed may begin with one.
    fn evaluation_due(&self) -> bool {
        let step = self.progress.step;
        self.length.is_evaluated(step) && self.evaluated() < step
    }

    /// Whether the main metric of the task has not improved for too many evaluations.
    fn is_out_of_patience(&self) -> bool {
        let without_improvement = self.progress.evaluations_since_best(self.task_metrics[0]);
        self.patience.is_some_and(|patience| without_improvement >= patience)
    }

    /// Evaluate on the validation examples. If the run is asked to stop meanwhile, there is no record. If the loss is not
    /// finite, the evaluation is logged but does not count, and the last update is undone.
    fn evaluate(
        &mut self,
        validation: &dyn DataLoader<B::InnerBackend, TextBatch<B::InnerBackend>>,
        observer: &mut dyn Observer,
    ) -> Result<Result<(), NotFinite>, ProgramError> {
        let start = Instant::now();
        let model = self.trainer.model.valid();
        let mut evaluation = Evaluation::new(self.label_indices.len());
        let mut predicted = Predicted::default();
        for batch in validation.iter() {
            let (mut of_batch, predicted_of_batch) = model.evaluate(batch);
            // Metrics such as F1 depend on the task's order of the labels, which may not be the model's.
            of_batch.confusion = of_batch.confusion.reordered(&self.label_indices);
            evaluation += &of_batch;
            predicted.extend(predicted_of_batch);
            observer.evaluating(&self.progress, &evaluation);
            if observer.should_stop() && evaluation.examples() < self.length.eval_examples {
                return Ok(Ok(()));
            }
        }
        let step = self.progress.step;
        let epoch = self.length.epoch_of(step);
        let record = EvaluationRecord::new(step, epoch, &evaluation, self.task_metrics);
        self.progress.eval_seconds += start.elapsed().as_secs_f64();
        self.metrics.write(&record)?;
        observer.evaluated(&record);
        if !record.eval_loss.is_finite() {
            self.trainer.restore_last_good();
            let (what, value) = (Quantity::ValidationLoss, record.eval_loss);
            return Ok(Err(NotFinite { step, what, value }));
        }
        self.progress.evaluations.push(record);
        let best = self.progress.best(self.task_metrics[0]);
        match self.keep {
            Keep::Best if best.is_some_and(|best| best.step == step) => {
                self.best = Some(self.trainer.model.clone());
                self.predicted = Some(predicted);
            }
            Keep::Best => {}
            Keep::Last => self.predicted = Some(predicted),
        }
        Ok(Ok(()))
    }

    /// The evaluation of the weights that are saved as the model; `None` if they were not evaluated. If there is one,
    /// [`predicted`](Self::predicted) has its predictions.
    pub(super) fn evaluation_of_saved(&self, ending: Ending) -> Option<&EvaluationRecord> {
        match ending {
            _ if self.best.is_some() => self.progress.best(self.task_metrics[0]),
            // The weights of an earlier step.
            Ending::Diverged(_) => None,
            _ => self.progress.evaluations.last().filter(|it| it.step == self.progress.step),
        }
    }

    fn save_checkpoint(&mut self) -> Result<(), ProgramError> {
        let header = CheckpointHeader {
            progress: self.progress.clone(),
            metrics: self.metrics.prefix()?,
            contents: self.checkpoints.contents.clone(),
            settings: self.checkpoints.settings.clone(),
        };
        let Trainer { model, optimizer, .. } = &self.trainer;
        let record = Optimizer::<FineTuning<B>, B>::to_record(optimizer);
        let mut tensors = state::collect(model, record);
        tensors.extend(self.best.iter().flat_map(state::collect_best));
        if self.best.is_some() || self.evaluated() == self.progress.step {
            tensors.extend(self.predicted.iter().flat_map(Predicted::to_tensors));
        }
        self.checkpoints.save(&Checkpoint { header, tensors })
    }
}
