//! The folder a run leaves behind.

use std::fs::{self, File};
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
    /// Whether the final accuracy is not above that of always guessing the majority class.
    pub failed: Option<bool>,
}

/// The output folder: `config.toml`, `metrics.jsonl`, `summary.json` and `model/`.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
}

/// What a run writes; all that `--overwrite` removes.
const FILES: [&str; 3] = ["config.toml", "metrics.jsonl", "summary.json"];
const MODEL: &str = "model";

impl Output {
    /// Refuse a folder that holds something, unless it may be overwritten. Creates nothing yet.
    ///
    /// # Errors
    /// A file in the folder's place, a folder in use, or one that cannot be looked into.
    pub fn check(folder: &Path, overwrite: bool) -> Result<(), ProgramError> {
        let mut entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(ProgramError::io("use", folder))?,
        };
        if entries.next().is_some() && !overwrite {
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
        let output = Self { folder: folder.to_path_buf() };
        for file in FILES {
            remove(&folder.join(file), |path| fs::remove_file(path))?;
        }
        remove(&output.model(), |path| fs::remove_dir_all(path))?;
        output.write("config.toml", config)?;
        Ok(output)
    }

    /// `metrics.jsonl`, new and empty.
    ///
    /// # Errors
    /// Names the file if it cannot be made.
    pub fn metrics(&self) -> Result<File, ProgramError> {
        let path = self.metrics_path();
        File::create(&path).map_err(ProgramError::io("create", &path))
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
        fs::rename(&whole, &model).map_err(ProgramError::io("write", &model))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ProgramError> {
        write_beside(&self.folder.join(name), text.as_bytes())
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
        for file in ["summary.json", "metrics.jsonl", "model/config.json"] {
            fs::write(folder.path().join(file), "old").expect("written");
        }
        Output::create(folder.path(), true, "").expect("overwritten");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("read").flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
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
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1, "config.toml alone");
    }

    #[test]
    fn a_file_in_the_folders_place_is_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = Output::check(file.path(), true).expect_err("an error").to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
