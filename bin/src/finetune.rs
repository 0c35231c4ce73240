//! A whole run: model and data in, burn-train's Learner over them, an output folder out.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use adamw_l2sp::{Anchors, Groups};
use albert::LoadReport;
use burn::module::AutodiffModule;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::backend::AutodiffBackend;
use burn::train::logger::InMemoryMetricLogger;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{Interrupter, Learner, SupervisedTraining};
use rte::{EncodedExample, LABELS, RteBatcher, Split};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::ProgramError;
use crate::backend::{self, Work};
use crate::checkpoint::{self, Checkpoint, Contents, Keeper};
use crate::dashboard::{self, Lines, Reading};
use crate::devices;
use crate::fine_tuning::FineTuning;
use crate::journal::{Journal, Length, Stop};
use crate::loader::{Loader, epochs_before};
use crate::optimizer::RecordedOptimizer;
use crate::output::{Output, Summary, folder_of};
use crate::recipe::{DashboardName, FinetuneArgs, OptimizerName, Recipe, differences};
use crate::source::find_data;
use crate::task::ModelFolder;
use crate::training_state;

/// Fine-tune as `recipe` says.
///
/// # Errors
/// An unusable device, unusable input, an output folder that cannot be used, a loss that is no number, a signal.
pub fn finetune(recipe: &Recipe) -> Result<(), ProgramError> {
    Output::check(&recipe.output, recipe.overwrite)?;
    start(recipe.clone(), None)
}

/// Go on with the run in `folder`. `flags` may change what changes no numbers, and the device.
///
/// # Errors
/// As [`finetune`]; a folder without a run, flags or contents that are not the run's, no checkpoint that can be read.
pub fn resume(folder: &Path, flags: &FinetuneArgs) -> Result<(), ProgramError> {
    let output = Output::resume(folder)?;
    let config = folder.join("config.toml");
    let then = Recipe::resolve(&FinetuneArgs::default(), Some(&config))?;
    let recipe = Recipe { output: folder.into(), ..Recipe::resolve(flags, Some(&config))? };
    refuse_differences(folder, differences(&then.to_table(), &recipe.to_table()))?;
    if output.is_finished() {
        return writeln!(
            std::io::stdout(),
            "nothing left to do: the run in {} is finished; model in {}",
            folder.display(),
            output.model().display(),
        )
        .map_err(ProgramError::stdout);
    }
    let checkpoint = checkpoint::newest(&output)?;
    if let Some(checkpoint) = &checkpoint {
        let settings = &checkpoint.progress.settings;
        refuse_differences(folder, differences(settings, &recipe.to_table()))?;
    }
    match &checkpoint {
        Some(checkpoint) => eprintln!("going on after step {}", checkpoint.progress.step),
        None => eprintln!("no checkpoint yet: starting again at the first step"),
    }
    if recipe.device != then.device {
        eprintln!(
            "on another device than before: from here on the numbers differ in their last digits"
        );
    }
    start(recipe, Some((output, checkpoint)))
}

/// A run: a new one, or one that goes on in its folder from its last checkpoint, if it has one.
struct Run {
    recipe: Recipe,
    earlier: Option<(Output, Option<Checkpoint>)>,
}

/// Choose the device, and run on it.
fn start(
    mut recipe: Recipe,
    earlier: Option<(Output, Option<Checkpoint>)>,
) -> Result<(), ProgramError> {
    let device = match recipe.dashboard {
        DashboardName::Off => backend::choose(recipe.device, recipe.precision)?,
        _ => devices::choose(recipe.device, recipe.precision)?,
    };
    recipe.device = Some(device.name);
    backend::run(device.name, Run { recipe, earlier })?
}

impl Work for Run {
    type Output = Result<(), ProgramError>;

    fn on<B: AutodiffBackend>(self, device: B::Device) -> Self::Output {
        run::<B>(&self.recipe, self.earlier, device)
    }
}

fn refuse_differences(folder: &Path, differences: Vec<String>) -> Result<(), ProgramError> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(ProgramError::OtherRun { folder: folder.to_path_buf(), differences })
}

fn run<B: AutodiffBackend>(
    recipe: &Recipe,
    earlier: Option<(Output, Option<Checkpoint>)>,
    device: B::Device,
) -> Result<(), ProgramError> {
    let dashboard = dashboard::choose(recipe.dashboard)?;

    // Model and data.
    let mut folder = ModelFolder::open(&recipe.model, recipe.max_length)?;
    folder.config = folder.config.with_labels(&LABELS);
    let data = find_data(&recipe.data)?;
    let mut train = folder.labelled(&data, Split::Train)?;
    train.truncate(recipe.max_examples.unwrap_or(usize::MAX));
    let validation = folder.labelled(validation_data(&data), Split::Validation)?;
    let (model, report) = folder.source.load::<B>(&folder.config, recipe.seed, &device)?;
    let contents = Contents::of(&model, [&train, &validation]);

    // The run.
    let (output, checkpoint) = match earlier {
        Some(earlier) => earlier,
        None => (Output::create(&recipe.output, recipe.overwrite, &recipe.to_toml())?, None),
    };
    if let Some(checkpoint) = &checkpoint {
        let then = &checkpoint.progress.contents;
        refuse_differences(output.folder(), then.differences(&contents))?;
    }
    let length = Length {
        epochs: recipe.total_steps(train.len()).div_ceil(recipe.steps_per_epoch(train.len())),
        steps_per_epoch: recipe.steps_per_epoch(train.len()),
        total_steps: recipe.total_steps(train.len()),
        eval_examples: validation.len(),
    };
    let done = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.progress.step);
    let majority = majority_share(&validation);
    let schedule = recipe.schedule_config(train.len()).init()?.load_record::<B>(done);
    let (train_count, validation_count) = (train.len(), validation.len());
    let batcher = RteBatcher { padding: recipe.padding, ..folder.batcher() };
    let train = Loader::<B>::in_order(train, batcher.clone(), recipe.batch_size, device.clone())
        .shuffled(recipe.data_seed, recipe.gradient_accumulation, length.total_steps, done);
    let validation =
        Loader::<B::InnerBackend>::in_order(validation, batcher, recipe.batch_size, device.clone());

    let interrupter = Interrupter::new();
    let signal = watch_signals()?;
    let mut journal = Journal::new(output.metrics()?, length, interrupter.clone(), signal.clone());
    journal
        .resume(checkpoint.as_ref().map(|checkpoint| &checkpoint.progress))
        .map_err(ProgramError::io("write", &output.metrics_path()))?;
    let journal = Arc::new(journal);
    let mut model = FineTuning::new(model, journal.clone(), recipe.seed, recipe.precision);
    let keeper = Keeper::new(&output, recipe.checkpoint_every, recipe.to_table(), contents);
    let mut optimizer = optimizer(recipe, &model, &report, journal.clone(), keeper)?;
    if let Some(Checkpoint { tensors, .. }) = checkpoint {
        let restored = training_state::restore(model, tensors);
        let (restored, record) = restored.map_err(|problems| {
            ProgramError::Mismatch(format!("{}: {problems}", output.checkpoints().display()))
        })?;
        (model, optimizer) = (restored, optimizer.resume(record)?);
    }
    if dashboard != DashboardName::Off {
        introduce(recipe, &folder, &report, train_count, validation_count, length);
    }

    let training = SupervisedTraining::new(&recipe.output, Arc::new(train), Arc::new(validation))
        .metric_train_numeric(Reading::loss())
        .metric_valid_numeric(Reading::loss())
        .metric_train_numeric(Reading::accuracy())
        .metric_valid_numeric(Reading::accuracy())
        .metric_train_numeric(Reading::learning_rate())
        .metric_train_numeric(Reading::grad_norm())
        .metric_train_numeric(Reading::distance())
        // Our own journal is the log.
        .with_metric_logger(InMemoryMetricLogger::new())
        .with_application_logger(None)
        .with_interrupter(interrupter.clone())
        .num_epochs(length.epochs)
        // Burn's word for the epochs that are over.
        .checkpoint(epochs_before(done, length.steps_per_epoch));
    let training = match dashboard {
        DashboardName::Tui => training.renderer(TuiMetricsRendererWrapper::new(interrupter, None)),
        _ => training.renderer(Lines::new(journal.clone(), dashboard == DashboardName::Off)),
    };
    let result = training.launch(Learner::new(model, optimizer, schedule));
    let model = result.model.model;
    // Gives the terminal back before anything is printed.
    drop(result.renderer);

    // What it leaves.
    let unsaved = |source| ProgramError::Unsaved {
        source: Box::new(source),
        folder: output.folder().to_path_buf(),
    };
    let stop = journal.take_stop();
    if let Some(Stop::Write(error)) = stop {
        return Err(unsaved(ProgramError::io("write", &output.metrics_path())(error)));
    }
    if let Some(Stop::Checkpoint(error)) = stop {
        return Err(unsaved(error));
    }
    let signal = signal.load(Ordering::Relaxed) as u8;
    let evaluated = journal.evaluations().last().map(|evaluation| evaluation.step);
    let finished = evaluated == Some(length.total_steps);
    let save = || {
        output.save_model(|path| {
            model.save_pretrained(&folder.config, path)?;
            folder.copy_tokenizer(path)
        })?;
        let summary = summarise(&journal, majority, finished);
        output.summary(&summary)?;
        Ok(summary)
    };
    let summary = save().map_err(unsaved)?;
    if let Some(Stop::NotFinite { step, what, value }) = stop {
        return Err(ProgramError::NotFinite { step, what, value, model: output.model() });
    }
    if !finished {
        // Where no signal did, the dashboard stopped the run.
        let signal = if signal == 0 { SIGINT as u8 } else { signal };
        let folder = output.folder().to_path_buf();
        return Err(ProgramError::Paused { step: journal.step(), signal, folder });
    }
    conclude(&summary, &output, validation_count)
}

/// Where the validation split is looked for: in the folder, or beside the file with the training
/// split.
fn validation_data(data: &Path) -> &Path {
    if data.is_file() { folder_of(data) } else { data }
}

/// The recipe's optimizer. Everything pretrained under `encoder` is source; the classifier, and
/// whatever else the weights file lacked, is novel. For AdamW all is novel, but the distance is
/// measured all the same.
fn optimizer<B: AutodiffBackend>(
    recipe: &Recipe,
    model: &FineTuning<B>,
    report: &LoadReport,
    journal: Arc<Journal>,
    keeper: Keeper,
) -> Result<RecordedOptimizer<FineTuning<B>, B>, ProgramError> {
    let pretrained = |path: &str| {
        path.strip_prefix("model.")
            .is_some_and(|path| path.starts_with("encoder.") && !report.is_new(path))
    };
    let anchors = Anchors::from_module(&model.valid()).filter(pretrained);
    let groups = match recipe.optimizer {
        OptimizerName::AdamWL2SP => Groups::source_names(anchors.names()),
        OptimizerName::AdamW => Groups::new(),
    };
    let optimizer = recipe.optimizer_config().init(model, groups.biases_and_norms_undecayed())?;
    Ok(RecordedOptimizer::new(optimizer, anchors, recipe.max_grad_norm, journal, keeper))
}

/// The accuracy of always guessing the most frequent label.
fn majority_share(examples: &[EncodedExample]) -> f64 {
    let counts = (0..LABELS.len())
        .map(|label| examples.iter().filter(|example| example.label == Some(label)).count());
    counts.max().unwrap_or(0) as f64 / examples.len() as f64
}

fn summarise(journal: &Journal, majority: f64, finished: bool) -> Summary {
    let evaluations = journal.evaluations();
    let last = evaluations.last();
    let (examples, time) = journal.training();
    let seconds = time.as_secs_f64();
    Summary {
        eval_accuracy: last.map(|evaluation| evaluation.eval_accuracy),
        best_eval_accuracy: evaluations
            .iter()
            .map(|evaluation| evaluation.eval_accuracy)
            .max_by(f64::total_cmp),
        eval_loss: last.map(|evaluation| evaluation.eval_loss),
        steps: journal.step(),
        train_seconds: seconds,
        examples_per_second: if examples > 0 { examples as f64 / seconds } else { 0.0 },
        finished,
        failed: last.map(|evaluation| evaluation.eval_accuracy <= majority),
    }
}

/// Ctrl-C and a termination signal end the run after the step under way; a second one ends it at
/// once. The cell holds the signal's number.
pub(crate) fn watch_signals() -> Result<Arc<AtomicUsize>, ProgramError> {
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM] {
        let seen = Arc::new(AtomicBool::new(false));
        let register = || {
            // In this order: the first signal finds `seen` still unset.
            signal_hook::flag::register_conditional_shutdown(number, 128 + number, seen.clone())?;
            signal_hook::flag::register(number, seen.clone())?;
            signal_hook::flag::register_usize(number, signal.clone(), number as usize)
        };
        register().map_err(ProgramError::io("watch", "signals".as_ref()))?;
    }
    Ok(signal)
}

/// What is about to happen, in a few lines.
fn introduce(
    recipe: &Recipe,
    folder: &ModelFolder,
    report: &LoadReport,
    train: usize,
    validation: usize,
    length: Length,
) {
    eprintln!(
        "model {}: {} new parameters drawn from seed {} ({}), {} unused tensors",
        folder.source.name(),
        report.new.len(),
        recipe.seed,
        report.new.join(", "),
        report.unused.len(),
    );
    eprintln!(
        "data {}: {train} training and {validation} validation examples; {} epochs, {} steps",
        recipe.data.display(),
        length.epochs,
        length.total_steps,
    );
}

fn conclude(summary: &Summary, output: &Output, examples: usize) -> Result<(), ProgramError> {
    let percent = |share: Option<f64>| format!("{:.2} %", 100.0 * share.unwrap_or(f64::NAN));
    let failed = match summary.failed {
        Some(true) => "; not above the majority class: this run failed to learn",
        _ => "",
    };
    writeln!(
        std::io::stdout(),
        "accuracy {} of {examples} examples (best {}), loss {:.4}{failed}; model in {}",
        percent(summary.eval_accuracy),
        percent(summary.best_eval_accuracy),
        summary.eval_loss.unwrap_or(f64::NAN),
        output.model().display(),
    )
    .map_err(ProgramError::stdout)
}
