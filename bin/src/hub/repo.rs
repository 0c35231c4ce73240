//! Repositories by name, and which of their files are wanted.

use std::fmt;
use std::path::Path;

use super::HubError;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model in Hugging Face's format.
    Model,
    /// RTE, alone or as the `rte` of a collection such as GLUE.
    Data,
}

/// `OWNER/NAME[@REVISION]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    kind: Kind,
    owner: String,
    name: String,
    /// A branch, a tag or a commit.
    revision: String,
}

/// The files of a model; the last may be missing.
const MODEL_FILES: [&str; 4] =
    ["config.json", "tokenizer.json", "model.safetensors", "tokenizer_config.json"];

/// Where a data set may have its files, best first.
const DATA_FOLDERS: [&str; 4] = ["rte", "RTE", "data", ""];

impl Repo {
    /// Read `OWNER/NAME[@REVISION]`; nothing if `text` is no such thing.
    pub fn parse(text: &str, kind: Kind) -> Option<Self> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = id.split_once('/')?;
        let well_formed = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
        };
        let fits = well_formed(owner) && well_formed(name) && is_safe(revision);
        let [owner, name, revision] = [owner, name, revision].map(str::to_owned);
        fits.then_some(Self { kind, owner, name, revision })
    }

    /// Of a model or of data.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A branch, a tag or a commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The revision as a part of a URL's path.
    pub fn revision_in_url(&self) -> String {
        encoded(&self.revision)
    }

    /// Its folder in the cache.
    pub fn folder(&self) -> String {
        let Self { owner, name, .. } = self;
        match self.kind {
            Kind::Model => format!("models--{owner}--{name}"),
            Kind::Data => format!("datasets--{owner}--{name}"),
        }
    }

    /// `models/OWNER/NAME`.
    pub fn api_path(&self) -> String {
        let Self { owner, name, .. } = self;
        match self.kind {
            Kind::Model => format!("models/{owner}/{name}"),
            Kind::Data => format!("datasets/{owner}/{name}"),
        }
    }

    /// `OWNER/NAME`, and for data sets `datasets/OWNER/NAME`.
    pub fn url_path(&self) -> String {
        let Self { owner, name, .. } = self;
        match self.kind {
            Kind::Model => format!("{owner}/{name}"),
            Kind::Data => format!("datasets/{owner}/{name}"),
        }
    }

    /// Which of a repository's files are needed.
    ///
    /// # Errors
    /// Some of them are missing.
    pub fn wanted(&self, names: &[String]) -> Result<Vec<String>, HubError> {
        let has = |name: &str| names.iter().any(|other| other == name);
        let unsuitable = |reason: String| HubError::Unsuitable { repo: self.to_string(), reason };
        match self.kind {
            Kind::Model => {
                let [required @ .., _] = MODEL_FILES;
                let missing: Vec<&str> = required.into_iter().filter(|name| !has(name)).collect();
                if missing == ["model.safetensors"] && has("pytorch_model.bin") {
                    return Err(unsuitable(
                        "its weights are a pickled pytorch_model.bin, which could run any code when read; convert it in \
                         Python, AlbertModel.from_pretrained(NAME).save_pretrained(FOLDER, safe_serialization=True), and use \
                         --model FOLDER"
                            .into(),
                    ));
                }
                if !missing.is_empty() {
                    return Err(unsuitable(format!("there is no {}", missing.join(", no "))));
                }
                Ok(MODEL_FILES.into_iter().filter(|name| has(name)).map(str::to_owned).collect())
            }
            Kind::Data => {
                let in_folder = |folder: &str| -> Vec<String> {
                    names.iter().filter(|name| is_split(name, folder)).cloned().collect()
                };
                let files = DATA_FOLDERS.into_iter().map(in_folder).find(|files| is_whole(files));
                files.ok_or_else(|| {
                    unsuitable("no train and validation split in rte/, data/ or at its top".into())
                })
            }
        }
    }

    /// Whether a snapshot's folder holds what is wanted.
    pub fn is_in(&self, folder: &Path) -> bool {
        match self.kind {
            Kind::Model => {
                let [required @ .., _] = MODEL_FILES;
                required.into_iter().all(|name| folder.join(name).is_file())
            }
            Kind::Data => DATA_FOLDERS.into_iter().any(|subfolder| {
                let entries = std::fs::read_dir(folder.join(subfolder)).into_iter().flatten();
                // A link whose file is gone is none.
                let whole = entries.flatten().filter(|entry| entry.path().is_file());
                let names = whole.filter_map(|entry| entry.file_name().into_string().ok());
                is_whole(&names.filter(|name| is_split(name, "")).collect::<Vec<_>>())
            }),
        }
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        if self.revision == "main" { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

/// Text as one part of a URL's path.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A file's name in a URL, its folders apart.
pub fn name_in_url(name: &str) -> String {
    name.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

/// Whether `name` is a split's file directly in `folder`.
fn is_split(name: &str, folder: &str) -> bool {
    let (parent, file) = name.rsplit_once('/').unwrap_or(("", name));
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    parent == folder
        && ["parquet", "jsonl", "tsv"].contains(&extension)
        && ["train", "validation", "val", "dev", "test"]
            .iter()
            .any(|split| file.strip_prefix(split).is_some_and(|rest| rest.starts_with(['.', '-'])))
}

/// Whether there are splits to train and to evaluate on among some files of one folder.
fn is_whole(files: &[String]) -> bool {
    let is_there = |splits: &[&str]| {
        let file = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
        files.iter().map(file).any(|file| splits.iter().any(|split| file.starts_with(split)))
    };
    is_there(&["train"]) && is_there(&["val", "dev"])
}

/// Whether a relative path stays where it starts, on every system.
pub fn is_safe(path: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    !path.contains(['\\', ':', '\0']) && path.split('/').all(plain)
}

/// Whether a revision is a commit's full name, which always means the same files.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let parse = |text| Repo::parse(text, Kind::Model).map(|repo| repo.to_string());
        assert_eq!(parse("albert/albert-large-v2").as_deref(), Some("albert/albert-large-v2"));
        assert_eq!(parse("a/b@refs/pr/1").as_deref(), Some("a/b@refs/pr/1"));
        for path in
            ["model", "/a/b", "./a", "../a", "a/b/c", "a/", "a/..", "a b/c", "a/b@", "a/b@../x"]
        {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_unsafe() {
        for name in ["../x", "/x", "a/../../x", "a//x", "C:x", "a\\..\\x", "", ".", "a/./b", "x\0"]
        {
            assert!(!is_safe(name), "{name}");
        }
        for name in ["x", "a/x.json", ".gitattributes", "a..b"] {
            assert!(is_safe(name), "{name}");
        }
    }

    #[test]
    fn urls_hold_no_other_letters() {
        let repo = Repo::parse("a/b@refs/pr/1 ?#%", Kind::Model).expect("a name");
        assert_eq!(repo.revision_in_url(), "refs%2Fpr%2F1%20%3F%23%25");
        assert_eq!(name_in_url("rte/a b-ä.tsv"), "rte/a%20b-%C3%A4.tsv");
    }

    #[test]
    fn only_what_is_used_is_wanted() {
        let wanted = |kind, names: &[&str]| {
            let repo = Repo::parse("owner/name", kind).expect("a name");
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            repo.wanted(&names).map_err(|error| error.to_string())
        };
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
        let files = wanted(Kind::Data, &[&glue[..], &rte].concat()).expect("whole");
        assert_eq!(files, [&glue[2..], &rte].concat());
        assert_eq!(wanted(Kind::Data, &["train.tsv", "dev.tsv", "x.tsv"]).expect("whole").len(), 2);
        wanted(Kind::Data, &glue).expect_err("no train split in rte/");
    }
}
