//! The folder a run leaves behind.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ProgramError;

/// What `summary.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Of the last evaluation: the share of validation examples predicted rightly. `None` if the
    /// run stopped before one.
    pub eval_accuracy: Option<f64>,
    /// The best of all evaluations.
    pub best_eval_accuracy: Option<f64>,
    /// Of the last evaluation: the mean loss.
    pub eval_loss: Option<f64>,
    /// Optimizer steps taken.
    pub steps: usize,
    /// The time of the training steps, evaluations aside.
    pub train_seconds: f64,
    /// Training examples in that time.
    pub examples_per_second: f64,
    /// Whether the run took all its steps and evaluations.
    pub finished: bool,
    /// Whether the final accuracy is not above that of always guessing the majority class.
    pub failed: Option<bool>,
}

/// The output folder: `config.toml`, `metrics.jsonl`, `summary.json`, `model/` and `checkpoints/`; locked as long as
/// this lives.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
    _lock: File,
}

/// What a run writes; all that `--overwrite` removes.
const FILES: [&str; 3] = ["config.toml", "metrics.jsonl", "summary.json"];
const MODEL: &str = "model";
const CHECKPOINTS: &str = "checkpoints";

/// Is locked by the run that writes into its folder, and left behind: a lock that is removed may be another run's.
const LOCK: &str = ".lock";

/// What files and folders are called until they are whole.
const UNFINISHED: [&str; 2] = [".write-", ".model-"];

impl Output {
    /// Refuse a folder that holds something, unless it may be overwritten. Creates nothing yet.
    ///
    /// # Errors
    /// A file in the folder's place, a folder in use, another run at work in it, or one that cannot be looked into.
    pub fn check(folder: &Path, overwrite: bool) -> Result<(), ProgramError> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(ProgramError::io("use", folder))?,
        };
        if folder.join(LOCK).exists() {
            lock(folder)?;
        }
        let holds_something = entries.flatten().any(|entry| entry.file_name() != LOCK);
        if holds_something && !overwrite {
            return Err(ProgramError::OutputInUse(folder.to_path_buf()));
        }
        Ok(())
    }

    /// Make the folder and write `config.toml`; what an earlier run left is removed first.
    ///
    /// # Errors
    /// As [`check`](Self::check), and a folder that cannot be written to.
    pub fn create(folder: &Path, overwrite: bool, config: &str) -> Result<Self, ProgramError> {
        Self::check(folder, overwrite)?;
        fs::create_dir_all(folder).map_err(ProgramError::io("create", folder))?;
        let output = Self { folder: folder.to_path_buf(), _lock: lock(folder)? };
        // config.toml first and, below, last: where it is, the rest belongs to it.
        for file in FILES {
            remove(&folder.join(file), |path| fs::remove_file(path))?;
        }
        for folder in [output.model(), output.checkpoints()] {
            remove(&folder, |path| fs::remove_dir_all(path))?;
        }
        output.remove_unfinished()?;
        output.write("config.toml", config)?;
        Ok(output)
    }

    /// Open the folder of a run that is to go on, and remove what was being written when it ended.
    ///
    /// # Errors
    /// A folder without a run, or with another one at work.
    pub fn resume(folder: &Path) -> Result<Self, ProgramError> {
        if !folder.join("config.toml").is_file() {
            return Err(ProgramError::NoRun(folder.to_path_buf()));
        }
        let output = Self { folder: folder.to_path_buf(), _lock: lock(folder)? };
        output.remove_unfinished()?;
        Ok(output)
    }

    fn remove_unfinished(&self) -> Result<(), ProgramError> {
        for folder in [&self.folder, &self.checkpoints()] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if UNFINISHED.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                    remove_any(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// `metrics.jsonl`; new and empty where there is none.
    ///
    /// # Errors
    /// Names the file if it cannot be made or opened.
    pub fn metrics(&self) -> Result<File, ProgramError> {
        let path = self.metrics_path();
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(&path).map_err(ProgramError::io("open", &path))
    }

    /// Whether the run in the folder has come to its end: its summary says so, and the model is there.
    pub fn is_finished(&self) -> bool {
        let summary = fs::read_to_string(self.folder.join("summary.json")).unwrap_or_default();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap_or_default();
        summary["finished"] == true && self.model().is_dir()
    }

    /// Where the checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join(CHECKPOINTS)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where `metrics.jsonl` is.
    pub fn metrics_path(&self) -> PathBuf {
        self.folder.join("metrics.jsonl")
    }

    /// Write `summary.json`.
    ///
    /// # Errors
    /// Names the file if it cannot be written.
    pub fn summary(&self, summary: &Summary) -> Result<(), ProgramError> {
        let text = serde_json::to_string_pretty(summary)
            .map_err(|error| ProgramError::Internal(error.to_string()))?;
        self.write("summary.json", &format!("{text}\n"))
    }

    /// Where the model is.
    pub fn model(&self) -> PathBuf {
        self.folder.join(MODEL)
    }

    /// Write the model's folder with `save`, which gets a folder beside; it takes its name when it
    /// is whole.
    ///
    /// # Errors
    /// Those of `save`, or a folder that cannot be renamed.
    pub fn save_model(
        &self,
        save: impl FnOnce(&Path) -> Result<(), ProgramError>,
    ) -> Result<(), ProgramError> {
        let beside = tempfile::Builder::new()
            .prefix(".model-")
            .tempdir_in(&self.folder)
            .map_err(ProgramError::io("write into", &self.folder))?;
        let whole = beside.path().join(MODEL);
        fs::create_dir(&whole).map_err(ProgramError::io("create", &whole))?;
        save(&whole)?;
        let model = self.model();
        // Of a run that was stopped and has gone on; a folder is no replacement for another one.
        if model.exists() {
            let old = beside.path().join("old");
            fs::rename(&model, &old).map_err(ProgramError::io("replace", &model))?;
        }
        fs::rename(&whole, &model).map_err(ProgramError::io("write", &model))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ProgramError> {
        write_beside(&self.folder.join(name), text.as_bytes())
    }
}

/// Lock a folder against other runs, for as long as the file is open.
fn lock(folder: &Path) -> Result<File, ProgramError> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    let file = options.open(&path).map_err(ProgramError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ProgramError::Locked(folder.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(ProgramError::io("lock", &path)(error)),
    }
}

fn remove_any(path: &Path) -> Result<(), ProgramError> {
    match path.is_dir() {
        true => remove(path, |path| fs::remove_dir_all(path)),
        false => remove(path, |path| fs::remove_file(path)),
    }
}

fn remove(
    path: &Path,
    remove: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), ProgramError> {
    match remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(ProgramError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// The folder that a file lies in.
pub fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Write a file whole or not at all: beside, then renamed.
///
/// # Errors
/// Names the file if it cannot be written.
pub fn write_beside(path: &Path, bytes: &[u8]) -> Result<(), ProgramError> {
    let folder = folder_of(path);
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".write-").tempfile_in(folder)?;
        file.write_all(bytes)?;
        // A temporary file is private; a result is as readable as any other file.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        // The name should last as well as the bytes; not every system can be asked for that.
        File::open(folder).and_then(|folder| folder.sync_all()).ok();
        Ok(())
    };
    write().map_err(ProgramError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("thesis.txt"), "years of work").expect("written");
        let error = Output::create(folder.path(), false, "").expect_err("refused");
        assert!(matches!(error, ProgramError::OutputInUse(_)), "{error}");

        Output::create(folder.path(), true, "epochs = 1\n").expect("overwritten");
        assert!(folder.path().join("thesis.txt").exists(), "only a run's own files are replaced");
    }

    #[test]
    fn overwriting_removes_what_a_run_left() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("model")).expect("made");
        fs::create_dir(folder.path().join("checkpoints")).expect("made");
        for file in
            ["summary.json", "metrics.jsonl", "model/config.json", "checkpoints/x", ".write-x"]
        {
            fs::write(folder.path().join(file), "old").expect("written");
        }
        Output::create(folder.path(), true, "").expect("overwritten");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("read").flatten().collect();
        assert_eq!(left.len(), 2, "the new config.toml and the lock: {left:?}");
    }

    #[test]
    fn a_failed_save_leaves_no_model() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Output::create(folder.path(), false, "").expect("created");
        let failed = output.save_model(|path| {
            fs::write(path.join("model.safetensors"), "half").expect("written");
            Err(ProgramError::Mismatch("the disk is full".into()))
        });
        failed.expect_err("an error");
        assert!(!output.model().exists());
        assert_eq!(
            fs::read_dir(folder.path()).expect("read").count(),
            2,
            "config.toml and the lock"
        );
    }

    #[test]
    fn a_second_run_is_refused_while_the_first_is_at_work() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Output::create(folder.path(), false, "").expect("created");
        for refused in [
            Output::create(folder.path(), true, "").map(|_| ()),
            Output::check(folder.path(), false),
            Output::resume(folder.path()).map(|_| ()),
        ] {
            assert!(matches!(refused, Err(ProgramError::Locked(_))), "{refused:?}");
        }
        drop(first);
        Output::resume(folder.path()).expect("free again");
    }

    #[test]
    fn resuming_removes_what_was_being_written() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Output::create(folder.path(), false, "").expect("created"));
        fs::create_dir_all(folder.path().join(".model-x/model")).expect("made");
        fs::create_dir(folder.path().join("checkpoints")).expect("made");
        for file in [".write-x", "checkpoints/.write-x", "checkpoints/step-1.checkpoint"] {
            fs::write(folder.path().join(file), "half").expect("written");
        }
        let output = Output::resume(folder.path()).expect("resumed");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 3, "and the two files");
        assert_eq!(fs::read_dir(output.checkpoints()).expect("read").count(), 1);
    }

    #[test]
    fn a_model_is_replaced_by_a_later_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Output::create(folder.path(), false, "").expect("created");
        for text in ["early", "late"] {
            let save = |path: &Path| {
                fs::write(path.join("model.safetensors"), text).map_err(ProgramError::stdout)
            };
            output.save_model(save).expect("saved");
        }
        let model = fs::read_to_string(output.model().join("model.safetensors")).expect("read");
        assert_eq!(model, "late");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 3, "nothing else is left");
    }

    #[test]
    fn a_folder_without_a_run_cannot_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = Output::resume(folder.path()).expect_err("refused");
        assert!(matches!(error, ProgramError::NoRun(_)), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 0, "and is left alone");
    }

    #[test]
    fn a_file_in_the_folders_place_is_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = Output::check(file.path(), true).expect_err("an error").to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
