//! `metrics.jsonl`: one JSON object per line, for each optimizer step and each evaluation.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::log_formats::FormattedLog;
use crate::ProgramError;
use crate::settings::LogFormat;

/// The beginning of `metrics.jsonl`, as a checkpoint describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// `metrics.jsonl`, open for writing, and the same in other formats.
#[derive(Debug)]
pub(crate) struct MetricsLog {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    bytes: u64,
    others: Vec<FormattedLog>,
}

impl MetricsLog {
    /// Open the log and keep the `prefix` that a checkpoint describes; without one the log becomes empty. The files of the
    /// other `formats`, next to it, are written anew from the prefix.
    ///
    /// # Errors
    /// A file that cannot be created, read, truncated or written.
    pub(crate) fn open(
        path: PathBuf,
        prefix: Option<&Prefix>,
        formats: &[LogFormat],
    ) -> Result<Self, ProgramError> {
        let bytes = prefix.map_or(0, |prefix| prefix.bytes);
        let open = || {
            let mut options = File::options();
            let mut file =
                options.read(true).write(true).create(true).truncate(false).open(&path)?;
            file.set_len(bytes)?;
            file.seek(SeekFrom::Start(0))?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok((file, text))
        };
        let (file, text) = open().map_err(ProgramError::io("open", &path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut others = Vec::new();
        for format in formats {
            let mut log = FormattedLog::create(*format, folder)?;
            text.lines().try_for_each(|line| log.write(line))?;
            others.push(log);
        }
        Ok(Self { file, path, hasher: Sha256::new_with_prefix(text), bytes, others })
    }

    /// Append a record as one line, in a single write, so that a reader never sees half of it.
    ///
    /// # Errors
    /// The file cannot be written, for example because the disk is full.
    pub(crate) fn write(&mut self, record: &impl Serialize) -> Result<(), ProgramError> {
        let written = serde_json::to_string(record).map_err(io::Error::other).and_then(|line| {
            let line = format!("{line}\n");
            self.file.write_all(line.as_bytes())?;
            self.hasher.update(&line);
            self.bytes += line.len() as u64;
            Ok(line)
        });
        let line = written.map_err(ProgramError::io("write", &self.path))?;
        self.others.iter_mut().try_for_each(|log| log.write(&line))
    }

    /// Flush the log to the disk, and describe everything written so far.
    ///
    /// # Errors
    /// The file cannot be flushed.
    pub(crate) fn prefix(&self) -> Result<Prefix, ProgramError> {
        self.file.sync_data().map_err(ProgramError::io("write", &self.path))?;
        let sha256 = format!("{:x}", self.hasher.clone().finalize());
        Ok(Prefix { bytes: self.bytes, sha256 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lines(path: &std::path::Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).expect("read");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn a_reopened_log_continues_after_its_prefix() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(path.clone(), None, &[]).expect("opened");
        log.write(&json!({"step": 1})).expect("written");
        let prefix = log.prefix().expect("synced");
        let bytes = std::fs::read(&path).expect("read");
        assert_eq!(prefix.bytes, bytes.len() as u64);
        assert_eq!(prefix.sha256, format!("{:x}", Sha256::digest(&bytes)));
        log.write(&json!({"step": 2})).expect("written");

        let mut log = MetricsLog::open(path.clone(), Some(&prefix), &[]).expect("opened");
        assert_eq!(log.prefix().expect("synced"), prefix);
        log.write(&json!({"step": 3})).expect("written");
        assert_eq!(lines(&path), [json!({"step": 1}), json!({"step": 3})]);

        MetricsLog::open(path.clone(), None, &[]).expect("opened");
        assert_eq!(lines(&path), [] as [Value; 0]);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let Ok(file) = File::options().write(true).open("/dev/full") else { return };
        let path = "/dev/full".into();
        let mut log =
            MetricsLog { file, path, hasher: Sha256::new(), bytes: 0, others: Vec::new() };
        let error = log.write(&json!({"step": 1})).expect_err("a full disk").to_string();
        assert!(error.contains("/dev/full"), "{error}");
    }
}
