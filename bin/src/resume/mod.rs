//! What survives a crash: the [`Output`] folder of a run, its [`checkpoint`]s, and the tensors in them ([`state`]).

pub mod checkpoint;
pub mod file;
mod output;
pub mod state;

use std::path::Path;

pub use checkpoint::{Checkpoint, CheckpointHeader, Checkpoints, Contents};
pub use output::{Output, Summary};

use crate::ProgramError;

/// Refuse to resume a run that differs from the one in `folder`.
///
/// # Errors
/// [`ProgramError::OtherRun`] if there are differences.
pub fn refuse_differences(folder: &Path, differences: Vec<String>) -> Result<(), ProgramError> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(ProgramError::OtherRun { folder: folder.to_owned(), differences })
}
