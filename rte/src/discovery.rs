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

/// The files of a split, in order; none where the folder lacks the split.
pub(crate) fn find(folder: &Path, task: &Task, split: Split) -> Result<Vec<PathBuf>, RteError> {
    let subfolders = task.subfolders().into_iter().map(|subfolder| folder.join(subfolder));
    for folder in [folder.to_owned()].into_iter().chain(subfolders) {
        if !folder.is_dir() {
            continue;
        }
        let names = file_names(&folder)?;
        for format in Format::ALL {
            for stem in task.split_stems(split) {
                let name = format!("{stem}.{}", format.extension());
                if names.contains(&name) {
                    return Ok(vec![folder.join(name)]);
                }
                let shards = shards(&names, &stem, format);
                if !shards.is_empty() {
                    check_complete(&folder, split, &shards)?;
                    return Ok(shards.into_iter().map(|shard| folder.join(shard.name)).collect());
                }
            }
        }
    }
    Ok(Vec::new())
}

/// The error for a folder without the split: what would have been taken, and what is there.
pub(crate) fn missing(folder: &Path, task: &Task, split: Split) -> RteError {
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
    RteError::MissingSplit {
        folder: folder.to_owned(),
        split,
        looked_for: match task.preset() {
            Some(preset) => {
                format!("{}, there and in {}/ and data/", listed(looked_for), preset.name)
            }
            None => format!("{}, there and in data/", listed(looked_for)),
        },
        found: listed(entries(folder, task)),
    }
}

/// The sorted entries of the folder and of the subfolders that are searched, shortened where they are many.
fn entries(folder: &Path, task: &Task) -> Vec<String> {
    let mut entries = Vec::new();
    for subfolder in [""].into_iter().chain(task.subfolders()) {
        for name in file_names(&folder.join(subfolder)).unwrap_or_default() {
            entries.push(Path::new(subfolder).join(name).display().to_string());
        }
    }
    if entries.len() > LISTED_ENTRIES {
        let more = entries.len() - LISTED_ENTRIES;
        entries.truncate(LISTED_ENTRIES);
        entries.push(format!("and {more} more"));
    }
    entries
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

/// The files `STEM-NUMBER-of-COUNT.parquet` in order; older files of the hub have `-HASH` after the count.
fn shards<'a>(names: &'a [String], stem: &str, format: Format) -> Vec<Shard<'a>> {
    if format != Format::Parquet {
        return Vec::new();
    }
    let parse = |name: &'a String| {
        let middle = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".parquet")?;
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
