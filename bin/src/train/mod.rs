//! How a model is trained. `fine_tune` sets a run up and leaves its results; `run` is the loop; `step` is one
//! optimizer step.

#[cfg(feature = "dashboard")]
mod dashboard;
mod groups;
mod introduction;
mod lines;
mod loader;
pub(crate) mod log_formats;
pub mod metrics_log;
pub mod progress;
mod results;
mod run;
pub(crate) mod step;

use std::sync::Arc;

use adamw_l2sp::{Anchors, Groups};
use albert::{LoadReport, ModelConfig, SequenceClassifier};
use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataset::InMemDataset;
use burn::module::AutodiffModule;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::backend::AutodiffBackend;
use report::Summary;
use rte::{EncodedExample, Task, TextDataset};

use crate::ProgramError;
use crate::data;
use crate::device::Found;
use crate::model_folder::ModelFolder;
use crate::predictions::Predicted;
use crate::resume::{
    Checkpoint, Checkpoints, Contents, Output, checkpoint, refuse_differences, state,
};
use crate::settings::{DashboardName, OptimizerName, Settings, differences};
use crate::signals::StopRequest;
pub(crate) use introduction::rounded;
use lines::Lines;
use loader::StepLoader;
use metrics_log::MetricsLog;
use progress::Progress;
pub(crate) use run::Observer;
use run::{Ending, Run};
pub(crate) use step::Step;
use step::{FineTuning, Quantity, Trainer};

/// The inputs of a run, apart from the weights. Several runs may share them.
pub(crate) struct Inputs {
    /// The configuration and the tokenizer of the model.
    pub folder: ModelFolder,
    /// The task, with its labels.
    pub task: Task,
    /// The model's index of each of the task's labels; the examples have the model's.
    pub label_indices: Vec<usize>,
    /// The training examples.
    pub train: Arc<Vec<EncodedExample>>,
    /// The validation examples as tokens.
    pub validation: Vec<EncodedExample>,
    /// The validation examples as texts.
    pub validation_texts: TextDataset,
}

impl Inputs {
    /// Read the model's configuration and tokenizer, and both splits.
    ///
    /// # Errors
    /// As [`ModelFolder::open`] and [`data::open_splits`]; examples that the model cannot encode.
    pub(crate) fn read(settings: &Settings) -> Result<Self, ProgramError> {
        let mut folder = ModelFolder::open(&settings.model, settings.max_length)?;
        let (train, validation_texts) = data::open_splits(settings)?;
        let task = train.task().clone();
        let label_indices = folder.prepare_for(&task, settings.new_classifier);
        let train = Arc::new(folder.encode(&train, &label_indices)?);
        let validation = folder.encode(&validation_texts, &label_indices)?;
        Ok(Self { folder, task, label_indices, train, validation, validation_texts })
    }
}

/// A classifier whose new parameters are initialized with the seed of the run, and what its weights file lacked.
pub(crate) type Weights<B> = (SequenceClassifier<B>, LoadReport);

/// Where a run writes to.
pub(crate) enum Destination {
    /// A new folder, which is created once the inputs are known to be usable.
    New,
    /// The folder of a run that was interrupted, and its newest checkpoint if it has any.
    Resumed(Output, Option<Box<Checkpoint>>),
}

impl Destination {
    /// Resume the run in `output` from its newest checkpoint.
    ///
    /// # Errors
    /// A checkpoint of a run with other settings, checkpoints none of which can be used, or a file that is not the run's
    /// where its predictions go.
    pub(crate) fn resume(output: Output, settings: &Settings) -> Result<Self, ProgramError> {
        output.refuse_foreign_predictions()?;
        let checkpoint = checkpoint::newest(&output)?;
        match &checkpoint {
            Some(checkpoint) => {
                let then = &checkpoint.header.settings;
                refuse_differences(output.folder(), differences(then, &settings.to_table()))?;
            }
            // A run that starts again is not finished, whatever it was before.
            None => output.remove_summary()?,
        }
        Ok(Self::Resumed(output, checkpoint.map(Box::new)))
    }

    /// The steps that were taken before.
    pub(crate) fn steps_taken(&self) -> Option<usize> {
        match self {
            Self::Resumed(_, Some(checkpoint)) => Some(checkpoint.header.progress.step),
            _ => None,
        }
    }
}

/// What the caller of a run decides about it.
pub(crate) struct Host<'a> {
    /// The request that stops the run.
    pub stop: &'a StopRequest,
    /// Shows the progress of the run, instead of the dashboard that its settings name.
    pub observer: Option<&'a mut dyn Observer>,
    /// Whether the run saves its model, and what that predicts for the validation examples.
    pub save_model: bool,
}

/// The result of a run that was not interrupted.
pub(crate) struct Finished {
    /// The folder with its results.
    pub output: Output,
    /// The contents of `summary.json`.
    pub summary: Summary,
}

/// Fine-tune on devices, from the weights loaded to the first of them to the saved model.
///
/// # Errors
/// The weights cannot be read, the output folder cannot be written, the checkpoint is of another run, the loss is not
/// finite, or the run was asked to stop. In the last two cases the model is saved first.
pub(crate) fn fine_tune<B: AutodiffBackend>(
    settings: &Settings,
    inputs: &Inputs,
    (classifier, report): Weights<B>,
    destination: Destination,
    (found, devices): (&[Found], &[B::Device]),
    host: Host<'_>,
) -> Result<Finished, ProgramError> {
    let Inputs { folder, task, label_indices, train, validation, .. } = inputs;
    let Host { stop, observer, save_model } = host;
    let (classifier, report) = match settings.reinit_layers {
        Some(count) => classifier
            .reinit_layers(count, &folder.config, settings.seed, report)
            .map_err(|error| ProgramError::Mismatch(format!("--reinit-layers: {error}")))?,
        None => (classifier, report),
    };
    let contents = Contents::of(&classifier, [train, validation]);
    let length = settings.length(train.len(), validation.len());
    let model = FineTuning::new(classifier, settings.precision.on(found))
        .with_label_smoothing(settings.label_smoothing);
    let trainer = trainer(settings, model, &folder.config, &report, length.total_steps)?;
    let (output, checkpoint) = match destination {
        Destination::New => (Output::create(settings)?, None),
        Destination::Resumed(output, checkpoint) => (output, checkpoint),
    };
    if let Some(checkpoint) = &checkpoint {
        let then = &checkpoint.header.contents;
        refuse_differences(output.folder(), then.differences(&contents))?;
    }

    let progress =
        checkpoint.as_ref().map_or_else(Progress::default, |it| it.header.progress.clone());
    let begun_at = progress.step;
    let batcher = |rows| folder.batcher(found[0].name.kind, settings.padding, rows);
    let validation = DataLoaderBuilder::new(batcher(settings.batch_size))
        .batch_size(settings.batch_size.min(validation.len()))
        .set_device(devices[0].clone())
        .build(InMemDataset::new(validation.clone()));
    let train = StepLoader {
        examples: train.clone(),
        batcher: batcher(settings.batch_size.div_ceil(devices.len())),
        batch_size: settings.batch_size,
        batches_per_step: settings.gradient_accumulation,
        seed: settings.data_seed,
        steps_taken: progress.step,
        total_steps: length.total_steps,
        devices: devices.to_vec(),
    };
    let prefix = checkpoint.as_ref().map(|checkpoint| checkpoint.header.metrics.clone());
    let shape = [length.eval_examples, task.labels.len()];
    let Restored { trainer, best, predicted } = match checkpoint {
        Some(checkpoint) => restored(trainer, *checkpoint, shape, &output)?,
        None => Restored { trainer, best: None, predicted: None },
    };
    let metrics = MetricsLog::open(output.metrics(), prefix.as_ref(), &settings.log)?;
    let checkpoints = Checkpoints::new(
        &output,
        settings.checkpoint_every,
        settings.to_table(),
        contents,
        begun_at,
    );
    if observer.is_none() && settings.dashboard != DashboardName::Off {
        introduction::print(settings, found, &output, folder, &report, &length);
    }

    let task_metrics = task.metrics();
    let Settings { keep, patience, log_every, .. } = *settings;
    let mut run = Run {
        trainer,
        length,
        progress,
        label_indices: label_indices.clone(),
        task_metrics,
        metrics,
        log_every,
        checkpoints,
        patience,
        keep,
        best,
        predicted,
    };
    let (run, ending) = match (observer, settings.dashboard.on_this_terminal()?) {
        (Some(observer), _) => {
            run.run(train.steps(), &*validation, observer).map(|ending| (run, ending))
        }
        #[cfg(feature = "dashboard")]
        (None, DashboardName::Tui) => dashboard::run(run, train, validation, stop.clone()),
        (None, dashboard) => {
            let quiet = dashboard == DashboardName::Off;
            let mut lines = Lines::new(length, stop.clone(), quiet);
            run.run(train.steps(), &*validation, &mut lines).map(|ending| (run, ending))
        }
    }
    .map_err(|error| error.unsaved(output.folder()))?;

    // If the first loss is not finite, this process knows no weights whose loss was. Those that an interrupted run saved stay.
    let has_good_weights = !matches!(ending, Ending::Diverged(it) if it.what != Quantity::GradientNorm)
        || run.progress.step > begun_at
        || run.best.is_some();
    let save_model = save_model && has_good_weights;
    let summary = results::save(&run, ending, (settings, inputs), &output, save_model)
        .map_err(|error| error.unsaved(output.folder()))?;
    match results::error(&run, ending, &output, stop) {
        None => Ok(Finished { output, summary }),
        Some(error) => Err(error),
    }
}

/// What a checkpoint holds of a run.
struct Restored<B: AutodiffBackend> {
    trainer: Trainer<B>,
    best: Option<FineTuning<B>>,
    predicted: Option<Predicted>,
}

/// Restore a run from its checkpoint; `shape` is that of its predictions, `[examples, labels]`.
///
/// # Errors
/// A checkpoint that does not fit the run.
fn restored<B: AutodiffBackend>(
    trainer: Trainer<B>,
    Checkpoint { header, mut tensors }: Checkpoint,
    shape: [usize; 2],
    output: &Output,
) -> Result<Restored<B>, ProgramError> {
    let mismatch = |problems| {
        ProgramError::Mismatch(format!("{}: {problems}", output.checkpoints().display()))
    };
    let best = state::take_best(&trainer.model, &mut tensors).map_err(mismatch)?;
    let predicted = Predicted::take(&mut tensors, shape).map_err(mismatch)?;
    let (model, record) = state::restore(trainer.model, tensors).map_err(mismatch)?;
    let trainer = Trainer {
        model,
        optimizer: trainer.optimizer.try_load_record(record)?,
        schedule: trainer.schedule.load_record::<B>(header.progress.step),
        ..trainer
    };
    Ok(Restored { trainer, best, predicted })
}

/// The optimizer for a model. The pretrained parameters of the encoder are source; the classifier, and whatever else the
/// weights file lacked, is novel. For AdamW all parameters are novel, but the distance to the pretrained
/// weights is measured as well.
fn trainer<B: AutodiffBackend>(
    settings: &Settings,
    model: FineTuning<B>,
    config: &ModelConfig,
    report: &LoadReport,
    total_steps: usize,
) -> Result<Trainer<B>, ProgramError> {
    let pretrained = |path: &str| {
        path.strip_prefix(groups::MODEL)
            .is_some_and(|path| path.starts_with("encoder.") && !report.is_new(path))
    };
    let parameters = Anchors::from_module(&model.valid());
    let anchors = parameters.clone().filter(pretrained);
    let groups = match settings.optimizer {
        OptimizerName::AdamWL2SP => Groups::source_names(anchors.names()),
        OptimizerName::AdamW => Groups::new(),
    };
    let groups = groups.biases_and_norms_undecayed();
    let groups = groups::with_learning_rates(groups, settings, config)?;
    let paths: Vec<&str> = parameters.names().collect();
    let groups = groups::with_frozen(groups, &settings.freeze, &paths)?;
    let optimizer = settings.optimizer_config(total_steps)?.init(&model, groups)?;
    let model = optimizer.freeze(model);
    let schedule = settings.schedule_config(total_steps).init()?;
    let Settings { max_grad_norm, seed, .. } = *settings;
    Ok(Trainer { model, optimizer, schedule, max_grad_norm, anchors, seed, last_good: None })
}
