//! Reading files of unknown origin (regular files only, of bounded size) and writing files that are either complete or
//! absent, whatever happens meanwhile.
//!
//! A FIFO in place of a file blocks its reader forever, and `/dev/zero` fills the memory. Every reader of the workspace
//! therefore opens its files here. The errors are [`io::Error`]s that say what the path is and what would be right.
//!
//! ```
//! use files::FileKind;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("config.json");
//! std::fs::write(&path, "{}")?;
//! assert_eq!(files::read_to_string(&path, FileKind::Config)?, "{}");
//!
//! let error = files::read(folder.path(), FileKind::Config).unwrap_err();
//! assert_eq!(error.to_string(), "it is a folder, not a file");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::Path,
};

/// What a file is for, which bounds its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A configuration or another small text: at most 16 MiB.
    Config,
    /// A tokenizer: at most 256 MiB. The largest vocabularies in use take 40 MiB.
    Tokenizer,
    /// A file of a data set, which is held in memory: at most 4 GiB.
    Data,
    /// Model weights or a checkpoint: at most 64 GiB.
    Weights,
}

impl FileKind {
    /// The largest size, in bytes.
    pub fn limit(self) -> u64 {
        match self {
            Self::Config => 16 << 20,
            Self::Tokenizer => 256 << 20,
            Self::Data => 4 << 30,
            Self::Weights => 64 << 30,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Config => "configuration file",
            Self::Tokenizer => "tokenizer",
            Self::Data => "data file",
            Self::Weights => "weights file",
        }
    }
}

/// Opens a regular file no larger than its kind allows; never blocks on a FIFO.
///
/// # Errors
///
/// A path that is not a regular file, a file that is too large, and what the system gives.
pub fn open(path: &Path, kind: FileKind) -> io::Result<File> {
    // Opening a FIFO blocks until somebody writes to it, so the path is looked at first; the opened file is checked
    // again in case the path was replaced in between.
    check(&fs::metadata(path)?, kind)?;
    let file = File::open(path)?;
    check(&file.metadata()?, kind)?;
    Ok(file)
}

/// Reads a whole file that [`open`] accepts.
///
/// # Errors
///
/// As [`open`], and a file that grows beyond the limit while it is read.
pub fn read(path: &Path, kind: FileKind) -> io::Result<Vec<u8>> {
    read_stream(open(path, kind)?, kind)
}

/// [`read`] as UTF-8.
///
/// # Errors
///
/// As [`read`], and bytes that are not UTF-8.
pub fn read_to_string(path: &Path, kind: FileKind) -> io::Result<String> {
    String::from_utf8(read(path, kind)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-8"))
}

/// Reads a stream, such as standard input, up to the limit of its kind.
///
/// # Errors
///
/// A stream that is longer, and what reading gives.
pub fn read_stream(input: impl Read, kind: FileKind) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(kind.limit() + 1).read_to_end(&mut bytes)?;
    check_size(bytes.len() as u64, kind)?;
    Ok(bytes)
}

/// The prefix of the names that files have until they are complete.
pub const UNFINISHED: &str = ".write-";

/// Writes a file completely or not at all: under a temporary name in the same folder, flushed to the disk, then renamed.
///
/// # Errors
///
/// A folder, a pipe or a device of this name, and what the system gives. The temporary file is removed then, and its name
/// is not in the message.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |temporary| fs::write(temporary, bytes))
}

/// [`write()`] for content that `write` puts into the file at the path that it is given.
///
/// # Errors
///
/// As [`write()`], and those of `write`.
pub fn write_with(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if let Ok(existing) = fs::metadata(path)
        && !existing.is_file()
    {
        let kind = if existing.is_dir() {
            io::ErrorKind::IsADirectory
        } else {
            io::ErrorKind::InvalidInput
        };
        return Err(io::Error::new(kind, "it exists and is not a regular file"));
    }
    let folder = parent(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // A temporary file is private; a result is as readable as any other file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let temporary = builder.tempfile_in(folder).map_err(without_path)?.into_temp_path();
    write(&temporary).map_err(without_path)?;
    flush(&temporary)?;
    temporary.persist(path).map_err(|error| without_path(error.error))?;
    sync_folder(folder);
    Ok(())
}

/// Flushes the files in a folder and their names to the disk, but not folders in it.
///
/// # Errors
///
/// What the system gives.
pub fn flush_folder(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            flush(&entry.path())?;
        }
    }
    sync_folder(folder);
    Ok(())
}

/// The folder that a file is in.
pub fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Flushes a file to the disk, for which Windows asks for a handle that may write.
fn flush(file: &Path) -> io::Result<()> {
    File::options().read(true).write(cfg!(windows)).open(file)?.sync_all()
}

/// Flushes the names in a folder. Not every system can do that, so a failure is no error.
fn sync_folder(folder: &Path) {
    File::open(folder).and_then(|folder| folder.sync_all()).ok();
}

/// The error without the temporary path that tempfile appends to its message.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((message, _)) => io::Error::new(error.kind(), message.to_owned()),
        None => error,
    }
}

fn check(metadata: &Metadata, kind: FileKind) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, not a file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a pipe or a device, and only regular files are read; save the content to a file first",
        ));
    }
    check_size(metadata.len(), kind)
}

fn check_size(bytes: u64, kind: FileKind) -> io::Result<()> {
    if bytes <= kind.limit() {
        return Ok(());
    }
    let message = format!("a {} may be at most {} MiB long", kind.name(), kind.limit() >> 20);
    Err(io::Error::new(io::ErrorKind::FileTooLarge, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let file = File::create(&path).unwrap();
        file.set_len(FileKind::Config.limit()).unwrap();
        assert_eq!(read(&path, FileKind::Config).unwrap().len(), 16 << 20);
        file.set_len(FileKind::Config.limit() + 1).unwrap();
        assert_eq!(
            read(&path, FileKind::Config).unwrap_err().to_string(),
            "a configuration file may be at most 16 MiB long"
        );
        assert_eq!(read(&path, FileKind::Tokenizer).unwrap().len(), (16 << 20) + 1);
    }

    #[test]
    fn a_stream_without_an_end_is_cut_off() {
        let error = read_stream(io::repeat(0), FileKind::Config).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_not_utf8_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, b"\xff").unwrap();
        let error = read_to_string(&path, FileKind::Config).unwrap_err();
        assert_eq!(error.to_string(), "it is not valid UTF-8");
    }

    #[test]
    fn a_failed_write_leaves_nothing_and_names_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("occupied");
        fs::create_dir(&occupied).unwrap();
        for path in [folder.path().join("missing/file"), occupied] {
            let error = write(&path, b"text").unwrap_err();
            assert!(!error.to_string().contains(UNFINISHED), "{error}");
        }
        let failed = write_with(&folder.path().join("file"), |temporary| {
            fs::write(temporary, "half")?;
            Err(io::Error::other("interrupted"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "interrupted");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished");
    }

    #[test]
    fn a_written_file_replaces_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for text in ["one", "two"] {
            write(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("train.tsv");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for path in [fifo.as_path(), Path::new("/dev/zero")] {
            let error = open(path, FileKind::Data).unwrap_err();
            assert!(error.to_string().contains("only regular files are read"), "{error}");
        }
        for path in [fifo.as_path(), Path::new("/dev/null")] {
            let error = write(path, b"text").unwrap_err();
            assert_eq!(error.to_string(), "it exists and is not a regular file");
        }
        let absent = open(&folder.path().join("absent"), FileKind::Data).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }
}
