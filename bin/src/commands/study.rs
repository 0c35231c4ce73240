//! Studies: many seeds and settings, and what they show.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::HumanDuration;

use report::Summary;

use crate::ProgramError;
use crate::device::DeviceName;
use crate::resume::Output;
use crate::settings::{Settings, at_least_one};
use crate::study::{KeepModels, Options, Plan, RunState, Shard, Study, run, starter_plan, worker};

#[derive(Debug, Subcommand)]
pub(super) enum StudyCommand {
    /// Write a plan for the task of a run: AdamW and AdamWL2SP with two strengths of the pull, at three learning rates.
    ///
    /// Fine-tune once, write the plan from that run, edit it as you like, and run it.
    Init(InitArgs),
    /// Run a plan, or continue it: runs that are done are not repeated.
    ///
    /// A plan is a TOML file: `seeds`, a number or a list; the settings that all runs share in `[base]`; the settings of each
    /// arm in `[arms.NAME]`; and lists of values in `[grid]`: each arm runs with every combination of them. `output` is the
    /// folder of the study, by default studies/ and the name of the plan. Each run has an ordinary output folder in it,
    /// runs/ARM/SEED; when all runs are done, the report is written. Without a plan: ten seeds of AdamW and of AdamWL2SP on
    /// the bundled model, in a few minutes.
    Run(RunArgs),
    /// Show how many runs are done, have failed and are left.
    Status(FolderArgs),
    /// Write report.html, report.md, report.json, runs.csv and figures/ into the folder of a study, finished or not.
    ///
    /// Per arm: mean, spread and failed runs with their interval. Between arms: paired differences with intervals and exact
    /// tests, and what the data do not show.
    Report(FolderArgs),
    #[command(hide = true)]
    Work(WorkArgs),
}

#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// The output folder of the run, or a --config file
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "plan.toml")]
    output: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// The plan, or the folder of a study to continue [default: the bundled plan]
    #[arg(value_name = "PLAN")]
    plan: Option<PathBuf>,

    /// Compute this number of runs at the same time, with the cores divided among them
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = at_least_one, conflicts_with = "devices")]
    jobs: usize,

    /// Compute one run at a time on each of these devices, such as cuda:0,cuda:1
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    devices: Vec<DeviceName>,

    /// Compute only the Ith of N shares of the runs, for several processes or machines that share the folder
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: Shard,

    /// The models to keep, each with its predictions.jsonl
    #[arg(long, value_name = "WHICH", default_value = "none")]
    keep_models: KeepModels,
}

#[derive(Args, Debug)]
pub(super) struct FolderArgs {
    /// The plan, or the folder of its study [default: the bundled study]
    #[arg(value_name = "PLAN")]
    study: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct WorkArgs {
    folder: PathBuf,
    #[arg(long)]
    device: Option<DeviceName>,
    #[arg(long)]
    keep_models: KeepModels,
}

/// Do what the command says.
///
/// # Errors
/// A plan that cannot be used, runs that could not be computed, results that cannot be written.
pub(super) fn study(command: &StudyCommand) -> Result<(), ProgramError> {
    match command {
        StudyCommand::Init(args) => init(args),
        StudyCommand::Run(args) => start(args),
        StudyCommand::Status(args) => status(args.study.as_deref()),
        StudyCommand::Report(args) => {
            write_report(&Study::started(Plan::read(args.study.as_deref())?)?)
        }
        StudyCommand::Work(args) => worker::work(&args.folder, args.device, args.keep_models),
    }
}

fn init(args: &InitArgs) -> Result<(), ProgramError> {
    let InitArgs { run, output } = args;
    let config = if run.is_dir() { Output::config_of(run) } else { run.clone() };
    // A run that was stopped has taken fewer steps than it would have.
    let summary = Summary::read(run).ok().flatten();
    let whole = summary.filter(|summary| summary.finished && !summary.stopped_early);
    let steps = whole.map(|summary| summary.steps);
    let (plan, runs) = starter_plan(&Settings::from_file(&config)?, steps)?;
    if output.exists() {
        let problem = format!("{} exists; choose another --output", output.display());
        return Err(ProgramError::Usage(problem));
    }
    files::write(output, plan.as_bytes()).map_err(ProgramError::io("write", output))?;
    let path = output.display();
    writeln!(
        std::io::stdout(),
        "{runs} runs planned in {path}; start them with: l2sp study run {path}"
    )
    .map_err(ProgramError::stdout)
}

fn start(args: &RunArgs) -> Result<(), ProgramError> {
    let RunArgs { jobs, devices, shard, keep_models, .. } = args;
    let study = Study::open(Plan::read(args.plan.as_deref())?)?;
    let options =
        Options { jobs: *jobs, devices: devices.clone(), shard: *shard, keep: *keep_models };
    run(&study, &options)?;
    // Otherwise the last of the shards does it.
    if study.is_complete() { write_report(&study) } else { Ok(()) }
}

fn write_report(study: &Study) -> Result<(), ProgramError> {
    let page = study.write_report()?;
    writeln!(std::io::stdout(), "report in {}", page.display()).map_err(ProgramError::stdout)
}

fn status(study: Option<&Path>) -> Result<(), ProgramError> {
    let study = Study { plan: Plan::read(study)? };
    let mut out = std::io::stdout().lock();
    let mut print = |line: String| writeln!(out, "{line}").map_err(ProgramError::stdout);
    let width = study.plan.arms.iter().map(|arm| arm.name.len()).max().unwrap_or_default().max(5);
    print(format!("{:width$}  done  failed  begun  left", "arm"))?;
    let (mut seconds, mut done, mut left) = (0.0, 0, 0);
    for arm in &study.plan.arms {
        let states: Vec<RunState> =
            study.plan.seeds.iter().map(|seed| study.state(arm, *seed)).collect();
        let summaries = states.iter().filter_map(|state| match state {
            RunState::Done(summary) => Some(summary),
            _ => None,
        });
        let done_here = summaries.clone().count();
        let failed = summaries.clone().filter(|summary| summary.has_failed()).count();
        let begun = states.iter().filter(|state| **state == RunState::Begun).count();
        let left_here = states.len() - done_here;
        seconds +=
            summaries.filter_map(|it| Some(it.train_seconds? + it.eval_seconds?)).sum::<f64>();
        done += done_here;
        left += left_here;
        print(format!("{:width$}  {done_here:4}  {failed:6}  {begun:5}  {left_here:4}", arm.name))?;
    }
    let time = match (done, left) {
        (_, 0) => "complete".to_owned(),
        (0, _) => format!("{left} runs left"),
        _ => {
            let seconds = seconds / done as f64 * left as f64;
            let left_time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            format!("{left} runs left: {} with one run at a time", HumanDuration(left_time))
        }
    };
    print(format!("{}: {done} of {} runs done; {time}", study.plan.output.display(), done + left))
}
