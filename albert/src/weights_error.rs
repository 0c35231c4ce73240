//! Why weights cannot be loaded or saved.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::names::WEIGHTS_FILE;

/// Why weights cannot be loaded or saved.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The folder holds neither `model.safetensors` nor shards.
    #[error("{} holds no {WEIGHTS_FILE}: {hint}", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// What was found instead, and what to do.
        hint: &'static str,
    },
    /// The file is not a safetensors file, or not a whole one.
    #[error("{} is not a complete safetensors file ({reason}); download or save it again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The index of sharded weights cannot be followed.
    #[error("{} is not a usable index of shards: {reason}", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file's tensors are not those of the configured model.
    #[error(
        "{} does not fit the configured model{}{}{}",
        path.display(),
        list("missing", missing),
        list("shape mismatch", shape_mismatch),
        list("not floating point", not_float),
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Tensors of the encoder that the file lacks.
        missing: Vec<String>,
        /// Tensors of another shape.
        shape_mismatch: Vec<ShapeMismatch>,
        /// Tensors of integers or booleans.
        not_float: Vec<String>,
    },
    /// A file that cannot be read, or is too large.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Tensors of the file hold values that are NaN or infinite.
    #[error(
        "{} holds NaN or infinite values{}; it is damaged, or of a run that diverged: use another checkpoint",
        path.display(),
        list("in", tensors)
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensors' Hugging Face names.
        tensors: Vec<String>,
    },
    /// The file stores two different tensors where the model has a single one.
    #[error("{}: {copy} differs from {name}, but the model ties the two into one", path.display())]
    Untied {
        /// The file.
        path: PathBuf,
        /// The tensor the model has.
        name: &'static str,
        /// Its second copy.
        copy: &'static str,
    },
    /// The folder cannot be written to.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// How many items a message lists.
pub(crate) const LISTED: usize = 3;

/// A line with the first few of the items and the number of the others; nothing where there are none.
fn list<T: ToString>(title: &str, items: &[T]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let first: Vec<_> = items.iter().take(LISTED).map(ToString::to_string).collect();
    let more = match items.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("\n  {title}: {}{more}", first.join(", "))
}

/// A tensor that has another shape in the file than in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeMismatch {
    /// Its Hugging Face name.
    pub name: String,
    /// Its shape in the file.
    pub found: Vec<usize>,
    /// The shape the model needs, laid out as in the file.
    pub expected: Vec<usize>,
}

impl fmt::Display for ShapeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {:?} in the file and {:?} in the model",
            self.name, self.found, self.expected
        )
    }
}
