//! A split as a Burn dataset.

use std::path::Path;

use burn::data::dataset::Dataset;
use files::FileKind;

use crate::{Example, Format, RteError, Split, Task, discovery, error::Place, text::listed};

/// The examples of one split, in the order of their files, held in memory.
#[derive(Debug, Clone)]
pub struct TextDataset {
    examples: Vec<Example>,
    task: Task,
    files: Vec<String>,
    first_unlabelled: Option<Place>,
    dropped: usize,
    assumed_label_order: bool,
}

impl TextDataset {
    /// Opens a split: of a folder, or, where `path` is a file, that file whatever the split.
    ///
    /// A folder is searched before its subfolders with the task's name (`rte`, `RTE`) and `data`. A split is a file
    /// `train`, `validation` (or `val`, `dev`) or `test` with the extension `parquet`, `jsonl`, `tsv` or `csv`,
    /// preferred in that order where there are several, or the hub's Parquet shards such as
    /// `train-00000-of-00001.parquet`. MNLI's validation and test splits end in `_matched` and `_mismatched`.
    ///
    /// A task without labels takes those of this split, which should be the training split; [`TextDataset::task`] then
    /// has them and opens the others. In SNLI and MNLI, pairs on which annotators did not agree are dropped from all
    /// splits but the test splits; [`TextDataset::dropped`] counts them.
    ///
    /// # Errors
    ///
    /// A folder without the split (the error lists what was looked for and what is there), a shard missing, a split
    /// without an example, and those of [`Format::read`].
    pub fn open(path: &Path, task: &Task, split: Split) -> Result<Self, RteError> {
        let mut dataset = if path.is_dir() {
            Self::from_files(&discovery::find(path, task, split)?, task)?
        } else {
            Self::from_file(path, task)?
        };
        let has_disagreement = task.preset().is_some_and(|preset| !preset.no_gold_label.is_empty());
        if has_disagreement && !matches!(split, Split::Test | Split::TestMismatched) {
            dataset.drop_unlabelled();
        }
        Ok(dataset)
    }

    /// Opens one file and keeps all its rows; the extension tells its format, the content where the extension does not.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or holds no example, and those of [`Format::read`].
    pub fn from_file(path: &Path, task: &Task) -> Result<Self, RteError> {
        Self::from_files(&[path], task)
    }

    /// A split of examples that come from no file; `name` is what errors call their source.
    pub fn from_examples(examples: Vec<Example>, task: &Task, name: &str) -> Self {
        let unlabelled = examples.iter().position(|example| example.label.is_none());
        Self {
            examples,
            task: task.clone(),
            files: vec![name.to_owned()],
            first_unlabelled: unlabelled.map(|row| Place::row(name, row + 1)),
            dropped: 0,
            assumed_label_order: false,
        }
    }

    fn from_files(paths: &[impl AsRef<Path>], task: &Task) -> Result<Self, RteError> {
        let mut rows = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let name = path.display().to_string();
            let bytes = files::read(path, FileKind::Data)
                .map_err(|source| RteError::Io { file: name.clone(), source })?;
            let format = Format::from_extension(path).unwrap_or_else(|| Format::of_content(&bytes));
            rows.push(format.rows(bytes, &name, task)?);
        }
        let names: Vec<String> = rows.iter().map(|rows| rows.file.clone()).collect();
        if rows.iter().all(|rows| rows.rows.is_empty()) {
            return Err(RteError::Empty { file: listed(names) });
        }
        let mut task = task.clone();
        if task.labels.is_empty() {
            task.labels = task.labels_of(&rows)?;
        }
        let mut dataset = Self::from_examples(Vec::new(), &task, "");
        dataset.files = names;
        for rows in rows {
            dataset.dropped += rows.skipped;
            let read = task.examples(rows, dataset.examples.len())?;
            dataset.examples.extend(read.examples);
            dataset.assumed_label_order |= read.assumed_label_order;
            dataset.first_unlabelled = dataset.first_unlabelled.or(read.first_unlabelled);
        }
        Ok(dataset)
    }

    /// Whether [`TextDataset::open`] finds the split in a folder.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read, or a split of which a shard is missing.
    pub fn has_split(folder: &Path, task: &Task, split: Split) -> Result<bool, RteError> {
        match discovery::find(folder, task, split) {
            Ok(_) => Ok(true),
            Err(RteError::MissingSplit { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The examples, in order.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The task, with its labels.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The paths of the files the examples came from, in order.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// Whether integer labels came without names, so that they were taken for indices into [`Task::labels`].
    pub fn assumed_label_order(&self) -> bool {
        self.assumed_label_order
    }

    /// How many rows were dropped: pairs on which annotators did not agree, and rows cut short in QQP's published file.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Checks that every example has a label.
    ///
    /// # Errors
    ///
    /// [`RteError::Unlabelled`] with the place of the first that has none.
    pub fn require_labels(&self) -> Result<(), RteError> {
        match &self.first_unlabelled {
            Some(place) => Err(RteError::Unlabelled { place: place.clone() }),
            None => Ok(()),
        }
    }

    fn drop_unlabelled(&mut self) {
        let before = self.examples.len();
        // A split without any label has none to disagree on; it is left for `require_labels` to refuse.
        if self.examples.iter().any(|example| example.label.is_some()) {
            self.examples.retain(|example| example.label.is_some());
            self.first_unlabelled = None;
        }
        self.dropped += before - self.examples.len();
    }

    /// Keeps only the examples at these positions.
    pub(crate) fn select(&self, positions: &[usize]) -> Self {
        let examples: Vec<Example> =
            positions.iter().map(|position| self.examples[*position].clone()).collect();
        let is_labelled = examples.iter().all(|example| example.label.is_some());
        Self {
            examples,
            task: self.task.clone(),
            files: self.files.clone(),
            first_unlabelled: self.first_unlabelled.clone().filter(|_| !is_labelled),
            ..*self
        }
    }
}

impl Dataset<Example> for TextDataset {
    fn get(&self, index: usize) -> Option<Example> {
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
    use crate::testing::{self, Column, HUB_SCHEMA, hub_columns, hub_properties, parquet_file};

    fn parquet(examples: &[Example]) -> Vec<u8> {
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

    fn open(folder: &tempfile::TempDir, split: Split) -> Result<TextDataset, RteError> {
        TextDataset::open(folder.path(), &testing::rte(), split)
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
            for other in Split::ALL {
                let has_split = TextDataset::has_split(folder.path(), &testing::rte(), other);
                assert_eq!(has_split.unwrap(), other == split, "{name}");
            }
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
    fn rows_without_numbers_are_numbered_across_shards() {
        let own = Task::from_columns("text", None, "label", vec![]).unwrap();
        let schema = "message schema { required binary text; required binary label; }";
        let columns = vec![Column::text(&["x", "y"]), Column::text(&["a", "b"])];
        let shard = parquet_file(schema, &[columns], hub_properties());
        let folder = folder(&[
            ("train-00000-of-00002.parquet", &shard),
            ("train-00001-of-00002.parquet", &shard),
        ]);
        let dataset = TextDataset::open(folder.path(), &own, Split::Train).unwrap();
        let numbers: Vec<usize> = dataset.examples().iter().map(|example| example.idx).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
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
            "FOLDER: no test split; looked for test-00000-of-00001.parquet, test.parquet, test.jsonl, test.tsv, test.csv in the folder itself and in the subfolders rte, RTE, data; the folder holds rte, train.tsv, rte/README"
        );
        let empty = tempfile::tempdir().unwrap();
        assert!(error(&empty, Split::Train).ends_with("the folder holds nothing"));
    }

    #[test]
    fn a_file_is_read_whatever_the_split_and_without_an_extension() {
        let examples = testing::examples();
        let folder = folder(&[("rows", testing::jsonl(&examples).as_bytes())]);
        let path = folder.path().join("rows");
        assert_eq!(
            TextDataset::open(&path, &testing::rte(), Split::Test).unwrap().examples(),
            examples
        );
    }

    #[test]
    fn an_empty_or_absent_file_is_an_error() {
        let folder = folder(&[
            ("train.tsv", &b"index\tsentence1\tsentence2\tlabel\n"[..]),
            ("dev.tsv", b""),
            ("test.parquet", &parquet(&[])),
        ]);
        assert_eq!(error(&folder, Split::Train), "FOLDER/train.tsv contains no examples");
        assert_eq!(error(&folder, Split::Validation), "FOLDER/dev.tsv contains no examples");
        assert_eq!(error(&folder, Split::Test), "FOLDER/test.parquet contains no examples");
        let absent = TextDataset::from_file(Path::new("absent.tsv"), &testing::rte())
            .unwrap_err()
            .to_string();
        assert!(absent.starts_with("cannot read absent.tsv: "), "{absent}");
        let absent = TextDataset::has_split(Path::new("absent"), &testing::rte(), Split::Train);
        let absent = absent.unwrap_err();
        assert!(absent.to_string().starts_with("cannot read absent/: "), "{absent}");
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
                "train-00001-of-00002.parquet, row 3: the label is missing; training and evaluation need one in every row"
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

    #[test]
    fn pairs_without_a_gold_label_are_dropped_and_counted() {
        let snli = Task::named("snli").unwrap();
        let rows = "gold_label\tsentence1\tsentence2\n-\ta\tb\nneutral\tc\td\n";
        let hub = r#"{"premise": "a", "hypothesis": "b", "label": -1}
            {"premise": "c", "hypothesis": "d", "label": 1}"#;
        let folder = folder(&[("dev.tsv", rows), ("train.jsonl", hub), ("test.tsv", rows)]);
        let open = |split| TextDataset::open(folder.path(), &snli, split).unwrap();
        for split in [Split::Train, Split::Validation] {
            let dataset = open(split);
            dataset.require_labels().unwrap();
            assert_eq!((dataset.len(), dataset.dropped()), (1, 1));
            assert_eq!((dataset.examples[0].label, &*dataset.examples[0].text), (Some(1), "c"));
        }
        assert_eq!((open(Split::Test).len(), open(Split::Test).dropped()), (2, 0));
    }

    #[test]
    fn mnli_has_matched_and_mismatched_splits() {
        let mnli = Task::named("mnli").unwrap();
        let rows = |text: &str| format!("sentence1\tsentence2\tgold_label\n{text}\tb\tneutral\n");
        let folder = folder(&[
            ("MNLI/dev_matched.tsv", rows("matched")),
            ("MNLI/dev_mismatched.tsv", rows("mismatched")),
        ]);
        let splits = [Split::Validation, Split::ValidationMismatched];
        for split in Split::ALL {
            let has_split = TextDataset::has_split(folder.path(), &mnli, split).unwrap();
            assert_eq!(has_split, splits.contains(&split), "{split}");
        }
        let text = |split| {
            TextDataset::open(folder.path(), &mnli, split).unwrap().examples[0].text.clone()
        };
        assert_eq!(text(Split::Validation), "matched");
        assert_eq!(text(Split::ValidationMismatched), "mismatched");
    }
}
