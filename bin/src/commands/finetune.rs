//! Fine-tuning: from the settings to the inputs, and from there to [`train`].

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::backend::AutodiffBackend;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

use crate::ProgramError;
use crate::device::{self, Found, PrecisionName, WorkOnAll};
use crate::resume::{Output, refuse_differences};
use crate::settings::{Keep, Settings, differences};
use crate::signals::StopRequest;
use crate::terminal::notice;
use crate::train::{self, Destination, Finished, Host, Inputs};

/// The end of `finetune --help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  The bundled model on the bundled task:
      l2sp finetune
  A model and a task from the hub:
      l2sp finetune --model google-bert/bert-base-uncased --task mrpc --data nyu-mll/glue
  The recipe for albert-large-v2 on RTE, with AdamW for comparison:
      l2sp finetune --recipe rte-large --optimizer adamw
  Your own texts, with a tenth of them set aside for validation:
      l2sp finetune --data reviews.csv --text-column text --label-column verdict --validation-share 0.1
  Resume the latest run after an interruption:
      l2sp finetune --resume";

/// The flags of `finetune`.
#[derive(Args, Debug, Default)]
pub(super) struct FinetuneArgs {
    #[command(flatten)]
    settings: Settings,

    /// Read settings from a TOML file, whose keys are the names of the flags without the leading dashes (bias-correction = false
    /// for --no-bias-correction); flags override it
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,

    /// Resume the interrupted run in this output folder, with the settings in its config.toml; the result is that of an
    /// uninterrupted run. Without a folder, resume the latest run in runs/
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["config", "output", "overwrite"], help_heading = "Run")]
    resume: Option<Option<PathBuf>>,
}

/// Fine-tune, or resume fine-tuning. `flags` tells which settings were given on the command line.
///
/// # Errors
/// Invalid settings, an unusable device, unusable inputs, and those of [`train::fine_tune`].
pub(super) fn finetune(args: &FinetuneArgs, flags: &ArgMatches) -> Result<(), ProgramError> {
    let given = given(flags);
    match &args.resume {
        Some(None) => resume(&Output::latest()?, &args.settings, &given),
        Some(Some(folder)) => resume(folder, &args.settings, &given),
        None => {
            let settings = Settings::resolve(&args.settings, &given, args.config.as_deref())?;
            let inputs = [
                Some(settings.model.as_path()),
                Some(&settings.data),
                settings.validation_data.as_deref(),
                args.config.as_deref(),
            ];
            let inputs: Vec<&Path> = inputs.into_iter().flatten().collect();
            Output::check(&settings, &inputs)?;
            start(settings, Destination::New)
        }
    }
}

/// The names of the settings given on the command line.
fn given(flags: &ArgMatches) -> BTreeSet<String> {
    let on_command_line = |id: &&str| flags.value_source(id) == Some(ValueSource::CommandLine);
    let ids = flags.ids().map(clap::Id::as_str).filter(|id| flags.try_contains_id(id).is_ok());
    ids.filter(on_command_line).map(|id| id.replace('_', "-")).collect()
}

/// Resume the run in `folder`. The flags may change the device and settings that do not affect the results.
fn resume(folder: &Path, flags: &Settings, given: &BTreeSet<String>) -> Result<(), ProgramError> {
    let output = Output::resume(folder)?;
    let config = output.config();
    let then = Settings::from_file(&config)?;
    let mut settings = Settings::resolve(flags, given, Some(&config))?;
    if settings.precision == PrecisionName::Auto {
        settings.precision = then.precision;
    }
    refuse_differences(folder, differences(&then.to_table(), &settings.to_table()))?;
    if output.is_finished() {
        return writeln!(
            std::io::stdout(),
            "nothing left to do: the run in {} is finished; model in {}",
            folder.display(),
            output.model().display(),
        )
        .map_err(ProgramError::stdout);
    }
    let destination = Destination::resume(output, &settings)?;
    match destination.steps_taken() {
        Some(steps) => notice(format_args!("resuming {} after step {steps}", folder.display())),
        None => notice(format_args!(
            "resuming {}: no checkpoint yet, starting again at the first step",
            folder.display()
        )),
    }
    if settings.device.is_some() && settings.device != then.device {
        notice(format_args!("resuming on other devices: results will differ in their last digits"));
    }
    start(settings, destination)
}

/// Choose the device, read the inputs, train.
fn start(mut settings: Settings, destination: Destination) -> Result<(), ProgramError> {
    settings.dashboard.on_this_terminal()?;
    let found = device::choose_all(settings.device.as_ref(), settings.precision.required())?;
    settings.precision = settings.precision.on(&found).into();
    let devices = settings.device.get_or_insert_with(|| found[0].name.into()).clone();
    let inputs = Inputs::read(&settings)?;
    let stop = StopRequest::listen(Some(
        "stopping after the current step; press Ctrl-C again to end at once",
    ))?;
    let examples = inputs.validation.len();
    let work =
        FineTune { settings: &settings, found: &found, inputs: &inputs, destination, stop: &stop };
    let Finished { output, summary } = device::run_on_all(&devices, work)??;

    if let Some((count, seconds)) = device::compilations() {
        notice(format_args!("compiled {count} graphs in {seconds:.0} s"));
    }
    let show = |value: Option<f64>| summary.metric.show(value.unwrap_or(f64::NAN));
    let failed = match summary.failed {
        Some(true) => format!(
            "; its {} is not above that of always predicting the majority class: this run failed to learn",
            summary.metric.title()
        ),
        _ => String::new(),
    };
    let early = match summary.stopped_early {
        true => format!("; stopped early, after step {}", summary.steps),
        false => String::new(),
    };
    let saved = match (settings.keep, summary.best_step) {
        (Keep::Best, Some(step)) => format!("best model (step {step})"),
        _ => "last model".into(),
    };
    writeln!(
        std::io::stdout(),
        "{} on {examples} examples (best {}), loss {:.4}{failed}{early}; {saved} in {}",
        show(summary.main_metric()),
        show(summary.best_main_metric()),
        summary.eval_loss.unwrap_or(f64::NAN),
        output.model().display(),
    )
    .map_err(ProgramError::stdout)
}

struct FineTune<'a> {
    settings: &'a Settings,
    found: &'a [Found],
    inputs: &'a Inputs,
    destination: Destination,
    stop: &'a StopRequest,
}

impl WorkOnAll for FineTune<'_> {
    type Output = Result<Finished, ProgramError>;

    fn on_all<B: AutodiffBackend>(self, devices: Vec<B::Device>) -> Self::Output {
        let Self { settings, found, inputs, destination, stop } = self;
        let weights = inputs.folder.load::<B>(settings.seed, &devices[0])?;
        let host = Host { stop, observer: None, save_model: true };
        train::fine_tune::<B>(settings, inputs, weights, destination, (found, &devices), host)
    }
}
