//! Where data comes from: the bundled task, a path, or the hub; and which file is which split.

use std::path::{Path, PathBuf};

use rte::{Example, RteError, Split, Task, TextDataset};

use crate::ProgramError;
use crate::hub::{self, HubError, repo::Kind};
use crate::settings::{DEFAULT_TASK, EMBEDDED, Settings, is_embedded};
use crate::terminal::notice;

/// The name of the bundled task in messages.
const EMBEDDED_TASK: &str = "the bundled task";

/// Open a split of `--data`: the bundled task, a folder, a file, or a name on the hub.
///
/// # Errors
/// As [`hub::named`] and [`TextDataset::open`].
pub(crate) fn open(data: &Path, task: &Task, split: Split) -> Result<TextDataset, ProgramError> {
    if is_embedded(data) {
        return embedded(task, split);
    }
    let path = find(data, task, &[split])?;
    let dataset = TextDataset::open(&path, task, split)?;
    if dataset.dropped() > 0 {
        notice(format_args!(
            "{}, {split} split: skipped {} rows that are truncated or on whose label annotators did not agree",
            data.display(),
            dataset.dropped()
        ));
    }
    if dataset.assumed_label_order() {
        let labels: Vec<String> = dataset
            .task()
            .labels
            .iter()
            .enumerate()
            .map(|(id, name)| format!("{id} = {name}"))
            .collect();
        notice(format_args!(
            "{}, {split} split: the labels are numbers without names, read as {}",
            data.display(),
            labels.join(", ")
        ));
    }
    Ok(dataset)
}

/// The path, or the folder that was downloaded from the hub, which has the splits that are needed. Of a path that was
/// found, the path itself.
fn find(data: &Path, task: &Task, needed: &[Split]) -> Result<PathBuf, ProgramError> {
    let downloaded = hub::named(data, Kind::Data { task, needed })?;
    Ok(downloaded.unwrap_or_else(|| data.to_owned()))
}

/// The training and the validation split of a run, labelled.
///
/// # Errors
/// A split is missing or lacks a label, or `--data` is the file of a split other than the training split.
pub(crate) fn open_splits(settings: &Settings) -> Result<(TextDataset, TextDataset), ProgramError> {
    let Settings { data, validation_data, validation_share, sample_seed, .. } = settings;
    let task = settings.task()?;
    if let Some(split) = other_split(data)
        && validation_data.is_none()
        && validation_share.is_none()
    {
        return Err(ProgramError::Mismatch(format!(
            "{} is the {split} split; give the training split or its folder as --data, or add --validation-data or \
             --validation-share to train on it nevertheless",
            data.display()
        )));
    }
    let needed: &[Split] = match (validation_data, validation_share) {
        (None, None) => &[Split::Train, Split::Validation],
        _ => &[Split::Train],
    };
    // Once, for both splits.
    let found = find(data, &task, needed).map_err(name_validation_flags)?;
    let train = open(&found, &task, Split::Train)?;
    train.require_labels()?;
    // It has the labels, if they were to be found in the data.
    let task = train.task().clone();
    let (train, validation) = match (validation_data, validation_share) {
        (Some(validation), _) => (train, open(validation, &task, Split::Validation)?),
        (None, Some(share)) => {
            if is_embedded(data) || has_validation_split(&found, &task)? {
                return Err(ProgramError::Usage(format!(
                    "--validation-share: {} has a validation split already; leave it out",
                    data.display()
                )));
            }
            train.divide(*share, *sample_seed)?
        }
        (None, None) => {
            // Of a file, the other split is next to it.
            let folder = if found.is_file() { files::parent(&found) } else { &found };
            let validation =
                open(folder, &task, Split::Validation).map_err(name_validation_flags)?;
            (train, validation)
        }
    };
    validation.require_labels()?;
    let train = match settings.max_examples {
        Some(max_examples) => train.sample(max_examples, *sample_seed),
        None => train,
    };
    Ok((train, validation))
}

/// Where there is no validation split, tell the flags that do without one.
fn name_validation_flags(error: ProgramError) -> ProgramError {
    let is_it =
        |error: &RteError| matches!(error, RteError::MissingSplit { split: Split::Validation, .. });
    match &error {
        ProgramError::Rte(missing) if is_it(missing) => {}
        ProgramError::Hub(HubError::Data(missing)) if is_it(missing) => {}
        _ => return error,
    }
    ProgramError::Mismatch(format!("{error}; use --validation-data or --validation-share"))
}

/// The split that the name of a file indicates, if it is not the training split.
fn other_split(path: &Path) -> Option<Split> {
    let stem = path.file_name()?.to_str()?.split(['.', '-']).next()?;
    let split: Split = stem.parse().ok()?;
    (path.is_file() && split != Split::Train).then_some(split)
}

fn has_validation_split(data: &Path, task: &Task) -> Result<bool, ProgramError> {
    Ok(data.is_dir() && TextDataset::has_split(data, task, Split::Validation)?)
}

fn embedded(task: &Task, split: Split) -> Result<TextDataset, ProgramError> {
    if task.preset().map(|preset| preset.name) != Some(DEFAULT_TASK) {
        return Err(ProgramError::Usage(format!(
            "--data {EMBEDDED} has the labels and columns of rte; use it with a model that was fine-tuned on them, without --text-column and another --task"
        )));
    }
    let data = embedded::task();
    let pairs = match split {
        Split::Train => &data.train,
        Split::Test | Split::TestMismatched => &data.test,
        Split::Validation | Split::ValidationMismatched => &data.validation,
    };
    let example = |(idx, pair): (usize, &embedded::Pair)| Example {
        text: pair.premise.clone(),
        text_pair: Some(pair.hypothesis.clone()),
        label: Some(usize::from(!pair.entailed)),
        idx,
    };
    let examples = pairs.iter().enumerate().map(example).collect();
    Ok(TextDataset::from_examples(examples, task, EMBEDDED_TASK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_depends_on_its_own_seed_alone() {
        let sample = |data_seed, sample_seed| {
            let max_examples = Some(40);
            let settings = Settings { max_examples, data_seed, sample_seed, ..Settings::default() };
            let (train, _) = open_splits(&settings).expect("splits");
            train.examples().iter().map(|example| example.idx).collect::<Vec<_>>()
        };
        let default = sample(20003, 20003);
        assert_eq!(default.len(), 40);
        assert_eq!(sample(1, 20003), default);
        assert_ne!(sample(20003, 1), default);
    }
}
