//! Everything that can end the program before it is done, with its exit code.

use std::io;
use std::path::{Path, PathBuf};

use crate::panics::forget_panics;
use crate::train::step::NotFinite;

/// The panic with which burn-train's dashboard ends the program when its user asks to stop at once.
const KILLED: &str = "Killing training from user input";

/// Why the program ends without having done what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The command line or the `--config` file asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// The model's configuration.
    #[error(transparent)]
    Config(#[from] albert::ConfigError),
    /// The model's weights.
    #[error(transparent)]
    Weights(#[from] albert::WeightsError),
    /// The data or the tokenizer.
    #[error(transparent)]
    Rte(#[from] rte::RteError),
    /// The hub.
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    /// The device.
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    /// The runs of a study.
    #[error(transparent)]
    Runs(#[from] report::ReadError),
    /// The report of a study.
    #[error(transparent)]
    Report(#[from] report::ReportError),
    /// The optimizer.
    #[error(transparent)]
    Optimizer(#[from] adamw_l2sp::OptimizerError),
    /// The model does not match the data, the task or the checkpoint.
    #[error("{0}")]
    Mismatch(String),
    /// A file or folder.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error that the system returned.
        source: io::Error,
    },
    /// The output folder is not empty.
    #[error("{folder} is not empty; choose another --output, or pass --overwrite to replace what an earlier run wrote there; an interrupted fine-tuning run is resumed with l2sp finetune --resume {folder}", folder = .0.display())]
    OutputInUse(PathBuf),
    /// `--overwrite` of a folder that is not the output of a run.
    #[error("{} contains files that no run wrote, so --overwrite will not touch it; choose another --output", .0.display())]
    NotARun(PathBuf),
    /// A file that the run did not write, in the place of one that it would replace or remove.
    #[error("{} would be replaced or removed, but no run wrote it; move it to another folder first", .0.display())]
    ForeignFile(PathBuf),
    /// An input that `--overwrite` would delete.
    #[error("{} is an input, but --overwrite would delete it together with the run in {}; choose another --output", .input.display(), .folder.display())]
    InputInOutput {
        /// The model, data or settings file.
        input: PathBuf,
        /// The output folder.
        folder: PathBuf,
    },
    /// Another run is writing into the folder.
    #[error("another process is writing into {}; wait for it to finish, or use another folder", .0.display())]
    Locked(PathBuf),
    /// No run was ever started in a folder.
    #[error("no run to resume in {}; give --resume the output folder of a run, the one that contains its config.toml", .0.display())]
    NoRun(PathBuf),
    /// A run none of whose checkpoints is usable.
    #[error(
        "{}: none of the checkpoints can be used; start the run again in a new folder with `l2sp finetune --config {}`, or, if it is of a study, move its folder away and \
         run the study again",
        .0.display(), .0.with_file_name("config.toml").display()
    )]
    NoCheckpoint(PathBuf),
    /// A run that cannot be resumed because its settings or inputs have changed.
    #[error("cannot resume {}, whose settings or inputs have changed: {}; resume it with the original ones, or start a new run", .folder.display(), .differences.join("; "))]
    OtherRun {
        /// The run's output folder.
        folder: PathBuf,
        /// As `epochs: 3 then, 5 now`.
        differences: Vec<String>,
    },
    /// A result cannot be written.
    #[error("{source}; once that is fixed, resume with l2sp finetune --resume {}", .folder.display())]
    Unsaved {
        /// What could not be written.
        source: Box<ProgramError>,
        /// The run's output folder.
        folder: PathBuf,
    },
    /// A loss or a gradient norm is not finite.
    #[error(
        "step {}: the {} is {}; the run stopped there, and {}. Try a smaller --learning-rate",
        .not_finite.step, .not_finite.what, .not_finite.value, match .model {
            Some(model) if *.is_best => format!("{} holds the best weights so far", model.display()),
            Some(model) => format!("{} holds the last weights whose loss was finite", model.display()),
            None => "no model was saved".to_owned(),
        }
    )]
    NotFinite {
        /// Which of them, its value and its step.
        not_finite: NotFinite,
        /// The folder with the last weights whose loss was finite, or the best, if there are any.
        model: Option<PathBuf>,
        /// Whether they are the weights of the best evaluation, as with `--keep best`.
        is_best: bool,
    },
    /// A gradient in pretraining that is not finite.
    #[error("step {step}: the gradient is not finite; try a smaller --learning-rate")]
    Diverged {
        /// The optimizer step, counted from 1.
        step: usize,
    },
    /// Pretraining was stopped by a signal.
    #[error("stopped after step {step}; {} holds the weights so far", .model.display())]
    PretrainingStopped {
        /// Optimizer steps taken.
        step: usize,
        /// The number of the signal.
        signal: u8,
        /// The folder with the weights.
        model: PathBuf,
    },
    /// A run was stopped by a signal or from the dashboard.
    #[error(
        "stopped after step {step}; resume with l2sp finetune --resume {}; {} contains the {}weights so far",
        .folder.display(), .folder.join("model").display(), if *.is_best { "best " } else { "" }
    )]
    Stopped {
        /// Optimizer steps taken.
        step: usize,
        /// The number of the signal; that of SIGINT where the dashboard stopped the run.
        signal: u8,
        /// The run's output folder.
        folder: PathBuf,
        /// Whether the saved weights are those of the best evaluation, as with `--keep best`.
        is_best: bool,
    },
    /// A plan that is not the one with which its study was begun.
    #[error("{}: the study was started with another plan: {}; undo the change (only seeds and arms may be added), or set another `output` in the plan", .folder.display(), .changes.join("; "))]
    OtherPlan {
        /// The study's folder.
        folder: PathBuf,
        /// As `arm adamw: epochs: 3 then, 5 now`.
        changes: Vec<String>,
    },
    /// The output folder of a study contains something else.
    #[error("{} contains files, but no study; set another `output` in the plan", .0.display())]
    NotAStudy(PathBuf),
    /// A study was stopped by a signal.
    #[error("stopped with {done} of {planned} runs done; run the same command again to continue")]
    StudyStopped {
        /// Runs that are done.
        done: usize,
        /// All runs of the study.
        planned: usize,
        /// The number of the signal.
        signal: u8,
    },
    /// Runs of a study, or the processes that compute them, ended with an error.
    #[error("the study is incomplete (errors: {errors}); run the same command again to continue")]
    StudyIncomplete {
        /// The number of errors, each of which was reported.
        errors: usize,
    },
    /// The user stopped the run at once from the dashboard.
    #[error(
        "killed from the dashboard; the steps since the last checkpoint are lost; resume with l2sp finetune --resume FOLDER"
    )]
    Killed,
    /// Standard output is a closed pipe, as after `| head`. Not reported as an error.
    #[error("standard output is closed")]
    ClosedPipe,
    /// A bug in this program.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl ProgramError {
    /// The exit code: 2 for wrong usage, 128 + n for signal n, 1 for any other error.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::OtherRun { .. } | Self::OtherPlan { .. } => 2,
            Self::Device(error) if error.is_usage() => 2,
            Self::Stopped { signal, .. }
            | Self::PretrainingStopped { signal, .. }
            | Self::StudyStopped { signal, .. } => 128 + signal,
            Self::Killed => 130,
            _ => 1,
        }
    }

    /// An [`Io`](Self::Io) error, as an adaptor for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }

    /// Tell how to resume the run in `folder` once this error is fixed.
    pub fn unsaved(self, folder: &Path) -> Self {
        Self::Unsaved { source: Box::new(self), folder: folder.to_owned() }
    }

    /// An error that occurred while writing to standard output.
    pub(crate) fn stdout(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Io { action: "write to", path: "standard output".into(), source },
        }
    }

    /// The message of the first panic; later ones are its consequences in other threads.
    pub(crate) fn from_first_panic() -> Self {
        match forget_panics() {
            message if message.contains(KILLED) => Self::Killed,
            message => Self::Internal(message),
        }
    }
}
