//! A split as a Burn dataset.

use std::{fs::File, io::BufReader, path::Path};

use burn::data::dataset::Dataset;

use crate::{Format, RteError, RteExample, Split, discovery, error::Place, read_examples};

/// The examples of one split, in the order of their files, held in memory.
#[derive(Debug, Clone)]
pub struct RteDataset {
    examples: Vec<RteExample>,
    /// The files the examples came from, with the number of examples in each.
    files: Vec<(String, usize)>,
}

impl RteDataset {
    /// Opens a split: of a folder, or, where `path` is a file, that file whatever the split.
    ///
    /// A folder is searched before its subfolders `rte`, `RTE` and `data`. A split is a file `train`, `validation`
    /// (or `val`, `dev`) or `test` with the extension `parquet`, `jsonl` or `tsv`, preferred in that order where there
    /// are several, or the hub's Parquet shards such as `train-00000-of-00001.parquet`.
    ///
    /// # Errors
    ///
    /// A folder without the split (the error lists what was looked for and what is there), a shard missing, a split
    /// without an example, and whatever reading the files gives.
    pub fn open(path: &Path, split: Split) -> Result<Self, RteError> {
        if !path.is_dir() {
            return Self::from_file(path);
        }
        let files = discovery::find(path, split)?;
        if files.is_empty() {
            return Err(discovery::missing(path, split));
        }
        Self::from_files(&files)
    }

    /// Opens one file; the extension tells its format, the content where the extension does not.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or holds no example, and those of [`Format::read`].
    pub fn from_file(path: &Path) -> Result<Self, RteError> {
        Self::from_files(&[path])
    }

    fn from_files(paths: &[impl AsRef<Path>]) -> Result<Self, RteError> {
        let mut dataset = Self { examples: Vec::new(), files: Vec::new() };
        for path in paths {
            let path = path.as_ref();
            let name = path.display().to_string();
            let input = File::open(path)
                .map(BufReader::new)
                .map_err(|source| RteError::Io { file: name.clone(), source })?;
            let examples = match Format::from_extension(path) {
                Some(format) => format.read(input, &name)?,
                None => read_examples(input, &name)?,
            };
            dataset.files.push((name, examples.len()));
            dataset.examples.extend(examples);
        }
        if dataset.examples.is_empty() {
            let names: Vec<&str> = dataset.files.iter().map(|(name, _)| name.as_str()).collect();
            return Err(RteError::Empty { file: names.join(", ") });
        }
        Ok(dataset)
    }

    /// The splits that [`RteDataset::open`] finds in a folder.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read, or a split of which a shard is missing.
    pub fn splits(folder: &Path) -> Result<Vec<Split>, RteError> {
        let mut splits = Vec::new();
        for split in Split::ALL {
            if !discovery::find(folder, split)?.is_empty() {
                splits.push(split);
            }
        }
        Ok(splits)
    }

    /// The examples, in order.
    pub fn examples(&self) -> &[RteExample] {
        &self.examples
    }

    /// The paths of the files the examples came from, in order.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(name, _)| name.as_str())
    }

    /// Checks that every example has a label.
    ///
    /// # Errors
    ///
    /// [`RteError::Unlabelled`] with the file and row (from 1, a header not counted) of the first that has none.
    pub fn require_labels(&self) -> Result<(), RteError> {
        let Some(mut row) = self.examples.iter().position(|example| example.label.is_none()) else {
            return Ok(());
        };
        let mut files = self.files.iter();
        let mut file = "";
        for (name, examples) in files.by_ref() {
            file = name;
            if row < *examples {
                break;
            }
            row -= examples;
        }
        Err(RteError::Unlabelled { place: Place::row(file, row + 1) })
    }
}

impl Dataset<RteExample> for RteDataset {
    fn get(&self, index: usize) -> Option<RteExample> {
        self.examples.get(index).cloned()
    }

    fn len(&self) -> usize {
        self.examples.len()
    }
}
