//! A split as a Burn dataset.

use std::path::Path;

use burn::data::dataset::Dataset;

use files::FileKind;

use crate::{Format, RteError, RteExample, Split, discovery, error::Place};

/// The examples of one split, in the order of their files, held in memory.
#[derive(Debug, Clone)]
pub struct RteDataset {
    examples: Vec<RteExample>,
    /// The files the examples came from, with the number of examples in each.
    files: Vec<(String, usize)>,
    assumed_label_order: bool,
}

impl RteDataset {
    /// Opens a split: of a folder, or, where `path` is a file, that file whatever the split.
    ///
    /// A folder is searched before its subfolders `rte`, `RTE` and `data`. A split is a file `train`, `validation`
    /// (or `val`, `dev`) or `test` with the extension `parquet`, `jsonl`, `tsv` or `csv`, preferred in that order where there
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

    /// A split of examples that come from no file; `name` is what errors call their source.
    pub fn from_examples(examples: Vec<RteExample>, name: &str) -> Self {
        let files = vec![(name.to_owned(), examples.len())];
        Self { files, examples, assumed_label_order: false }
    }

    fn from_files(paths: &[impl AsRef<Path>]) -> Result<Self, RteError> {
        let mut dataset =
            Self { examples: Vec::new(), files: Vec::new(), assumed_label_order: false };
        for path in paths {
            let path = path.as_ref();
            let name = path.display().to_string();
            let bytes = files::read(path, FileKind::Data)
                .map_err(|source| RteError::Io { file: name.clone(), source })?;
            let format = Format::from_extension(path).unwrap_or_else(|| Format::of_content(&bytes));
            let read = format.read_bytes(bytes, &name)?;
            dataset.files.push((name, read.examples.len()));
            dataset.examples.extend(read.examples);
            dataset.assumed_label_order |= read.assumed_label_order;
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

    /// Whether integer labels came without names, so that they were taken for ids of [`LABELS`](crate::LABELS).
    pub fn assumed_label_order(&self) -> bool {
        self.assumed_label_order
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::{self, HUB_SCHEMA, hub_columns, hub_properties, parquet_file};

    fn parquet(examples: &[RteExample]) -> Vec<u8> {
        parquet_file(HUB_SCHEMA, &[hub_columns(examples)], hub_properties())
    }

    /// A folder with these files; a name may have a subfolder.
    fn folder(files: &[(&str, impl AsRef<[u8]>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    fn open(folder: &tempfile::TempDir, split: Split) -> Result<RteDataset, RteError> {
        RteDataset::open(folder.path(), split)
    }

    /// The error's message with the folder's path taken out.
    fn error(folder: &tempfile::TempDir, split: Split) -> String {
        let message = open(folder, split).unwrap_err().to_string();
        message.replace(&folder.path().display().to_string(), "FOLDER")
    }

    #[test]
    fn a_split_is_found_under_each_of_its_names() {
        let examples = testing::examples();
        let (tsv, jsonl) = (testing::tsv(&examples), testing::jsonl(&examples));
        let parquet = parquet(&examples);
        for (name, split, bytes) in [
            ("train.tsv", Split::Train, tsv.as_bytes()),
            ("dev.tsv", Split::Validation, tsv.as_bytes()),
            ("validation.tsv", Split::Validation, tsv.as_bytes()),
            ("test.tsv", Split::Test, tsv.as_bytes()),
            ("val.jsonl", Split::Validation, jsonl.as_bytes()),
            ("RTE/val.jsonl", Split::Validation, jsonl.as_bytes()),
            ("validation.parquet", Split::Validation, &parquet),
            ("train-00000-of-00001.parquet", Split::Train, &parquet),
            ("rte/test-00000-of-00001.parquet", Split::Test, &parquet),
            ("data/train-00000-of-00001-b42a775f407cee45.parquet", Split::Train, &parquet),
        ] {
            let folder = folder(&[(name, bytes)]);
            assert_eq!(open(&folder, split).unwrap().examples(), examples, "{name}");
            assert_eq!(RteDataset::splits(folder.path()).unwrap(), [split], "{name}");
        }
    }

    #[test]
    fn parquet_is_preferred_to_jsonl_to_tsv_and_the_folder_to_its_subfolders() {
        let examples = testing::examples();
        let files = [
            ("validation-00000-of-00001.parquet", parquet(&examples[..1])),
            ("val.jsonl", testing::jsonl(&examples[..2]).into_bytes()),
            ("dev.tsv", testing::tsv(&examples[..3]).into_bytes()),
            ("rte/validation.parquet", parquet(&examples[..4])),
        ];
        for first in 0..files.len() {
            let folder = folder(&files[first..]);
            assert_eq!(open(&folder, Split::Validation).unwrap().len(), first + 1);
        }
    }

    #[test]
    fn shards_are_read_in_order() {
        let examples = testing::examples();
        let folder = folder(&[
            ("train-00001-of-00002.parquet", &parquet(&examples[3..])),
            ("train-00000-of-00002.parquet", &parquet(&examples[..3])),
        ]);
        let dataset = open(&folder, Split::Train).unwrap();
        assert_eq!(dataset.examples(), examples);
        let files: Vec<&str> = dataset.files().collect();
        assert!(files[0].ends_with("train-00000-of-00002.parquet"), "{files:?}");
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn a_missing_shard_is_an_error() {
        let shard = parquet(&testing::examples());
        let folder = folder(&[
            ("train-00000-of-00003.parquet", &shard),
            ("train-00002-of-00003.parquet", &shard),
        ]);
        assert_eq!(
            error(&folder, Split::Train),
            "FOLDER: the train split should have 3 shards, but the folder holds train-00000-of-00003.parquet, train-00002-of-00003.parquet"
        );
    }

    #[test]
    fn a_missing_split_lists_what_was_looked_for_and_what_is_there() {
        let folder = folder(&[("train.tsv", ""), ("rte/README", "")]);
        assert_eq!(
            error(&folder, Split::Test),
            "FOLDER: no test split; looked for test-00000-of-00001.parquet, test.parquet, test.jsonl, test.tsv, test.csv, there and in rte/ and data/; the folder holds rte, train.tsv, rte/README"
        );
        let empty = tempfile::tempdir().unwrap();
        assert!(error(&empty, Split::Train).ends_with("the folder holds nothing"));
    }

    #[test]
    fn a_file_is_read_whatever_the_split_and_without_an_extension() {
        let examples = testing::examples();
        let folder = folder(&[("rows", testing::jsonl(&examples).as_bytes())]);
        let path = folder.path().join("rows");
        assert_eq!(RteDataset::open(&path, Split::Test).unwrap().examples(), examples);
    }

    #[test]
    fn an_empty_or_absent_file_is_an_error() {
        let folder = folder(&[
            ("train.tsv", &b"index\tsentence1\tsentence2\tlabel\n"[..]),
            ("dev.tsv", b""),
            ("test.parquet", &parquet(&[])),
        ]);
        assert_eq!(error(&folder, Split::Train), "FOLDER/train.tsv: holds no examples");
        assert_eq!(error(&folder, Split::Validation), "FOLDER/dev.tsv: holds no examples");
        assert_eq!(error(&folder, Split::Test), "FOLDER/test.parquet: holds no examples");
        let absent = RteDataset::from_file(Path::new("absent.tsv")).unwrap_err().to_string();
        assert!(absent.starts_with("cannot read absent.tsv: "), "{absent}");
    }

    #[test]
    fn the_first_row_without_a_label_is_named() {
        let mut examples = testing::examples();
        let labelled = parquet(&examples);
        examples[2].label = None;
        let folder = folder(&[
            ("train-00000-of-00002.parquet", &labelled),
            ("train-00001-of-00002.parquet", &parquet(&examples)),
            ("test.parquet", &labelled),
        ]);
        open(&folder, Split::Test).unwrap().require_labels().unwrap();
        let error = open(&folder, Split::Train).unwrap().require_labels().unwrap_err().to_string();
        assert!(
            error.ends_with(
                "train-00001-of-00002.parquet, row 3: has no label, and training and evaluation need one in every row"
            ),
            "{error}"
        );
    }

    #[test]
    fn it_is_a_burn_dataset() {
        let examples = testing::examples();
        let folder = folder(&[("dev.tsv", testing::tsv(&examples).as_bytes())]);
        let dataset = open(&folder, Split::Validation).unwrap();
        assert_eq!(dataset.iter().collect::<Vec<_>>(), examples);
        assert_eq!(dataset.get(examples.len()), None);
    }

    #[test]
    fn integers_without_names_are_told_from_names() {
        let examples = testing::examples();
        let folder = folder(&[
            ("train.parquet", &parquet(&examples)[..]),
            ("dev.tsv", testing::tsv(&examples).as_bytes()),
        ]);
        assert!(open(&folder, Split::Train).unwrap().assumed_label_order());
        assert!(!open(&folder, Split::Validation).unwrap().assumed_label_order());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_place_of_a_split_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("train.tsv");
        assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
        let message = error(&folder, Split::Train);
        assert!(message.contains("FOLDER/train.tsv: it is a pipe or a device"), "{message}");
    }
}
