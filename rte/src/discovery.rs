//! Where a data folder keeps a split.
//!
//! A folder is searched before its subfolders with the task's name and `data`, and the first of them that has the split
//! is taken. There Parquet is preferred to JSONL, JSONL to TSV and TSV to CSV, and `validation` to `val` and `dev`. A
//! Parquet split may be one file, `train.parquet`, or the hub's shards, `train-00000-of-00002.parquet`, which are read
//! in order.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Format, RteError, Split, Task, text::listed};

/// How many of a folder's entries an error lists.
const LISTED_ENTRIES: usize = 30;

/// The files of a split of a folder, in order.
pub(crate) fn find(folder: &Path, task: &Task, split: Split) -> Result<Vec<PathBuf>, RteError> {
    let files = task.split_files(folder, &entries(folder, task)?, split)?;
    Ok(files.into_iter().map(|file| folder.join(file)).collect())
}

impl Task {
    /// The files of a split, in order, among `names`: the paths of files relative to a data folder, with `/` on every
    /// system. The folder need not be on this machine; `folder` is what errors call it.
    /// [`TextDataset::open`](crate::TextDataset::open) says which files a split may have.
    ///
    /// ```
    /// use rte::{Split, Task};
    ///
    /// let names = ["README.md", "mnli/train.parquet", "mnli/validation_matched.parquet"];
    /// let names = names.map(str::to_owned);
    /// let mnli = Task::named("mnli")?;
    /// let files = mnli.split_files("nyu-mll/glue".as_ref(), &names, Split::Validation)?;
    /// assert_eq!(files, ["mnli/validation_matched.parquet"]);
    /// # Ok::<(), rte::RteError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RteError::MissingSplit`] where there is no file of the split, and [`RteError::MissingShards`] where some of its
    /// files are missing.
    pub fn split_files(
        &self,
        folder: &Path,
        names: &[String],
        split: Split,
    ) -> Result<Vec<String>, RteError> {
        for prefix in prefixes(self) {
            for format in Format::ALL {
                for stem in self.split_stems(split) {
                    let path = format!("{prefix}{stem}");
                    let file = format!("{path}.{}", format.extension());
                    if names.contains(&file) {
                        return Ok(vec![file]);
                    }
                    let shards = shards(names, &path, format);
                    if !shards.is_empty() {
                        check_complete(folder, split, &shards)?;
                        return Ok(shards.into_iter().map(|shard| shard.name.to_owned()).collect());
                    }
                }
            }
        }
        Err(missing(folder, self, split, names))
    }
}

/// What the paths of files begin with in the folders that are searched, best first.
fn prefixes(task: &Task) -> impl Iterator<Item = String> {
    let subfolders = task.subfolders().into_iter().map(|subfolder| format!("{subfolder}/"));
    [String::new()].into_iter().chain(subfolders)
}

/// The error for a folder without the split: what would have been taken, and what is there.
fn missing(folder: &Path, task: &Task, split: Split, names: &[String]) -> RteError {
    let mut looked_for = Vec::new();
    for format in Format::ALL {
        let extension = format.extension();
        for stem in task.split_stems(split) {
            if format == Format::Parquet {
                looked_for.push(format!("{stem}-00000-of-00001.{extension}"));
            }
            looked_for.push(format!("{stem}.{extension}"));
        }
    }
    let mut found: Vec<String> = names.iter().take(LISTED_ENTRIES).cloned().collect();
    if names.len() > LISTED_ENTRIES {
        found.push(format!("and {} more", names.len() - LISTED_ENTRIES));
    }
    RteError::MissingSplit {
        folder: folder.to_owned(),
        split,
        looked_for: format!(
            "{} in the folder itself and in the subfolders {}",
            listed(looked_for),
            listed(task.subfolders())
        ),
        found: listed(found),
    }
}

/// The entries of the folder and of the subfolders that are searched, sorted within each.
fn entries(folder: &Path, task: &Task) -> Result<Vec<String>, RteError> {
    let mut entries = Vec::new();
    for prefix in prefixes(task) {
        let subfolder = folder.join(&prefix);
        // That the folder itself is missing is an error, that a subfolder is, is not.
        if prefix.is_empty() || subfolder.is_dir() {
            let names = file_names(&subfolder)?;
            entries.extend(names.into_iter().map(|name| format!("{prefix}{name}")));
        }
    }
    Ok(entries)
}

/// The names in a folder, sorted.
fn file_names(folder: &Path) -> Result<Vec<String>, RteError> {
    let error = |source| RteError::Io { file: folder.display().to_string(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        names.push(entry.map_err(error)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

struct Shard<'a> {
    number: usize,
    of: usize,
    name: &'a str,
}

/// The files `PATH-NUMBER-of-COUNT.parquet` in order; older files of the hub have `-HASH` after the count.
fn shards<'a>(names: &'a [String], path: &str, format: Format) -> Vec<Shard<'a>> {
    if format != Format::Parquet {
        return Vec::new();
    }
    let parse = |name: &'a String| {
        let middle = name.strip_prefix(path)?.strip_prefix('-')?.strip_suffix(".parquet")?;
        let (number, rest) = middle.split_once("-of-")?;
        let of = rest.split_once('-').map_or(rest, |(of, _hash)| of);
        Some(Shard { number: number.parse().ok()?, of: of.parse().ok()?, name })
    };
    let mut shards: Vec<Shard> = names.iter().filter_map(parse).collect();
    shards.sort_by_key(|shard| shard.number);
    shards
}

/// Part of a split would train and score on too little without a word.
fn check_complete(folder: &Path, split: Split, shards: &[Shard]) -> Result<(), RteError> {
    let expected = shards.iter().map(|shard| shard.of).max().unwrap_or_default();
    let in_order = shards
        .iter()
        .enumerate()
        .all(|(number, shard)| shard.number == number && shard.of == expected);
    if in_order && shards.len() == expected {
        Ok(())
    } else {
        Err(RteError::MissingShards {
            folder: folder.to_owned(),
            split,
            expected,
            found: listed(shards.iter().map(|shard| shard.name)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(task: &str, names: &[&str], split: Split) -> Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let task = Task::named(task).unwrap();
        task.split_files(Path::new("a/b"), &names, split).map_err(|error| error.to_string())
    }

    #[test]
    fn files_are_found_in_a_listing_as_in_a_folder() {
        let names = [
            "rte/train-00001-of-00002.parquet",
            "mnli/validation_matched-00000-of-00001.parquet",
            "rte/train-00000-of-00002.parquet",
            "plain_text/train.csv",
            "other/rte/validation.tsv",
            "validation_matched.tsv",
        ];
        assert_eq!(
            found("rte", &names, Split::Train).unwrap(),
            ["rte/train-00000-of-00002.parquet", "rte/train-00001-of-00002.parquet"]
        );
        assert_eq!(found("snli", &names, Split::Train).unwrap(), ["plain_text/train.csv"]);
        assert_eq!(
            found("mnli", &names, Split::Validation).unwrap(),
            ["validation_matched.tsv"],
            "the folder before its subfolders"
        );
        assert_eq!(
            found("mnli", &names[..5], Split::Validation).unwrap(),
            ["mnli/validation_matched-00000-of-00001.parquet"]
        );
        let error = found("rte", &names, Split::Validation).unwrap_err();
        assert!(error.starts_with("a/b: no validation split; looked for validation-"), "{error}");
        let (looked_for, _) = error.split_once("the folder holds").unwrap();
        assert!(!looked_for.contains("_matched"), "only MNLI has one: {error}");
        let error = found("rte", &names[1..], Split::Train).unwrap_err();
        assert!(error.starts_with("a/b: the train split should have 2 shards"), "{error}");
    }

    #[test]
    fn a_long_listing_is_shortened() {
        let names: Vec<String> = (0..40).map(|number| format!("{number}.txt")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let error = found("rte", &names, Split::Train).unwrap_err();
        assert!(error.ends_with("28.txt, 29.txt, and 10 more"), "{error}");
    }
}
