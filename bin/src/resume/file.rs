//! Files that are either complete or absent, whatever happens while they are written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::ProgramError;

/// The prefix of the names that files have until they are complete.
pub const UNFINISHED: &str = ".write-";

/// Write a file completely or not at all: under a temporary name, flushed to the disk, then renamed.
///
/// # Errors
/// Names the file if it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), ProgramError> {
    let folder = parent(path);
    let write = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED);
        // A temporary file is private; a result is as readable as any other file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_folder(folder);
        Ok(())
    };
    // The temporary name would only confuse.
    let name_only = |error: io::Error| io::Error::new(error.kind(), os_message(&error));
    write().map_err(name_only).map_err(ProgramError::io("write", path))
}

/// The operating system's message, without the path that a library may have added.
fn os_message(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|inner| inner.source()).map(ToString::to_string);
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => cause.unwrap_or_else(|| error.kind().to_string()),
    }
}

/// Give the complete folder `from`, with all its files on the disk, the name `to`, which must be free.
///
/// # Errors
/// Names the file or folder that cannot be flushed or renamed.
pub fn publish_folder(from: &Path, to: &Path) -> Result<(), ProgramError> {
    for entry in fs::read_dir(from).map_err(ProgramError::io("read", from))?.flatten() {
        let path = entry.path();
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(ProgramError::io("write", &path))?;
    }
    sync_folder(from);
    fs::rename(from, to).map_err(ProgramError::io("write", to))?;
    sync_folder(parent(to));
    Ok(())
}

/// Flush the names in a folder. Not every system can be asked for that, so it may fail silently.
fn sync_folder(folder: &Path) {
    File::open(folder).and_then(|folder| folder.sync_all()).ok();
}

/// The folder that a file is in.
pub fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing/file.txt");
        let error = write(&missing, b"text").expect_err("no such folder").to_string();
        assert!(error.contains("missing/file.txt"), "{error}");
        assert!(!error.contains(UNFINISHED), "{error}");

        // A folder cannot be replaced by a file.
        let occupied = folder.path().join("occupied");
        fs::create_dir(&occupied).expect("created");
        let error = write(&occupied, b"text").expect_err("a folder is there").to_string();
        assert!(error.contains("occupied") && !error.contains(UNFINISHED), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1, "nothing unfinished");
    }
}
