//! Repositories by name, and which of their files are needed.

use std::fmt;
use std::path::Path;

use hf_hub::RepoType;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rte::{Format, RteError, Split, Task};

use super::error::HubError;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A model in Hugging Face's format.
    Model,
    /// A data set, alone or as one task of a collection such as GLUE.
    Data {
        /// The task, which may be one of a collection's.
        task: &'a Task,
        /// The splits without which the data set is of no use.
        needed: &'a [Split],
    },
}

/// `OWNER/NAME[@REVISION]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repo<'a> {
    kind: Kind<'a>,
    /// `OWNER/NAME`.
    pub(crate) id: String,
    /// A branch, a tag or a commit.
    pub(crate) revision: String,
}

/// Required of a model, besides its weights.
const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];

/// Of use with a model that has them.
const OPTIONAL: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// A model's weights, in one file or in shards `model-00001-of-00002.safetensors` with an index.
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// How well-known models and data sets begin that are often named without their owner.
const MODEL_OWNERS: [(&str, &str); 5] = [
    ("albert-", "albert"),
    ("bert-", "google-bert"),
    ("distilbert-", "distilbert"),
    ("roberta-", "FacebookAI"),
    ("xlm-roberta-", "FacebookAI"),
];
const DATA_OWNERS: [(&str, &str); 2] = [("glue", "nyu-mll"), ("super_glue", "aps")];

impl<'a> Repo<'a> {
    /// Read `OWNER/NAME[@REVISION]`; `None` if `text` does not have that form, or names a file of data.
    pub(crate) fn parse(text: &str, kind: Kind<'a>) -> Option<Self> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = id.split_once('/')?;
        let is_file = Format::from_extension(Path::new(name)).is_some();
        let fits = is_part(owner) && is_part(name) && is_safe(revision) && !is_file;
        fits.then(|| Self { kind, id: id.to_owned(), revision: revision.to_owned() })
    }

    /// For hf-hub, which builds addresses and paths of it. It escapes no character of a revision but `/`.
    pub(crate) fn to_hub(&self) -> hf_hub::Repo {
        self.at_commit(&encoded(&self.revision))
    }

    /// The same at a commit.
    pub(crate) fn at_commit(&self, commit: &str) -> hf_hub::Repo {
        let kind = match self.kind {
            Kind::Model => RepoType::Model,
            Kind::Data { .. } => RepoType::Dataset,
        };
        hf_hub::Repo::with_revision(self.id.clone(), kind, commit.to_owned())
    }

    /// Which of a repository's files are needed.
    ///
    /// # Errors
    /// Required files are missing.
    pub(crate) fn wanted(&self, names: &[String]) -> Result<Vec<String>, HubError> {
        let repo = self.to_string();
        match self.kind {
            Kind::Model => {
                model_files(names).map_err(|reason| HubError::Unsuitable { repo, reason })
            }
            Kind::Data { task, needed } => data_files(Path::new(&repo), names, task, needed)
                .map_err(|error| HubError::Data(Box::new(error))),
        }
    }

    /// Whether a snapshot's folder has all files that are needed.
    pub(crate) fn is_in(&self, folder: &Path) -> bool {
        let mut names = Vec::new();
        collect_files(folder, "", &mut names);
        self.wanted(&names).is_ok()
    }
}

impl fmt::Display for Repo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// The full name of a well-known repository that is named without its owner: `albert/albert-base-v2` for
/// `albert-base-v2`.
pub(crate) fn with_owner(name: &str, kind: Kind) -> Option<String> {
    let id = name.split_once('@').map_or(name, |(id, _)| id);
    let owner = match kind {
        Kind::Model => MODEL_OWNERS.iter().find(|(prefix, _)| id.starts_with(prefix)),
        Kind::Data { .. } => DATA_OWNERS.iter().find(|(name, _)| id == *name),
    };
    owner.filter(|_| is_part(id)).map(|(_, owner)| format!("{owner}/{name}"))
}

/// A model's files. What is required comes last: a snapshot that has it was downloaded completely.
fn model_files(names: &[String]) -> Result<Vec<String>, String> {
    let has = |name: &str| names.iter().any(|other| other == name);
    let shards: Vec<&String> = names.iter().filter(|name| shard_count(name).is_some()).collect();
    let count = shards.first().and_then(|name| shard_count(name));
    let mut weights = Vec::new();
    if has(WEIGHTS) {
        weights.push(WEIGHTS);
    } else if has(INDEX) && count == Some(shards.len()) {
        weights.push(INDEX);
        weights.extend(shards.into_iter().map(String::as_str));
    } else if has("pytorch_model.bin") {
        return Err("its weights are a pickled pytorch_model.bin, which could run any code when read; convert it in \
                    Python, AutoModel.from_pretrained(NAME).save_pretrained(FOLDER, safe_serialization=True), and use \
                    --model FOLDER"
            .into());
    }
    let mut missing: Vec<_> = REQUIRED.into_iter().filter(|name| !has(name)).collect();
    missing.extend(weights.is_empty().then_some(WEIGHTS));
    if !missing.is_empty() {
        return Err(format!("there is no {}", missing.join(", no ")));
    }
    let optional = OPTIONAL.into_iter().filter(|name| has(name));
    Ok(optional.chain(REQUIRED).chain(weights).map(str::to_owned).collect())
}

/// The number of shards, if `name` is that of one of them.
fn shard_count(name: &str) -> Option<usize> {
    let numbers = name.strip_prefix("model-")?.strip_suffix(".safetensors")?;
    let (index, count) = numbers.split_once("-of-")?;
    index.parse::<usize>().ok()?;
    count.parse().ok()
}

/// The files of all complete splits, at least of one. Those of the splits that are needed come last, as in
/// [`model_files`].
fn data_files(
    repo: &Path,
    names: &[String],
    task: &Task,
    needed: &[Split],
) -> Result<Vec<String>, RteError> {
    let others = Split::ALL.into_iter().filter(|split| !needed.contains(split));
    let mut files: Vec<String> =
        others.flat_map(|split| task.split_files(repo, names, split).unwrap_or_default()).collect();
    for split in needed {
        files.extend(task.split_files(repo, names, *split)?);
    }
    if files.is_empty() {
        task.split_files(repo, names, Split::Train)?;
    }
    Ok(files)
}

/// The paths of the files below a folder. A link whose file is gone is none.
fn collect_files(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = format!("{prefix}{name}");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_files(&entry.path(), &format!("{name}/"), names);
        } else if entry.path().is_file() {
            names.push(name);
        }
    }
}

/// Text as a part of a URL's path; slashes stay.
pub(crate) fn encoded(text: &str) -> String {
    const ESCAPED: AsciiSet =
        NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
    utf8_percent_encode(text, &ESCAPED).to_string()
}

/// Whether a relative path stays below where it starts, on every system, and can be printed.
pub(crate) fn is_safe(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let odd = |c: char| c.is_control() || c == '\\' || c == ':';
    !path.contains(odd) && path.split('/').all(plain)
}

/// Whether a part of a name is one that the hub allows. (`--` is what the cache puts in the place of `/`.)
fn is_part(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !part.is_empty() && !part.starts_with('.') && !part.contains("--") && part.chars().all(allowed)
}

/// Whether a revision is a commit's full name, which always means the same files.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &[Split] = &[Split::Train, Split::Validation];

    fn task(name: &str) -> Task {
        Task::named(name).expect("a task")
    }

    fn wanted(kind: Kind, names: &[&str]) -> Result<Vec<String>, String> {
        let repo = Repo::parse("owner/name", kind).expect("a name");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        repo.wanted(&names).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_told_from_paths() {
        let parse = |text| Repo::parse(text, Kind::Model).map(|repo| repo.to_string());
        assert_eq!(parse("albert/albert-large-v2").as_deref(), Some("albert/albert-large-v2"));
        assert_eq!(parse("a/b@refs/pr/1").as_deref(), Some("a/b@refs/pr/1"));
        for path in [
            "model",
            "/a/b",
            "./a",
            "../a",
            "a/b/c",
            "a/",
            "a/..",
            "a b/c",
            "a/b@",
            "a/b@../x",
            "a--b/c",
            "data/train.csv",
            "data/dev.PARQUET",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_unsafe() {
        for name in [
            "../x",
            "/x",
            "a/../../x",
            "a//x",
            "C:x",
            "a\\..\\x",
            "",
            ".",
            "a/./b",
            "x\0",
            "x\x1b[2J",
        ] {
            assert!(!is_safe(name), "{name}");
        }
        for name in ["x", "a/x.json", ".gitattributes", "a..b"] {
            assert!(is_safe(name), "{name}");
        }
    }

    #[test]
    fn urls_hold_no_other_letters() {
        let repo = Repo::parse("a/b@refs/pr/1 ?#%", Kind::Model).expect("a name");
        assert_eq!(repo.to_hub().url_revision(), "refs%2Fpr%2F1%20%3F%23%25");
        assert_eq!(encoded("rte/a b-ä.tsv"), "rte/a%20b-%C3%A4.tsv");
    }

    #[test]
    fn only_what_is_used_is_wanted() {
        let model = ["config.json", "flax_model.msgpack", "model.safetensors", "tokenizer.json"];
        assert_eq!(
            wanted(Kind::Model, &model).expect("whole"),
            ["config.json", "tokenizer.json", "model.safetensors"]
        );
        let pickled = ["config.json", "pytorch_model.bin", "tokenizer.json"];
        let error = wanted(Kind::Model, &pickled).expect_err("refused");
        assert!(error.contains("safe_serialization=True"), "{error}");
        let error = wanted(Kind::Model, &["README.md"]).expect_err("refused");
        assert!(error.contains("no config.json"), "{error}");

        let glue =
            ["README.md", "cola/train-00000-of-00001.parquet", "rte/test-00000-of-00001.parquet"];
        let rte = ["rte/train-00000-of-00001.parquet", "rte/validation-00000-of-00001.parquet"];
        let kind = Kind::Data { task: &task("rte"), needed: BOTH };
        let files = wanted(kind, &[&glue[..], &rte].concat()).expect("whole");
        assert_eq!(files, [&glue[2..], &rte].concat());
        assert_eq!(wanted(kind, &["train.tsv", "dev.tsv", "x.tsv"]).expect("whole").len(), 2);
        let error = wanted(kind, &glue).expect_err("no train split in rte/");
        assert!(error.starts_with("owner/name: no train split"), "{error}");
    }

    #[test]
    fn the_matched_splits_of_mnli_are_wanted() {
        let mnli = [
            "mnli/test_matched-00000-of-00001.parquet",
            "mnli/validation_mismatched-00000-of-00001.parquet",
            "mnli/train-00000-of-00001.parquet",
            "mnli/validation_matched-00000-of-00001.parquet",
        ];
        let kind = Kind::Data { task: &task("mnli"), needed: BOTH };
        assert_eq!(wanted(kind, &mnli).expect("whole"), mnli);
        wanted(kind, &mnli[..3]).expect_err("no matched validation split");
    }

    #[test]
    fn only_the_splits_that_a_command_needs_are_required() {
        let task = task("rte");
        let wanted =
            |needed: &[Split], names: &[&str]| wanted(Kind::Data { task: &task, needed }, names);
        assert_eq!(wanted(&[Split::Train], &["train.csv"]).expect("whole"), ["train.csv"]);
        assert_eq!(wanted(&[Split::Test], &["data/test.csv"]).expect("whole"), ["data/test.csv"]);
        wanted(BOTH, &["train.csv"]).expect_err("no validation split");
        // What is needed comes last.
        assert_eq!(
            wanted(&[Split::Train], &["train.csv", "dev.csv"]).expect("whole"),
            ["dev.csv", "train.csv"]
        );
    }

    #[test]
    fn sharded_weights_are_wanted_where_there_is_no_single_file_and_only_if_complete() {
        let wanted = |names: &[&str]| wanted(Kind::Model, names);
        let small = ["special_tokens_map.json", "config.json", "tokenizer.json"];
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let sharded = [&small[..], &[INDEX], &shards].concat();
        assert_eq!(wanted(&sharded).expect("complete"), sharded);
        let single = [&sharded[..], &[WEIGHTS, "training_args.bin"]].concat();
        assert_eq!(wanted(&single).expect("complete"), [&small[..], &[WEIGHTS]].concat());
        for lacking in [&sharded[..5], &[&small[..], &shards].concat(), &sharded[..4]] {
            let error = wanted(lacking).expect_err("a part is missing");
            assert!(error.contains("no model.safetensors"), "{error}");
        }
    }

    #[test]
    fn a_snapshot_is_complete_only_for_the_task_whose_files_it_has() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("mrpc")).expect("made");
        let is_in = |name| {
            let kind = Kind::Data { task: &task(name), needed: BOTH };
            Repo::parse("nyu-mll/glue", kind).expect("a name").is_in(folder.path())
        };
        for shard in ["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"] {
            assert!(!is_in("mrpc"), "before {shard}");
            let name = format!("mrpc/{shard}.parquet");
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        assert!(is_in("mrpc"));
        assert!(!is_in("rte"));
        std::fs::remove_file(folder.path().join("mrpc/train-00000-of-00002.parquet"))
            .expect("removed");
        assert!(!is_in("mrpc"), "one of two shards");
    }

    #[test]
    fn well_known_names_without_an_owner_get_one() {
        let data = Kind::Data { task: &task("rte"), needed: BOTH };
        for (name, kind, full) in [
            ("albert-base-v2", Kind::Model, Some("albert/albert-base-v2")),
            ("bert-base-uncased@main", Kind::Model, Some("google-bert/bert-base-uncased@main")),
            ("roberta-large", Kind::Model, Some("FacebookAI/roberta-large")),
            ("glue", data, Some("nyu-mll/glue")),
            ("output", Kind::Model, None),
            ("albert-base-v2/model", Kind::Model, None),
            ("albert/albert-base-v2", Kind::Model, None),
            ("glue-copy", data, None),
        ] {
            assert_eq!(with_owner(name, kind).as_deref(), full, "{name}");
        }
    }
}
