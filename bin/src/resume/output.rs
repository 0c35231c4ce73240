//! The folder that a run writes.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use files::FileKind;
use report::{Predictions, Summary};

use crate::ProgramError;
use crate::settings::Settings;
use crate::train::log_formats;

/// The output folder of a run: `config.toml`, `metrics.jsonl`, `summary.json`, `predictions.jsonl`, `model/` and
/// `checkpoints/`. It is locked for the lifetime of this value.
#[derive(Debug)]
pub(crate) struct Output {
    folder: PathBuf,
    _lock: File,
}

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const MODEL: &str = "model";
const CHECKPOINTS: &str = "checkpoints";

/// The files that a run writes into `model/`.
const MODEL_FILES: [&str; 7] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    crate::model_folder::TASK,
    crate::model_card::MODEL_CARD,
];

/// Locked by the run that writes into its folder. It is never removed: whoever removes a lock may remove another run's.
const LOCK: &str = ".lock";

/// The prefix of the name that the model's folder has until it is complete.
const UNFINISHED_MODEL: &str = ".model-";

/// The model's folder before, in that folder.
const REPLACED: &str = "replaced";

/// Where runs go without `--output`: `runs/0001`, `runs/0002`, …
pub(super) const RUNS: &str = "runs";

impl Output {
    /// Refuse an output folder that cannot be used. Creates nothing yet.
    ///
    /// # Errors
    /// The path is a file; the folder cannot be read, is not empty, contains an input, or another run is writing into it.
    pub(crate) fn check(settings: &Settings, inputs: &[&Path]) -> Result<(), ProgramError> {
        let Some(folder) = &settings.output else { return Ok(()) };
        if folder.join(LOCK).exists() {
            lock(folder)?;
        }
        Self::check_contents(folder, settings.overwrite, inputs)
    }

    fn check_contents(
        folder: &Path,
        overwrite: bool,
        inputs: &[&Path],
    ) -> Result<(), ProgramError> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(ProgramError::io("use", folder))?,
        };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut foreign = names.filter(|name| name != LOCK && !is_unfinished(name)).peekable();
        if foreign.peek().is_none() {
            return Ok(());
        }
        if !overwrite {
            return Err(ProgramError::OutputInUse(folder.to_owned()));
        }
        let written_by_a_run = files::read_to_string(&folder.join(CONFIG), FileKind::Config)
            .is_ok_and(|text| toml::from_str::<Settings>(&text).is_ok());
        if !written_by_a_run {
            return Err(ProgramError::NotARun(folder.to_owned()));
        }
        let is_inside = |input: &&&Path| match (input.canonicalize(), folder.canonicalize()) {
            (Ok(input), Ok(folder)) => input.starts_with(folder),
            _ => false,
        };
        if let Some(input) = inputs.iter().find(is_inside) {
            return Err(ProgramError::InputInOutput {
                input: input.to_path_buf(),
                folder: folder.to_owned(),
            });
        }
        let foreign = foreign_file(&folder.join(MODEL), is_model_file)
            .or_else(|| foreign_file(&folder.join(CHECKPOINTS), is_checkpoint))
            .or_else(|| foreign_predictions(folder));
        foreign.map_or(Ok(()), |path| Err(ProgramError::ForeignFile(path)))
    }

    /// Create the folder and write `config.toml`; an earlier run in it is removed first.
    ///
    /// # Errors
    /// As [`check`](Self::check), and a folder that cannot be written to.
    pub(crate) fn create(settings: &Settings) -> Result<Self, ProgramError> {
        Self::check(settings, &[])?;
        let folder = match &settings.output {
            Some(folder) => {
                fs::create_dir_all(folder).map_err(ProgramError::io("create", folder))?;
                folder.clone()
            }
            None => create_next_run()?,
        };
        let output = Self { _lock: lock(&folder)?, folder };
        // Another process may have computed a run there since the check.
        Self::check_contents(&output.folder, settings.overwrite, &[])?;
        output.remove_unfinished()?;
        if let Some(path) = foreign_file(&output.model(), is_model_file) {
            return Err(ProgramError::ForeignFile(path));
        }
        remove(&output.metrics(), |path| fs::remove_file(path))?;
        output.remove_summary()?;
        remove(&output.folder, log_formats::remove_all)?;
        Self::remove_model_of(&output.folder)?;
        Self::remove_checkpoints_of(&output.folder)?;
        // Last, because the presence of this file marks the folder as a run.
        let config = toml::to_string(&settings.to_table())
            .map_err(|error| ProgramError::Internal(error.to_string()))?;
        let path = output.config();
        files::write(&path, config.as_bytes()).map_err(ProgramError::io("write", &path))?;
        Ok(output)
    }

    /// Open the folder of an interrupted run, and remove files that were incomplete when it ended.
    ///
    /// # Errors
    /// The folder contains no run, or another process is writing into it.
    pub(crate) fn resume(folder: &Path) -> Result<Self, ProgramError> {
        if !folder.join(CONFIG).is_file() {
            return Err(ProgramError::NoRun(folder.to_owned()));
        }
        let output = Self { folder: folder.to_owned(), _lock: lock(folder)? };
        output.remove_unfinished()?;
        Ok(output)
    }

    /// Refuse to replace predictions that no run wrote.
    ///
    /// # Errors
    /// [`ProgramError::ForeignFile`] if there are some.
    pub(crate) fn refuse_foreign_predictions(&self) -> Result<(), ProgramError> {
        foreign_predictions(&self.folder)
            .map_or(Ok(()), |path| Err(ProgramError::ForeignFile(path)))
    }

    /// The latest of the numbered folders in `runs/`.
    ///
    /// # Errors
    /// `runs/` contains no run.
    pub(crate) fn latest() -> Result<PathBuf, ProgramError> {
        Self::latest_in(Path::new(RUNS))
    }

    fn latest_in(runs: &Path) -> Result<PathBuf, ProgramError> {
        let folders = numbered_runs(runs).filter(|(_, folder)| folder.join(CONFIG).is_file());
        let latest = folders.max_by_key(|(number, _)| *number);
        latest.map(|(_, folder)| folder).ok_or_else(|| ProgramError::NoRun(runs.to_owned()))
    }

    fn remove_unfinished(&self) -> Result<(), ProgramError> {
        for folder in [&self.folder, &self.checkpoints()] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if is_unfinished(&entry.file_name().to_string_lossy()) {
                    let path = entry.path();
                    if path.is_dir() {
                        self.keep_of(&path.join(REPLACED))?;
                        remove(&path, |path| fs::remove_dir_all(path))?;
                    } else {
                        remove(&path, |path| fs::remove_file(path))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the run in the folder is finished: its summary says so, and the model is there.
    pub(crate) fn is_finished(&self) -> bool {
        let summary = Summary::read(&self.folder).ok().flatten();
        summary.is_some_and(|summary| summary.finished) && self.model().is_dir()
    }

    /// The output folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of `config.toml` in the folder of a run.
    pub(crate) fn config_of(run: &Path) -> PathBuf {
        run.join(CONFIG)
    }

    /// Remove the model in the folder of a run, and its predictions. A model folder with files that no run wrote stays.
    ///
    /// # Errors
    /// Names what cannot be removed.
    pub(crate) fn remove_model_of(run: &Path) -> Result<(), ProgramError> {
        if foreign_file(&run.join(MODEL), is_model_file).is_some() {
            return Ok(());
        }
        remove(&run.join(MODEL), |path| fs::remove_dir_all(path))?;
        if foreign_predictions(run).is_some() {
            return Ok(());
        }
        remove(&Predictions::path(run), |path| fs::remove_file(path))
    }

    /// Whether a path is that of a file which belongs to the model in `folder`.
    pub(crate) fn is_file_of_model(folder: &Path, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        is_model_file(&name) && same_file(folder, files::parent(path))
    }

    /// Whether the folder of a run has a model.
    pub(crate) fn has_model(run: &Path) -> bool {
        run.join(MODEL).is_dir()
    }

    /// Remove the checkpoints in the folder of a run.
    ///
    /// # Errors
    /// Names what cannot be removed.
    pub(crate) fn remove_checkpoints_of(run: &Path) -> Result<(), ProgramError> {
        remove(&run.join(CHECKPOINTS), |path| fs::remove_dir_all(path))
    }

    /// The path of `config.toml`.
    pub(crate) fn config(&self) -> PathBuf {
        Self::config_of(&self.folder)
    }

    /// The path of `metrics.jsonl`.
    pub(crate) fn metrics(&self) -> PathBuf {
        self.folder.join(METRICS)
    }

    /// The path of the model's folder.
    pub(crate) fn model(&self) -> PathBuf {
        self.folder.join(MODEL)
    }

    /// The path of the folder with the checkpoints.
    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.folder.join(CHECKPOINTS)
    }

    /// Remove `summary.json`.
    ///
    /// # Errors
    /// Names the file if it cannot be removed.
    pub(crate) fn remove_summary(&self) -> Result<(), ProgramError> {
        remove(&Summary::path(&self.folder), |path| fs::remove_file(path))
    }

    /// Write `summary.json`.
    ///
    /// # Errors
    /// Names the file if it cannot be written.
    pub(crate) fn save_summary(&self, summary: &Summary) -> Result<(), ProgramError> {
        let text = serde_json::to_string_pretty(summary)
            .map_err(|error| ProgramError::Internal(error.to_string()))?;
        let path = Summary::path(&self.folder);
        files::write(&path, format!("{text}\n").as_bytes())
            .map_err(ProgramError::io("write", &path))
    }

    /// Write `predictions.jsonl`. Without `lines` the file of an earlier model is removed.
    ///
    /// # Errors
    /// Names the file if it cannot be written or removed.
    pub(crate) fn save_predictions(&self, lines: Option<String>) -> Result<(), ProgramError> {
        let path = Predictions::path(&self.folder);
        match lines {
            Some(lines) => {
                files::write(&path, lines.as_bytes()).map_err(ProgramError::io("write", &path))
            }
            None => remove(&path, |path| fs::remove_file(path)),
        }
    }

    /// Write the model's folder with `save`, which is given a temporary one; it is renamed when it is complete and on the
    /// disk. Files in the folder before that no run wrote are kept.
    ///
    /// # Errors
    /// Those of `save`, or a folder that cannot be renamed.
    pub(crate) fn save_model(
        &self,
        save: impl FnOnce(&Path) -> Result<(), ProgramError>,
    ) -> Result<(), ProgramError> {
        let temporary = tempfile::Builder::new()
            .prefix(UNFINISHED_MODEL)
            .tempdir_in(&self.folder)
            .map_err(ProgramError::io("write into", &self.folder))?;
        let complete = temporary.path().join(MODEL);
        fs::create_dir(&complete).map_err(ProgramError::io("create", &self.model()))?;
        save(&complete)?;
        let model = self.model();
        files::flush_folder(&complete).map_err(ProgramError::io("write", &model))?;
        let replaced = temporary.path().join(REPLACED);
        // Left by the run when it was interrupted. A folder cannot be renamed over another one.
        if model.exists() {
            fs::rename(&model, &replaced).map_err(ProgramError::io("replace", &model))?;
        }
        let published = fs::rename(&complete, &model).map_err(ProgramError::io("write", &model));
        let kept = self.keep_of(&replaced);
        if kept.is_err() {
            // It holds what could not be moved.
            let _ = temporary.keep();
        }
        files::flush_folder(&self.folder).ok();
        published.and(kept)
    }

    /// Keep what must not be lost of `replaced`, a model's folder that was moved away: all of it if no other took its place,
    /// otherwise the files that no run wrote.
    fn keep_of(&self, replaced: &Path) -> Result<(), ProgramError> {
        let model = self.model();
        if replaced.exists() && !model.exists() {
            return fs::rename(replaced, &model).map_err(ProgramError::io("write", &model));
        }
        while let Some(path) = foreign_file(replaced, is_model_file) {
            let kept = model.join(path.file_name().unwrap_or_default());
            if kept.exists() {
                return Err(ProgramError::ForeignFile(kept));
            }
            fs::rename(&path, kept).map_err(ProgramError::io("keep", &path))?;
        }
        Ok(())
    }
}

/// Create the next of the numbered folders.
fn create_next_run() -> Result<PathBuf, ProgramError> {
    let runs = Path::new(RUNS);
    fs::create_dir_all(runs).map_err(ProgramError::io("create", runs))?;
    let mut number = numbered_runs(runs).map(|(number, _)| number).max().unwrap_or(0);
    loop {
        number += 1;
        let folder = runs.join(format!("{number:04}"));
        match fs::create_dir(&folder) {
            // Another process was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            created => return created.map(|()| folder).map_err(ProgramError::io("create", runs)),
        }
    }
}

/// The folders in `runs` whose names are numbers.
fn numbered_runs(runs: &Path) -> impl Iterator<Item = (u32, PathBuf)> {
    let entries = fs::read_dir(runs).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

fn is_unfinished(name: &str) -> bool {
    [files::UNFINISHED, UNFINISHED_MODEL].iter().any(|prefix| name.starts_with(prefix))
}

/// Whether both paths lead to the same existing file or folder.
pub(crate) fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn is_model_file(name: &str) -> bool {
    MODEL_FILES.contains(&name)
}

fn is_checkpoint(name: &str) -> bool {
    step_of(name).is_some() || is_unfinished(name)
}

/// The checkpoint of a step in the folder of checkpoints.
pub(super) fn checkpoint_path(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("step-{step}.checkpoint"))
}

/// The step in the name of a checkpoint, if it is one.
pub(super) fn step_of(name: &str) -> Option<usize> {
    name.strip_prefix("step-")?.strip_suffix(".checkpoint")?.parse().ok()
}

/// A file or folder in `folder` that no run wrote.
fn foreign_file(folder: &Path, is_ours: fn(&str) -> bool) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut foreign = entries.filter(|entry| !is_ours(&entry.file_name().to_string_lossy()));
    foreign.next().map(|entry| entry.path())
}

/// The `predictions.jsonl` in `folder` if it is not that of a run: `predict` may have written it.
fn foreign_predictions(folder: &Path) -> Option<PathBuf> {
    Predictions::read(folder).is_err().then(|| Predictions::path(folder))
}

/// Lock a folder against other runs, for as long as the file is open.
fn lock(folder: &Path) -> Result<File, ProgramError> {
    let path = folder.join(LOCK);
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    let file = options.open(&path).map_err(ProgramError::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        // Some network file systems have no locks.
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ProgramError::Locked(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(ProgramError::io("lock", &path)(error)),
    }
}

fn remove(path: &Path, remove: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), ProgramError> {
    match remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(ProgramError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) -> Settings {
        Settings { output: Some(folder.to_owned()), ..Settings::default() }
    }

    fn overwriting(folder: &Path) -> Settings {
        Settings { overwrite: true, ..settings(folder) }
    }

    const PREDICTION: &str =
        r#"{"idx":0,"label":"a","probabilities":{"a":1.0},"text":"t","true_label":"a"}"#;

    fn write(folder: &Path, files: &[&str]) {
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            fs::write(path, "old").expect("written");
        }
    }

    #[test]
    fn a_non_empty_folder_is_refused_and_left_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("thesis.txt"), "years of work").expect("written");
        let error = Output::create(&settings(folder.path())).expect_err("refused");
        assert!(matches!(error, ProgramError::OutputInUse(_)), "{error}");
        // Not a run, so there is nothing to overwrite.
        let error = Output::create(&overwriting(folder.path())).expect_err("refused");
        assert!(matches!(error, ProgramError::NotARun(_)), "{error}");
        fs::write(folder.path().join("config.toml"), "[package]\nname = \"x\"\n").expect("written");
        let error = Output::create(&overwriting(folder.path())).expect_err("refused");
        assert!(matches!(error, ProgramError::NotARun(_)), "{error}");

        fs::write(folder.path().join("config.toml"), "epochs = 1\n").expect("written");
        Output::create(&overwriting(folder.path())).expect("overwritten");
        assert!(folder.path().join("thesis.txt").exists(), "only a run's own files are replaced");
    }

    #[test]
    fn overwriting_removes_the_files_of_the_previous_run() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Output::create(&settings(folder.path())).expect("created"));
        let files = [
            "summary.json",
            "metrics.jsonl",
            "model/config.json",
            "checkpoints/step-1.checkpoint",
            ".write-x",
        ];
        write(folder.path(), &files);
        fs::write(folder.path().join("predictions.jsonl"), PREDICTION).expect("written");
        Output::create(&overwriting(folder.path())).expect("overwritten");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("read").flatten().collect();
        assert_eq!(left.len(), 2, "the new config.toml and the lock: {left:?}");
    }

    #[test]
    fn overwriting_refuses_to_remove_foreign_files() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Output::create(&settings(folder.path())).expect("created"));
        for foreign in ["model/notes", "checkpoints/mine.bin", "predictions.jsonl"] {
            write(folder.path(), &["model/config.json", foreign]);
            let error = Output::create(&overwriting(folder.path())).expect_err("refused");
            assert!(error.to_string().contains(foreign), "{error}");
            for file in ["model/config.json", foreign] {
                assert!(folder.path().join(file).exists(), "{file}");
            }
            fs::remove_file(folder.path().join(foreign)).expect("removed");
        }
    }

    #[test]
    fn inputs_in_the_output_folder_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Output::create(&settings(folder.path())).expect("created"));
        write(folder.path(), &["model/config.json", "data/train.tsv"]);
        for input in ["model", "data", "data/train.tsv", "."] {
            let input = folder.path().join(input);
            let checked = Output::check(&overwriting(folder.path()), &[Path::new("x"), &input]);
            let error = checked.expect_err("refused");
            assert!(matches!(error, ProgramError::InputInOutput { .. }), "{error}");
        }
        Output::check(&overwriting(folder.path()), &[Path::new("x")]).expect("elsewhere");
    }

    #[test]
    fn a_failed_save_leaves_no_model() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Output::create(&settings(folder.path())).expect("created");
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
    fn a_second_run_is_refused_while_the_first_is_running() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Output::create(&settings(folder.path())).expect("created");
        for refused in [
            Output::create(&overwriting(folder.path())).map(|_| ()),
            Output::check(&settings(folder.path()), &[]),
            Output::resume(folder.path()).map(|_| ()),
        ] {
            assert!(matches!(refused, Err(ProgramError::Locked(_))), "{refused:?}");
        }
        drop(first);
        Output::resume(folder.path()).expect("free again");
    }

    #[test]
    fn resuming_removes_incomplete_files() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Output::create(&settings(folder.path())).expect("created"));
        fs::create_dir_all(folder.path().join(".model-x/model")).expect("made");
        write(
            folder.path(),
            &[".write-x", "checkpoints/.write-x", "checkpoints/step-1.checkpoint"],
        );
        let output = Output::resume(folder.path()).expect("resumed");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 3, "and the two files");
        assert_eq!(fs::read_dir(output.checkpoints()).expect("read").count(), 1);
    }

    #[test]
    fn a_model_is_replaced_by_a_later_one_and_other_files_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Output::create(&settings(folder.path())).expect("created");
        for text in ["early", "late"] {
            let save = |path: &Path| {
                fs::write(path.join("model.safetensors"), text).map_err(ProgramError::stdout)
            };
            output.save_model(save).expect("saved");
            fs::write(output.model().join("notes"), "mine").expect("written");
            // Neither read nor followed.
            #[cfg(unix)]
            std::os::unix::fs::symlink("/nowhere", output.model().join("link")).ok();
        }
        let model = fs::read_to_string(output.model().join("model.safetensors")).expect("read");
        assert_eq!(model, "late");
        assert_eq!(fs::read_to_string(output.model().join("notes")).expect("read"), "mine");
        #[cfg(unix)]
        assert!(output.model().join("link").is_symlink());
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 3, "nothing else is left");
    }

    #[test]
    fn a_model_that_was_being_replaced_is_brought_back() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Output::create(&settings(folder.path())).expect("created"));
        let kill_while_replacing = || {
            let replaced = folder.path().join(".model-x").join(REPLACED);
            fs::create_dir_all(&replaced).expect("made");
            write(&replaced, &["model.safetensors", "notes"]);
        };
        // Before its successor was in place, then after.
        for _ in 0..2 {
            kill_while_replacing();
            let output = Output::resume(folder.path()).expect("resumed");
            for file in ["model.safetensors", "notes"] {
                assert!(output.model().join(file).exists(), "{file}");
            }
            assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 3);
            fs::remove_file(output.model().join("notes")).expect("removed");
        }
        kill_while_replacing();
        let error = Output::create(&overwriting(folder.path())).expect_err("not the run's");
        assert!(matches!(error, ProgramError::ForeignFile(_)), "{error}");
    }

    #[test]
    fn the_latest_run_has_the_highest_number() {
        let folder = tempfile::tempdir().expect("a folder");
        Output::latest_in(folder.path()).expect_err("no run");
        for name in ["9999", "10000", "7", "notes"] {
            write(folder.path(), &[&format!("{name}/{CONFIG}")]);
        }
        fs::create_dir(folder.path().join("10001")).expect("without a run");
        let latest = Output::latest_in(folder.path()).expect("a run");
        assert_eq!(latest, folder.path().join("10000"));
    }

    #[test]
    fn predictions_are_those_of_the_model_and_never_replace_those_of_a_user() {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Output::create(&settings(folder.path())).expect("created");
        let path = folder.path().join("predictions.jsonl");
        for lines in [Some(format!("{PREDICTION}\n")), None, None] {
            output.save_predictions(lines.clone()).expect("saved");
            assert_eq!(fs::read_to_string(&path).ok(), lines);
            output.refuse_foreign_predictions().expect("those of the run, or none");
        }
        // As `predict` writes it.
        let of_predict = r#"{"idx":0,"label":"a","probabilities":{"a":1.0}}"#;
        fs::write(&path, of_predict).expect("written");
        let error = output.refuse_foreign_predictions().expect_err("refused").to_string();
        assert!(
            error.contains("predictions.jsonl would be replaced or removed, but no run wrote it"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_without_a_run_cannot_be_resumed() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = Output::resume(folder.path()).expect_err("refused");
        assert!(matches!(error, ProgramError::NoRun(_)), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 0, "and is left unchanged");
    }

    #[test]
    fn a_file_instead_of_a_folder_is_an_error() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error =
            Output::check(&overwriting(file.path()), &[]).expect_err("an error").to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
