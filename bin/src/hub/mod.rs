//! Models and data sets by name, from a hub that speaks the Hugging Face hub's HTTP interface.
//!
//! | part | what it is |
//! |---|---|
//! | [`repo`] | `OWNER/NAME[@REVISION]`, and which of its files are wanted |
//! | [`cache`] | the standard cache on the disk, shared with Hugging Face's own libraries |
//! | [`client`] | requests: retries, redirects, the token |
//! | [`download`] | a file, resumed, checked and only then named |
//!
//! Environment variables as everywhere: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`,
//! `HF_HUB_OFFLINE`; and the proxies' `HTTPS_PROXY` and `NO_PROXY`.
//!
//! # Why not the crate `hf-hub`
//!
//! It names a file before its caller could check it, so what it lacks cannot be put around it:
//!
//! | needed | 0.5.0, with `ureq` | 1.0.0, over HTTP |
//! |---|---|---|
//! | the `HF_` variables above | `HF_HOME` and `HF_ENDPOINT` | all but `HF_HUB_OFFLINE` |
//! | 429 and 5xx tried again | a file's bytes, if asked to; its description never | 429, 500, 502 to 504 |
//! | after the pause of `Retry-After` | no | no; the last answer's is told to the caller |
//! | a cut download resumed | yes; a whole answer is appended, too | no |
//! | size, SHA-256 or git's hash checked | no | no |
//! | names that leave the folder refused | no, written to | no |
//! | the token for the hub alone | no, a description's redirect takes it along | yes |
//! | progress | yes | yes |
//! | no asynchronous runtime | yes | no: tokio, reqwest and Xet's client, over 100 crates more |
//!
//! Without its features 0.5.0 is small, but does only what takes a line here: it names the folder of a repository and
//! of a commit. It has no path of blobs or references, overwrites references in place, looks for the token beside the
//! cache instead of in `HF_HOME`, and 1.0.0 has none of these types any more.

pub mod cache;
pub mod client;
pub mod download;
pub mod repo;

use std::path::PathBuf;

use cache::Cache;
use client::Client;
use repo::{Kind, Repo};
use serde::Deserialize;

/// Why something cannot be had from the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The hub knows no such repository, revision or file, or does not tell.
    #[error("{url}: there is no such repository, revision or file, nor a folder of that name here{}", detail(.message))]
    NotFound {
        /// What was asked for.
        url: String,
        /// What the hub says.
        message: String,
    },
    /// The hub wants to know who asks, or does not let them.
    #[error(
        "{url}: the hub refuses access ({status}){}; is the name right? If the repository is private or gated, set HF_TOKEN to \
         a token that may read it", detail(.message)
    )]
    Refused {
        /// What was asked for.
        url: String,
        /// 401 or 403.
        status: u16,
        /// What the hub says.
        message: String,
    },
    /// Another answer than was asked for, also after retries.
    #[error("{url}: the hub answers {status}{}", detail(.message))]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the hub says.
        message: String,
    },
    /// No answer, or not all of it, also after retries.
    #[error(
        "{url}: {reason}; nothing incomplete is used, and a next attempt goes on where this one ended"
    )]
    Transport {
        /// What was asked for.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("{url}: {reason}; this is no hub, or a damaged one")]
    Nonsense {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that is not what the hub says it is.
    #[error("{url}: {reason}; the file was thrown away")]
    Damaged {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A repository without the files that are needed.
    #[error("{repo} has not what is needed: {reason}")]
    Unsuitable {
        /// Its name.
        repo: String,
        /// What it lacks.
        reason: String,
    },
    /// Nothing in the cache, and no network wanted.
    #[error("{repo} is not in the cache {}, and HF_HUB_OFFLINE forbids to fetch it", .cache.display())]
    NotCached {
        /// Its name.
        repo: String,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// A file of the cache.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl HubError {
    fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// When a repository that is in the cache is looked up on the hub all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Never.
    Cached,
    /// Always, unless `HF_HUB_OFFLINE` forbids it.
    Latest,
}

/// What the hub says of a revision.
#[derive(Deserialize)]
struct Revision {
    /// The commit.
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
}

/// The folder with a repository's wanted files, fetched if need be. Says on standard error where they come from.
///
/// # Errors
/// All of [`HubError`].
pub fn snapshot(repo: &Repo, freshness: Freshness) -> Result<PathBuf, HubError> {
    let cache = Cache::from_env();
    let cached = cache.find(repo);
    let offline = std::env::var("HF_HUB_OFFLINE")
        .is_ok_and(|value| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str()));
    match cached {
        Some(folder) if offline || freshness == Freshness::Cached => {
            eprintln!("{repo}: from the cache, {}", folder.display());
            return Ok(folder);
        }
        None if offline => {
            return Err(HubError::NotCached {
                repo: repo.to_string(),
                cache: cache.folder().into(),
            });
        }
        _ => {}
    }
    let client = Client::from_env();
    let url = format!(
        "{}/api/{}/revision/{}",
        client.endpoint(),
        repo.api_path(),
        repo.revision_in_url()
    );
    let revision: Revision = client.json(&url)?;
    if !repo::is_commit(&revision.sha) {
        let reason = format!("the commit is called {:?}", revision.sha);
        return Err(HubError::Nonsense { url, reason });
    }
    let names: Vec<String> = revision.siblings.into_iter().map(|sibling| sibling.name).collect();
    if let Some(name) = names.iter().find(|name| !repo::is_safe(name)) {
        let reason = format!("a file is called {name:?}, which lies outside the repository");
        return Err(HubError::Nonsense { url, reason });
    }
    for name in repo.wanted(&names)? {
        let file = repo::name_in_url(&name);
        let url =
            format!("{}/{}/resolve/{}/{file}", client.endpoint(), repo.url_path(), revision.sha);
        let blob = download::blob(&client, &cache.blobs(repo), &url, &name)?;
        cache.link(repo, &revision.sha, &name, &blob)?;
    }
    // Last, so that a revision that can be found is whole.
    cache.remember(repo, &revision.sha)?;
    let folder = cache.snapshot(repo, &revision.sha);
    eprintln!("{repo}: fetched, {}", folder.display());
    Ok(folder)
}

/// The folder of a model, if `name` is that of one on the hub and of nothing on the disk.
///
/// # Errors
/// As [`snapshot`].
pub fn model(name: &std::path::Path, freshness: Freshness) -> Result<Option<PathBuf>, HubError> {
    named(name, Kind::Model, freshness)
}

/// The folder of a data set, in the same way.
///
/// # Errors
/// As [`snapshot`].
pub fn data(name: &std::path::Path, freshness: Freshness) -> Result<Option<PathBuf>, HubError> {
    named(name, Kind::Data, freshness)
}

fn named(
    name: &std::path::Path,
    kind: Kind,
    freshness: Freshness,
) -> Result<Option<PathBuf>, HubError> {
    let repo = name.to_str().and_then(|name| Repo::parse(name, kind));
    match repo {
        Some(repo) if !name.exists() => snapshot(&repo, freshness).map(Some),
        _ => Ok(None),
    }
}
