//! Everything that can go wrong with the hub and its cache.

use std::path::{Path, PathBuf};

/// Why something cannot be loaded from the hub.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// An `HF_ENDPOINT` without scheme or host.
    #[error(
        "HF_ENDPOINT is {0:?}; an address with https:// or http:// is needed, such as https://huggingface.co"
    )]
    Endpoint(String),
    /// The name of a well-known repository without its owner.
    #[error("{name} is neither a path nor a full name on the hub; did you mean {suggestion}?")]
    NoOwner { name: String, suggestion: String },
    /// The hub's listing of a repository cannot be had. The name may have been meant as a path.
    #[error("{repo} is neither available on the hub nor a local folder: {source}")]
    Unavailable { repo: String, source: Box<HubError> },
    /// An HTTP status other than success, after retries where they make sense.
    #[error("{url}: {}{}", meaning(*.status), detail(.message))]
    Status { url: String, status: u16, message: String },
    /// No answer, an incomplete one or one that is too slow, after retries.
    #[error("{url}: {reason}; a download that was begun is kept, and the next attempt resumes it")]
    Transport { url: String, reason: String },
    /// An answer that violates the hub's interface.
    #[error(
        "{url}: {reason}; the server is not a Hugging Face hub, or is malfunctioning: check HF_ENDPOINT"
    )]
    Nonsense { url: String, reason: String },
    /// A file that differs from the hub's description of it.
    #[error("{url}: {reason}; the download was discarded: run the command again")]
    Damaged { url: String, reason: String },
    /// A model's repository that lacks required files.
    #[error("{repo} cannot be used: {reason}")]
    Unsuitable { repo: String, reason: String },
    /// A data set that lacks a split that is needed.
    #[error(transparent)]
    Data(Box<rte::RteError>),
    /// Nothing in the cache, and no network wanted.
    #[error(
        "the cache {} lacks files needed from {repo}, and HF_HUB_OFFLINE forbids downloading them; there is no local folder of \
         that name either",
        .cache.display()
    )]
    NotCached { repo: String, cache: PathBuf },
    /// A file of the cache that cannot be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl HubError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}

fn meaning(status: u16) -> String {
    match status {
        404 => "there is no such repository, revision or file".into(),
        401 | 403 => format!(
            "the hub refuses access ({status}); check the name, and for a private or gated repository set HF_TOKEN to a \
             token with read access"
        ),
        _ => format!("the hub responded with HTTP status {status}"),
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
