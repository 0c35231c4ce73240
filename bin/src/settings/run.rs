//! What the settings mean for a run: its task, length, schedule and optimizer.

use adamw_l2sp::{AdamWL2SPConfig, ScheduleConfig};
use rte::Task;

use super::{DEFAULT_TASK, EMBEDDED, OptimizerName, Settings, is_embedded};
use crate::ProgramError;
use crate::train::progress::Length;

impl Settings {
    /// The task of the data. A task with custom columns may not have its labels yet.
    ///
    /// # Errors
    /// An unknown task, labels given twice.
    pub fn task(&self) -> Result<Task, ProgramError> {
        Ok(match &self.text_column {
            Some(text) => {
                let label = self.label_column.as_deref().unwrap_or("label");
                let text_pair = self.text_pair_column.as_deref();
                Task::from_columns(text, text_pair, label, self.labels.clone())?
            }
            None => match self.task.as_deref() {
                Some(EMBEDDED) if is_embedded(&self.data) => Task::named(DEFAULT_TASK)?,
                Some(EMBEDDED) => {
                    return Err(ProgramError::Usage(format!(
                        "--task {EMBEDDED} is the task of --data {EMBEDDED}, not of {}; name the task of the data",
                        self.data.display()
                    )));
                }
                name => Task::named(name.unwrap_or(DEFAULT_TASK))?,
            },
        })
    }

    /// The length of a run over this number of training and validation examples. The last step of an epoch may have fewer
    /// examples than the others.
    pub fn length(&self, train_examples: usize, eval_examples: usize) -> Length {
        let examples_per_step = self.batch_size.saturating_mul(self.gradient_accumulation);
        let steps_per_epoch = train_examples.div_ceil(examples_per_step);
        let steps = self.epochs.saturating_mul(steps_per_epoch);
        let total_steps = self.max_steps.map_or(steps, |max| max.min(steps));
        Length {
            epochs: total_steps.div_ceil(steps_per_epoch),
            steps_per_epoch,
            total_steps,
            steps_per_evaluation: self.eval_every.unwrap_or(steps_per_epoch),
            train_examples,
            eval_examples,
        }
    }

    /// The learning-rate schedule of a run with this number of optimizer steps.
    pub fn schedule_config(&self, total_steps: usize) -> ScheduleConfig {
        let warmup = ScheduleConfig::warmup_steps_for(self.warmup_ratio, total_steps);
        ScheduleConfig::new(self.learning_rate, warmup, total_steps).with_kind(self.schedule)
    }

    /// λ₁ of a run with this number of optimizer steps: `--source-decay`, or `--total-pull` divided by Ση.
    ///
    /// # Errors
    /// `--total-pull` where the learning rate of every step is zero, or in so few steps that one of them would pull the
    /// weights beyond their start.
    pub fn source_decay(&self, total_steps: usize) -> Result<f64, ProgramError> {
        let Some(total_pull) = self.total_pull else { return Ok(self.source_decay) };
        let learning_rates = self.schedule_config(total_steps).total_pull(1.0).sum;
        if learning_rates == 0.0 {
            return Err(ProgramError::Usage(
                "--total-pull has no effect, because the learning rate of every step is 0".into(),
            ));
        }
        let most = self.most_total_pull(total_steps);
        if total_pull > most {
            return Err(ProgramError::Usage(format!(
                "--total-pull {total_pull} is too strong for {total_steps} steps: at the highest learning rate, a step would \
                 pull the weights beyond their pretrained values; use at most {most}"
            )));
        }
        Ok(total_pull / learning_rates)
    }

    /// The strongest total pull of a run with this number of optimizer steps, rounded down to one decimal: with a stronger
    /// one, ηλ₁ would exceed 1 at the highest learning rate. NaN where every learning rate is zero.
    pub(crate) fn most_total_pull(&self, total_steps: usize) -> f64 {
        let schedule = self.schedule_config(total_steps);
        let learning_rates = (0..total_steps).map(|step| schedule.learning_rate_at(step));
        let highest = learning_rates.clone().fold(0.0, f64::max);
        // The pooler is of the head and pretrained.
        let head = self.head_learning_rate.map_or(1.0, |head| (head / self.learning_rate).max(1.0));
        let most = learning_rates.sum::<f64>() / (highest * head);
        // Without the rounding errors of the sum.
        (10.0 * most + 1e-6).floor() / 10.0
    }

    /// The hyper-parameters of the optimizer for a run with this number of steps. AdamW is AdamWL2SP with all parameters
    /// novel.
    ///
    /// # Errors
    /// As [`source_decay`](Self::source_decay).
    pub fn optimizer_config(&self, total_steps: usize) -> Result<AdamWL2SPConfig, ProgramError> {
        let config = AdamWL2SPConfig::new()
            .with_beta_1(self.beta_1)
            .with_beta_2(self.beta_2)
            .with_epsilon(self.epsilon)
            .with_amsgrad(self.amsgrad)
            .with_bias_correction(self.bias_correction);
        Ok(match self.optimizer {
            OptimizerName::AdamWL2SP => {
                let source_decay = self.source_decay(total_steps)?;
                config.with_source_decay(source_decay).with_novel_decay(self.novel_decay)
            }
            OptimizerName::AdamW => config.with_novel_decay(self.weight_decay),
        })
    }
}
