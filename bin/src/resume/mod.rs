//! What survives a crash: the output folder of a run, its [`Checkpoint`]s, and the tensors in them ([`state`]).

pub(crate) mod checkpoint;
mod output;
pub mod state;

use std::path::Path;

pub(crate) use checkpoint::Checkpoints;
pub use checkpoint::{Checkpoint, CheckpointHeader, Contents};
pub(crate) use output::{Output, same_file};

use crate::ProgramError;

/// Refuse to resume a run that differs from the one in `folder`.
///
/// # Errors
/// [`ProgramError::OtherRun`] if there are differences.
pub(crate) fn refuse_differences(
    folder: &Path,
    differences: Vec<String>,
) -> Result<(), ProgramError> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(ProgramError::OtherRun { folder: folder.to_owned(), differences })
}
