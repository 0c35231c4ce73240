//! What the hub says about a revision: its commit, and the name, size and hash of each file.

use serde::Deserialize;

use super::error::HubError;
use super::repo::{Repo, is_commit, is_safe};

/// A commit and its files.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The commit's full name.
    pub commit: String,
    files: Vec<RemoteFile>,
}

/// A file on the hub.
#[derive(Debug)]
pub(crate) struct RemoteFile {
    /// Its path in the repository.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// The SHA-256 of a large file (64 hexadecimal digits), or git's SHA-1 of another one (40).
    pub hash: String,
}

impl Listing {
    /// Read the answer of the hub.
    ///
    /// # Errors
    /// What is wrong with it: other JSON, or a commit, file name or hash that cannot be one and might lead to a path
    /// outside the cache.
    pub(crate) fn parse(json: &str) -> Result<Self, String> {
        let Answer { sha, siblings } =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        if !is_commit(&sha) {
            return Err(format!("the commit is called {sha:?}"));
        }
        let files = siblings.into_iter().map(Sibling::into_file).collect::<Result<_, _>>()?;
        Ok(Self { commit: sha, files })
    }

    /// The files that are needed of `repo`.
    ///
    /// # Errors
    /// As [`Repo::wanted`].
    pub(crate) fn wanted(
        &self,
        repo: &Repo,
    ) -> Result<impl Iterator<Item = &RemoteFile>, HubError> {
        let names: Vec<String> = self.files.iter().map(|file| file.name.clone()).collect();
        let wanted = repo.wanted(&names)?;
        let find = |name: String| self.files.iter().find(|file| file.name == name);
        Ok(wanted.into_iter().filter_map(find))
    }
}

/// The answer to `GET /api/…/revision/…?blobs=true`.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
    size: Option<u64>,
    blob_id: Option<String>,
    /// Of a large file, whose `blob_id` is that of a pointer to it.
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Sibling {
    fn into_file(self) -> Result<RemoteFile, String> {
        let Self { name, size, blob_id, lfs } = self;
        if !is_safe(&name) {
            return Err(format!("a file is called {name:?}, which lies outside the repository"));
        }
        let (hash, digits, size) = match lfs {
            Some(Lfs { sha256, size }) => (Some(sha256), 64, Some(size)),
            None => (blob_id, 40, size),
        };
        let (Some(hash), Some(size)) = (hash, size) else {
            return Err(format!("the size or the hash of {name} is missing"));
        };
        if hash.len() != digits || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("the hash of {name} is {hash:?}, not {digits} hexadecimal digits"));
        }
        Ok(RemoteFile { name, size, hash: hash.to_ascii_lowercase() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::hub::repo::Kind;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn listing(siblings: Value) -> Result<Listing, String> {
        Listing::parse(&json!({ "sha": COMMIT, "siblings": siblings }).to_string())
    }

    #[test]
    fn a_large_file_has_the_size_and_hash_of_its_content_not_of_the_pointer_to_it() {
        let lfs =
            json!({ "sha256": "AB".repeat(32), "size": 5_000_000_000_u64, "pointerSize": 134 });
        let siblings = ["config.json", "tokenizer.json", "model.safetensors"].map(|name| {
            let lfs = if name == "model.safetensors" { lfs.clone() } else { Value::Null };
            json!({ "rfilename": name, "size": 3, "blobId": COMMIT, "lfs": lfs })
        });
        let listing = listing(json!(siblings)).expect("read");
        let repo = Repo::parse("a/b", Kind::Model).expect("a name");
        let files: Vec<_> = listing.wanted(&repo).expect("complete").collect();
        let file = |name| files.iter().find(|file| file.name == name).expect("wanted");
        let (config, weights) = (file("config.json"), file("model.safetensors"));
        assert_eq!((config.size, config.hash.as_str()), (3, COMMIT));
        assert_eq!((weights.size, weights.hash.as_str()), (5_000_000_000, &*"ab".repeat(32)));
    }

    #[test]
    fn an_answer_that_could_lead_elsewhere_is_refused() {
        let file =
            |name: &str, hash: &str| json!([{ "rfilename": name, "size": 1, "blobId": hash }]);
        listing(file("a", COMMIT)).expect("as it should be");
        for hash in ["", "../../../../evil", &COMMIT[1..], &"z".repeat(40), &"a".repeat(64)] {
            let error = listing(file("a", hash)).expect_err("refused");
            assert!(error.contains("hexadecimal"), "{error}");
        }
        let error = listing(file("../a", COMMIT)).expect_err("refused");
        assert!(error.contains("outside"), "{error}");
        let error = listing(json!([{ "rfilename": "a" }])).expect_err("refused");
        assert!(error.contains("size or the hash of a"), "{error}");
        let error = Listing::parse(r#"{ "sha": "../x", "siblings": [] }"#).expect_err("refused");
        assert!(error.contains("../x"), "{error}");
        Listing::parse("<html>").expect_err("no JSON");
    }
}
