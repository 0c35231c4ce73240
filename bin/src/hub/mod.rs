//! Models and data sets by name, from the Hugging Face hub or one that speaks its HTTP interface.
//!
//! | module | what it is |
//! |---|---|
//! | [`repo`] | `OWNER/NAME[@REVISION]`, and which files of a repository are needed |
//! | [`listing`] | the commit of a revision, with the name, size and hash of each file |
//! | [`cache`] | the standard cache on the disk, shared with Hugging Face's own libraries |
//! | [`client`] | HTTP requests: the endpoint, the token, retries |
//! | [`download`] | one file: locked, resumed, verified and only then named |
//!
//! Environment variables as in Hugging Face's own libraries: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`,
//! `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`; and `HTTPS_PROXY` and `NO_PROXY`.
//!
//! # What the crate `hf-hub` does here, and what it does not
//!
//! [`hf_hub`] knows the hub's addresses, the layout of its cache and the token file, and asks for a repository's
//! listing. Its `download` and `get` are never called. In version 0.5.0 they verify neither size nor hash, send the
//! token to the storage host that the hub redirects to, and use the `ETag` header as a file name without looking at
//! it, so that a hostile one (`../../..`) writes outside the cache, as it does in 1.0.0. Hence the transfer is done in
//! [`download`], against sizes and hashes that are known before the first byte arrives.

pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod download;
mod error;
pub(crate) mod listing;
pub(crate) mod repo;

use std::path::{Path, PathBuf};

use cache::Cache;
use client::Client;
use repo::{Kind, Repo};

pub(crate) use error::HubError;

use crate::terminal::notice;

/// Whether to ask the hub about a repository that is in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// No: what is in the cache is used.
    Cached,
    /// Yes, unless `HF_HUB_OFFLINE` forbids it.
    Latest,
}

/// The folder of the model or data set called `name` on the hub, from the cache if it is there; `None` if `name` exists
/// on the disk or cannot be a hub name.
///
/// # Errors
/// As [`snapshot`], and a well-known name without its owner.
pub(crate) fn named(name: &Path, kind: Kind) -> Result<Option<PathBuf>, HubError> {
    let Some(text) = name.to_str().filter(|_| !name.exists()) else { return Ok(None) };
    if let Some(suggestion) = repo::with_owner(text, kind) {
        return Err(HubError::NoOwner { name: text.to_owned(), suggestion });
    }
    Repo::parse(text, kind).map(|repo| snapshot(&repo, Freshness::Cached)).transpose()
}

/// The name on the hub, without a revision, that `name` stands for; `None` under the conditions of [`named`].
pub(crate) fn id(name: &Path) -> Option<String> {
    let text = name.to_str().filter(|_| !name.exists())?;
    Repo::parse(text, Kind::Model).map(|repo| repo.id)
}

/// The folder with a repository's needed files, downloaded first if they are not in the cache. Reports on standard
/// error which of the two it was.
///
/// # Errors
/// Any [`HubError`].
pub(crate) fn snapshot(repo: &Repo, freshness: Freshness) -> Result<PathBuf, HubError> {
    let cache = Cache::from_env();
    let offline = std::env::var("HF_HUB_OFFLINE")
        .is_ok_and(|value| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str()));
    match cache.find(repo) {
        Some(folder) if offline || freshness == Freshness::Cached => {
            notice(format_args!("{repo}: from the cache, {}", folder.display()));
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
    let client = Client::from_env()?;
    let listing = client.listing(repo).map_err(|source| HubError::Unavailable {
        repo: repo.to_string(),
        source: Box::new(source),
    })?;
    for file in listing.wanted(repo)? {
        let url = client.url(repo, &listing.commit, &file.name);
        let blob = download::blob(&client, &cache, repo, &url, file)?;
        cache.link(repo, &listing.commit, &file.name, &blob)?;
    }
    // Last, so that a revision found in the cache is complete.
    cache.remember(repo, &listing.commit)?;
    let folder = cache.snapshot(repo, &listing.commit);
    notice(format_args!("{repo}: fetched, {}", folder.display()));
    Ok(folder)
}
