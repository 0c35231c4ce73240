//! Files that are either complete or absent: [`files`] with the errors of this program.

use std::path::Path;

pub(crate) use files::{UNFINISHED, parent};

use crate::ProgramError;

/// Write a file completely or not at all.
///
/// # Errors
/// Names the file if it cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ProgramError> {
    files::write(path, bytes).map_err(ProgramError::io("write", path))
}

/// Rename the complete folder `from` to `to`, which must not exist.
///
/// # Errors
/// Names the folder if it cannot be flushed or renamed.
pub(crate) fn publish_folder(from: &Path, to: &Path) -> Result<(), ProgramError> {
    files::publish_folder(from, to).map_err(ProgramError::io("write", to))
}
