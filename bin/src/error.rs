//! Everything that can end the program, with its exit code.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

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
    #[error("{} is not empty; choose another --output, or --overwrite to replace what a run left there", .0.display())]
    OutputInUse(PathBuf),
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
            Self::Usage(_) => 2,
            Self::Stopped { signal, .. } => 128 + signal,
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

    /// What a caught panic said.
    pub fn from_panic(panic: Box<dyn Any + Send>) -> Self {
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "a thread panicked".to_string());
        Self::Internal(message)
    }
}
