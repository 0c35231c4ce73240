//! The cache on the disk, as Hugging Face's libraries lay it out:
//!
//! ```text
//! models--OWNER--NAME/refs/REVISION            the commit that a revision stood for
//! models--OWNER--NAME/blobs/HASH               a file
//! models--OWNER--NAME/snapshots/COMMIT/FILE    a link to it
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::HubError;
use super::repo::{Repo, is_commit};
use crate::ProgramError;
use crate::resume::file;

/// A cache.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// In `HF_HUB_CACHE`, or `HF_HOME/hub`, or `~/.cache/huggingface/hub`.
    pub fn from_env() -> Self {
        let folder = match std::env::var_os("HF_HUB_CACHE") {
            Some(folder) => folder.into(),
            None => home().join("hub"),
        };
        Self { folder }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the files of a repository are.
    pub fn blobs(&self, repo: &Repo) -> PathBuf {
        self.folder.join(repo.folder()).join("blobs")
    }

    /// The files of a commit, under their names.
    pub fn snapshot(&self, repo: &Repo, commit: &str) -> PathBuf {
        self.folder.join(repo.folder()).join("snapshots").join(commit)
    }

    fn reference(&self, repo: &Repo) -> PathBuf {
        self.folder.join(repo.folder()).join("refs").join(repo.revision())
    }

    /// The wanted files of a repository, if all of them are there.
    pub fn find(&self, repo: &Repo) -> Option<PathBuf> {
        let commit = match is_commit(repo.revision()) {
            true => repo.revision().to_owned(),
            false => fs::read_to_string(self.reference(repo)).ok()?.trim().to_owned(),
        };
        let folder = is_commit(&commit).then(|| self.snapshot(repo, &commit))?;
        repo.is_in(&folder).then_some(folder)
    }

    /// Give a file its name in a commit.
    pub(super) fn link(
        &self,
        repo: &Repo,
        commit: &str,
        name: &str,
        blob: &Path,
    ) -> Result<(), HubError> {
        let path = self.snapshot(repo, commit).join(name);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(HubError::io("replace", &path)(error));
            }
            _ => {}
        }
        let up = "../".repeat(2 + name.matches('/').count());
        let hash = blob.file_name().unwrap_or_default();
        link(&Path::new(&up).join("blobs").join(hash), blob, &path)
            .map_err(HubError::io("write", &path))
    }

    /// Note the commit that a revision stands for.
    pub(super) fn remember(&self, repo: &Repo, commit: &str) -> Result<(), HubError> {
        if is_commit(repo.revision()) {
            return Ok(());
        }
        let path = self.reference(repo);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
        file::write(&path, commit.as_bytes()).map_err(|error| match error {
            ProgramError::Io { action, path, source } => HubError::Io { action, path, source },
            other => HubError::Io { action: "write", path, source: std::io::Error::other(other) },
        })
    }
}

/// A link relative to its folder, so that the cache can be moved; where there are no links, a copy.
fn link(relative: &Path, blob: &Path, path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let _ = blob;
        std::os::unix::fs::symlink(relative, path)
    }
    #[cfg(not(unix))]
    {
        let _ = relative;
        fs::copy(blob, path).map(|_| ())
    }
}

/// `HF_HOME`, or `huggingface` among the user's caches.
pub fn home() -> PathBuf {
    if let Some(home) = std::env::var_os("HF_HOME") {
        return home.into();
    }
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let user = || std::env::home_dir().unwrap_or_default().join(".cache");
    caches.unwrap_or_else(user).join("huggingface")
}
