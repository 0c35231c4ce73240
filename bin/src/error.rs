//! Everything that can end the program, with its exit code.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

static FIRST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// How burn-train's dashboard ends the program when its user chooses to stop at once.
const KILLED: &str = "Killing training from user input";

/// Keep the first panic's message instead of printing a backtrace.
pub(crate) fn note_first_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(|place| format!(" ({place})")).unwrap_or_default();
        first_panic(|first| first.get_or_insert_with(|| format!("{message}{place}")).clone());
    }));
}

/// What the first panic so far said; the next one will be the first again.
pub(crate) fn forget_panics() -> String {
    first_panic(|first| first.take().unwrap_or_else(|| "a thread panicked".into()))
}

fn first_panic<T>(read: impl FnOnce(&mut Option<String>) -> T) -> T {
    read(&mut FIRST_PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Why the program ends without having done what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The command line or the `--config` file asks for something that makes no sense.
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
    /// Downloads.
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    /// The device.
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    /// The optimizer.
    #[error(transparent)]
    Optimizer(#[from] adamw_l2sp::OptimizerError),
    /// The model and what it is used with do not fit together.
    #[error("{0}")]
    Mismatch(String),
    /// A file or folder.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as `write`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output folder holds something already.
    #[error("{} is not empty; choose another --output, --overwrite to replace what a run left there, or finetune --resume to go on with it", .0.display())]
    OutputInUse(PathBuf),
    /// Another run writes into the folder at this moment.
    #[error("another run is writing into {}; wait for its end, or choose another --output", .0.display())]
    Locked(PathBuf),
    /// No run was ever started in a folder.
    #[error("{} holds no config.toml, so there is no run to go on with; --resume wants the --output of a run", .0.display())]
    NoRun(PathBuf),
    /// Checkpoints, but no usable one.
    #[error(
        "{}: no checkpoint there can be used; start the run again with --config and --overwrite", .0.display()
    )]
    NoCheckpoint(PathBuf),
    /// A run that is to go on was another one.
    #[error("{}: the run was started with other settings, and can only go on with the same: {}", .folder.display(), .differences.join("; "))]
    OtherRun {
        /// The run's output folder.
        folder: PathBuf,
        /// As `epochs: 3 then, 5 now`.
        differences: Vec<String>,
    },
    /// The run cannot write what it must.
    #[error("{source}; when that is mended, go on with finetune --resume {}", .folder.display())]
    Unsaved {
        /// What could not be written.
        source: Box<ProgramError>,
        /// The run's output folder.
        folder: PathBuf,
    },
    /// The loss or the gradient is no number any more.
    #[error(
        "step {step}: the {what} is {value}; the run stopped there, and {} holds the last weights whose loss was \
         finite. Try a smaller --learning-rate",
        .model.display()
    )]
    NotFinite {
        /// The optimizer step, from 1.
        step: usize,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
        /// The folder with the last good weights.
        model: PathBuf,
    },
    /// Pretraining came upon a gradient that is no number.
    #[error(
        "step {step}: the gradient is not finite, and nothing was written; try a smaller --learning-rate"
    )]
    Diverged {
        /// The optimizer step, from 1.
        step: usize,
    },
    /// Ctrl-C, a termination signal, or the dashboard's stop.
    #[error("stopped after step {step}; {} holds the weights so far", .model.display())]
    Stopped {
        /// Steps done.
        step: usize,
        /// The signal's number; that of SIGINT where the dashboard stopped the run.
        signal: u8,
        /// The folder with the weights.
        model: PathBuf,
    },
    /// The same, of a run that can go on.
    #[error(
        "stopped after step {step}; go on with finetune --resume {}; {} holds the weights so far",
        .folder.display(), .folder.join("model").display()
    )]
    Paused {
        /// Steps done.
        step: usize,
        /// As of [`Stopped`](Self::Stopped).
        signal: u8,
        /// The run's output folder.
        folder: PathBuf,
    },
    /// The dashboard's stop at once.
    #[error("stopped at once from the dashboard; nothing was saved")]
    Killed,
    /// Whoever read our output has gone; that is their right.
    #[error("the output's reader has gone")]
    ClosedPipe,
    /// A defect of this program.
    #[error("internal error: {0}; please report it")]
    Internal(String),
}

impl ProgramError {
    /// 2 for wrong usage, 128 + n for signal n, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::OtherRun { .. } => 2,
            Self::Device(error) if error.is_usage() => 2,
            Self::Stopped { signal, .. } | Self::Paused { signal, .. } => 128 + signal,
            Self::Killed => 130,
            _ => 1,
        }
    }

    /// An [`Io`](Self::Io) error, as an adaptor for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }

    /// Errors of standard output.
    pub fn stdout(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Io { action: "write to", path: "standard output".into(), source },
        }
    }

    /// What the first panic of the program says; later ones are only its echoes in other threads.
    pub fn from_first_panic() -> Self {
        match forget_panics() {
            message if message.contains(KILLED) => Self::Killed,
            message => Self::Internal(message),
        }
    }
}
