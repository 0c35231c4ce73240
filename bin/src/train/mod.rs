//! How a model is trained. `fine_tune` sets a run up and leaves its results; `run` is the loop; `step` is one
//! optimizer step.

#[cfg(feature = "dashboard")]
mod dashboard;
mod groups;
mod lines;
mod loader;
pub(crate) mod log_formats;
pub mod metrics_log;
pub mod progress;
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
use rte::{ConfusionMatrix, EncodedExample, Task, TextDataset};

use crate::ProgramError;
use crate::data;
use crate::device::Found;
use crate::model_card::ModelCard;
use crate::model_folder::ModelFolder;
use crate::predictions::{Predicted, json_lines};
use crate::resume::{
    Checkpoint, Checkpoints, Contents, Output, checkpoint, refuse_differences, state,
};
use crate::settings::{DashboardName, OptimizerName, Settings, differences};
use crate::signals::StopRequest;
use crate::terminal::notice;
use lines::Lines;
use loader::StepLoader;
use metrics_log::MetricsLog;
use progress::{EvaluationRecord, Length, Progress};
pub(crate) use run::Observer;
use run::{Ending, Run};
pub(crate) use step::Step;
use step::{FineTuning, Trainer};

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
        if let Some(checkpoint) = &checkpoint {
            let then = &checkpoint.header.settings;
            refuse_differences(output.folder(), differences(then, &settings.to_table()))?;
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
    let Inputs { folder, task, label_indices, train, validation, validation_texts } = inputs;
    let Host { stop, observer, save_model } = host;
    let (classifier, report) = match settings.reinit_layers {
        Some(count) => classifier
            .reinit_layers(count, &folder.config, settings.seed, report)
            .map_err(|error| ProgramError::Mismatch(format!("--reinit-layers: {error}")))?,
        None => (classifier, report),
    };
    let contents = Contents::of(&classifier, [train, validation]);
    let length = settings.length(train.len(), validation.len());
    let model = FineTuning::new(classifier, settings.precision)
        .with_label_smoothing(settings.label_smoothing);
    let mut trainer = trainer(settings, model, &folder.config, &report, length.total_steps)?;
    let (output, checkpoint) = match destination {
        Destination::New => (Output::create(settings)?, None),
        Destination::Resumed(output, checkpoint) => (output, checkpoint),
    };
    if let Some(checkpoint) = &checkpoint {
        let then = &checkpoint.header.contents;
        refuse_differences(output.folder(), then.differences(&contents))?;
    }

    let baseline = baseline(validation, label_indices);
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
    if checkpoint.is_none() {
        // A run that starts again is not finished, whatever it was before.
        output.remove_summary()?;
    }
    let prefix = checkpoint.as_ref().map(|checkpoint| &checkpoint.header.metrics);
    let metrics = MetricsLog::open(output.metrics(), prefix, &settings.log)?;
    let (mut best, mut predicted) = (None, None);
    if let Some(checkpoint) = checkpoint {
        let Checkpoint { mut tensors, .. } = *checkpoint;
        let mismatch = |problems| {
            ProgramError::Mismatch(format!("{}: {problems}", output.checkpoints().display()))
        };
        best = state::take_best(&trainer.model, &mut tensors).map_err(mismatch)?;
        let shape = [length.eval_examples, task.labels.len()];
        predicted = Predicted::take(&mut tensors, shape).map_err(mismatch)?;
        let (model, record) = state::restore(trainer.model, tensors).map_err(mismatch)?;
        trainer = Trainer {
            model,
            optimizer: trainer.optimizer.try_load_record(record)?,
            schedule: trainer.schedule.load_record::<B>(progress.step),
            ..trainer
        };
    }
    let checkpoints = Checkpoints::new(
        &output,
        settings.checkpoint_every,
        settings.to_table(),
        contents,
        begun_at,
    );
    if observer.is_none() && settings.dashboard != DashboardName::Off {
        introduce(settings, found, &output, folder, &report, &length);
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

    let summary = summarize(&run.progress, task, &baseline, ending, length.total_steps);
    let model = run.best.as_ref().unwrap_or(&run.trainer.model).valid().model;
    let evaluation = run.evaluation_of_saved(ending);
    let examples = [length.train_examples, length.eval_examples];
    let card = ModelCard { settings, task, evaluation, examples };
    let predicted = evaluation.and(run.predicted.as_ref());
    let labels = folder.labels();
    // If the first step after a resume diverges, the last weights whose loss was finite are those that were saved before.
    let has_older_model = matches!(ending, Ending::Diverged(_))
        && run.progress.step == begun_at
        && output.model().is_dir();
    let save = || {
        if save_model && !has_older_model {
            output.save_model(|path| {
                model.save_pretrained(&folder.config, path)?;
                folder.save_tokenizer_and_task(task, path)?;
                card.save(path)
            })?;
            let lines = predicted.map(|it| it.labelled(&labels, validation_texts));
            output.save_predictions(lines.map(json_lines).transpose()?)?;
        }
        output.save_summary(&summary)
    };
    save().map_err(|error: ProgramError| error.unsaved(output.folder()))?;
    match ending {
        Ending::Finished => Ok(Finished { output, summary }),
        Ending::Stopped => Err(ProgramError::Stopped {
            step: run.progress.step,
            // Without a signal, the user stopped it from the dashboard.
            signal: stop.signal().unwrap_or(2),
            folder: output.folder().to_owned(),
            is_best: run.best.is_some(),
        }),
        Ending::Diverged(not_finite) => Err(ProgramError::NotFinite {
            step: run.progress.step + 1,
            not_finite,
            model: output.model(),
            is_best: run.best.is_some(),
        }),
    }
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

/// The confusion matrix of always predicting the most frequent label of the examples, in the task's order of the labels.
fn baseline(examples: &[EncodedExample], label_indices: &[usize]) -> ConfusionMatrix {
    let mut matrix = ConfusionMatrix::new(label_indices.len());
    for label in examples.iter().filter_map(|example| example.label) {
        matrix.add(label, label);
    }
    matrix.reordered(label_indices).majority_baseline()
}

fn summarize(
    progress: &Progress,
    task: &Task,
    baseline: &ConfusionMatrix,
    ending: Ending,
    total_steps: usize,
) -> Summary {
    let evaluations = &progress.evaluations;
    let last = evaluations.last();
    // The first metric of a task is its main one.
    let metric = task.metrics()[0];
    let diverged = matches!(ending, Ending::Diverged(_));
    let finished = ending == Ending::Finished;
    let best = progress.best(metric);
    let highest = |values: fn(&EvaluationRecord) -> Option<f64>| {
        evaluations.iter().filter_map(values).max_by(f64::total_cmp)
    };
    Summary {
        metric,
        majority: Some(metric.value(baseline)),
        eval_accuracy: last.map(|evaluation| evaluation.eval_accuracy),
        best_eval_accuracy: highest(|evaluation| Some(evaluation.eval_accuracy)),
        eval_f1: last.and_then(|evaluation| evaluation.eval_f1),
        eval_matthews_correlation: last.and_then(|it| it.eval_matthews_correlation),
        best_eval_f1: highest(|evaluation| evaluation.eval_f1),
        best_eval_matthews_correlation: highest(|evaluation| evaluation.eval_matthews_correlation),
        best_epoch: best.map(|evaluation| evaluation.epoch),
        best_step: best.map(|evaluation| evaluation.step),
        eval_loss: last.map(|evaluation| evaluation.eval_loss),
        steps: progress.step,
        train_seconds: Some(progress.train_seconds),
        eval_seconds: Some(progress.eval_seconds),
        examples_per_second: Some(progress.examples_per_second()),
        finished,
        stopped_early: finished && progress.step < total_steps,
        diverged_at: diverged.then_some(progress.step + 1),
        failed: match last {
            _ if diverged => Some(true),
            last => last.map(|evaluation| evaluation.metric(metric) <= metric.value(baseline)),
        },
    }
}

/// Print the model, the data and the length of the run.
fn introduce(
    settings: &Settings,
    devices: &[Found],
    output: &Output,
    folder: &ModelFolder,
    report: &LoadReport,
    length: &Length,
) {
    let names: Vec<String> = devices.iter().map(ToString::to_string).collect();
    notice(format_args!(
        "device {}, {}; output {}",
        names.join(", "),
        settings.precision.name(),
        output.folder().display()
    ));
    let initialized = match report.new.len() {
        0 => String::new(),
        _ => format!(" initialized with seed {} ({})", settings.seed, first_few(&report.new)),
    };
    notice(format_args!(
        "model {}: {} new parameters{initialized}, {} unused tensors",
        folder.source.name(),
        report.new.len(),
        report.unused.len(),
    ));
    notice(format_args!(
        "data {}: {} training and {} validation examples; {} epochs, {} steps{}",
        settings.data.display(),
        length.train_examples,
        length.eval_examples,
        length.epochs,
        length.total_steps,
        settings
            .eval_every
            .map(|steps| format!(", evaluated every {steps} steps"))
            .unwrap_or_default(),
    ));
    let schedule = settings.schedule_config(length.total_steps);
    if settings.learning_rate > 0.0 && schedule.total_pull(1.0).sum == 0.0 {
        notice(format_args!(
            "warning: the learning rate of every step is 0, so nothing is learned; the warm-up starts at 0: use more steps, or \
             --warmup-ratio 0"
        ));
    }
    if let (OptimizerName::AdamWL2SP, Ok(decay)) =
        (settings.optimizer, settings.source_decay(length.total_steps))
    {
        let pull = schedule.total_pull(decay);
        notice(format_args!(
            "pull towards the pretrained weights: λ₁ {}, Σηλ₁ {} (weights without a gradient would return {} % of the way)",
            rounded(decay, 4),
            rounded(pull.sum, 2),
            rounded(100.0 * pull.fraction, 2),
        ));
    }
}

/// The first names, and the number of the others.
fn first_few(names: &[String]) -> String {
    const FEW: usize = 6;
    match names.len() {
        count if count > FEW => {
            format!("{} and {} more", names[..FEW].join(", "), count - FEW)
        }
        _ => names.join(", "),
    }
}

/// `value` rounded to this number of significant digits.
pub(crate) fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::{first_few, rounded};

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (1..=8).map(|number| format!("p{number}")).collect();
        assert_eq!(first_few(&names[..6]), "p1, p2, p3, p4, p5, p6");
        assert_eq!(first_few(&names), "p1, p2, p3, p4, p5, p6 and 2 more");
    }

    #[test]
    fn significant_digits_are_kept() {
        for (value, digits, text) in
            [(0.002_345_6, 2, "0.0023"), (213.675_213, 4, "213.7"), (0.5, 4, "0.5"), (0.0, 2, "0")]
        {
            assert_eq!(rounded(value, digits).to_string(), text);
        }
    }
}
