//! Why a report cannot be written.

use std::{io, path::PathBuf};

/// A study that cannot be reported, or a report that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Runs of different main metrics cannot be compared.
    #[error(
        "the runs have different main metrics: {first} in arm {first_arm}, {second} in arm {second_arm}; study tasks \
         with different metrics in separate plans"
    )]
    MixedMetrics {
        /// The metric of the first ended run.
        first: &'static str,
        /// The arm of that run.
        first_arm: String,
        /// Another metric.
        second: &'static str,
        /// The arm of a run with it.
        second_arm: String,
    },
    /// A file of the report cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A figure, table or number cannot be put into its format: a bug of this crate.
    #[error("cannot format the report: {0}")]
    Format(String),
}
