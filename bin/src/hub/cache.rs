//! The cache on the disk, with the layout and the locks of Hugging Face's libraries:
//!
//! ```text
//! models--OWNER--NAME/refs/REVISION            the commit of a branch or tag
//! models--OWNER--NAME/blobs/HASH               a file
//! models--OWNER--NAME/snapshots/COMMIT/FILE    a link to it
//! .locks/models--OWNER--NAME/HASH.lock         locked while it is downloaded
//! ```

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::HubError;
use super::listing::RemoteFile;
use super::repo::{Repo, is_commit};
use crate::environment;
use crate::terminal::notice;

/// The folder that holds all repositories, and the names in it.
#[derive(Debug)]
pub(crate) struct Cache(hf_hub::Cache);

impl Cache {
    /// In `HF_HUB_CACHE`, or `HF_HOME/hub`, or `~/.cache/huggingface/hub`.
    pub(crate) fn from_env() -> Self {
        Self::new(environment::path("HF_HUB_CACHE").unwrap_or_else(|| home().join("hub")))
    }

    /// In a given folder.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(hf_hub::Cache::new(folder))
    }

    /// The folder itself.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Where a file is, or will be.
    pub(crate) fn blob(&self, repo: &Repo, file: &RemoteFile) -> PathBuf {
        self.0.repo(repo.to_hub()).blob_path(&file.hash)
    }

    /// The folder with the files of a commit under their own names.
    pub(crate) fn snapshot(&self, repo: &Repo, commit: &str) -> PathBuf {
        self.0.repo(repo.to_hub()).pointer_path(commit)
    }

    fn reference(&self, repo: &Repo) -> PathBuf {
        self.folder().join(repo.to_hub().folder_name()).join("refs").join(&repo.revision)
    }

    /// The snapshot of a repository, if it has all the files that are needed.
    pub(crate) fn find(&self, repo: &Repo) -> Option<PathBuf> {
        let commit = match is_commit(&repo.revision) {
            true => repo.revision.clone(),
            false => fs::read_to_string(self.reference(repo)).ok()?.trim().to_owned(),
        };
        let folder = is_commit(&commit).then(|| self.snapshot(repo, &commit))?;
        repo.is_in(&folder).then_some(folder)
    }

    /// Keep other processes from downloading the same file for as long as the lock's file is open. Waits for them.
    ///
    /// # Errors
    /// A lock that cannot be created or taken.
    pub(crate) fn lock(&self, repo: &Repo, file: &RemoteFile) -> Result<File, HubError> {
        let folder = self.folder().join(".locks").join(repo.to_hub().folder_name());
        fs::create_dir_all(&folder).map_err(HubError::io("create", &folder))?;
        let path = folder.join(format!("{}.lock", file.hash));
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        let lock = options.open(&path).map_err(HubError::io("create", &path))?;
        let locked = match lock.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                notice(format_args!("{}: another process is downloading it, waiting", file.name));
                lock.lock()
            }
            // Some network file systems have no locks.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(()),
            Err(TryLockError::Error(error)) => Err(error),
        };
        locked.map(|()| lock).map_err(HubError::io("lock", &path))
    }

    /// Give a file its name in a commit. The link is made under another name and renamed: whichever of several
    /// processes comes last replaces the same link.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub(crate) fn link(
        &self,
        repo: &Repo,
        commit: &str,
        name: &str,
        blob: &Path,
    ) -> Result<(), HubError> {
        let path = self.snapshot(repo, commit).join(name);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
        let up = "../".repeat(2 + name.matches('/').count());
        let target = Path::new(&up).join("blobs").join(blob.file_name().unwrap_or_default());
        if fs::read_link(&path).is_ok_and(|existing| existing == target) {
            return Ok(());
        }
        tempfile::Builder::new()
            .prefix(".link-")
            .make_in(folder, |temporary| link(&target, blob, temporary))
            .and_then(|link| Ok(link.persist(&path)?))
            .map_err(HubError::io("write", &path))?;
        Ok(())
    }

    /// Note the commit of a branch or tag.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub(crate) fn remember(&self, repo: &Repo, commit: &str) -> Result<(), HubError> {
        if is_commit(&repo.revision) {
            return Ok(());
        }
        let path = self.reference(repo);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
        files::write(&path, commit.as_bytes()).map_err(HubError::io("write", &path))
    }
}

/// A link relative to its folder, so that the cache can be moved; a copy where links need privileges.
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

/// `HF_HOME`, or `huggingface` among the user's caches. (`hf_hub::Cache::from_env` knows neither `HF_HUB_CACHE` nor
/// `XDG_CACHE_HOME`, and panics where there is no home folder.)
pub(crate) fn home() -> PathBuf {
    environment::path("HF_HOME").unwrap_or_else(|| {
        environment::user_cache().unwrap_or_else(|| ".cache".into()).join("huggingface")
    })
}
