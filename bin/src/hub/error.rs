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
    #[error("there is no {name} here; on the hub it is called {suggestion}")]
    NoOwner {
        /// The name as given.
        name: String,
        /// The full name.
        suggestion: String,
    },
    /// The hub's listing of a repository cannot be had. The name may have been meant as a path.
    #[error("{repo} is neither available on the hub nor a folder of that name here: {source}")]
    Unavailable {
        /// The repository's name.
        repo: String,
        /// Why there is no listing.
        source: Box<HubError>,
    },
    /// An HTTP status other than success, after retries where they make sense.
    #[error("{url}: {}{}", meaning(*.status), detail(.message))]
    Status {
        /// The address requested.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The hub's own message.
        message: String,
    },
    /// No answer, an incomplete one or one that is too slow, after retries.
    #[error(
        "{url}: {reason}; nothing incomplete is used, and a next attempt goes on where this one ended"
    )]
    Transport {
        /// The address requested.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// An answer that violates the hub's interface.
    #[error("{url}: {reason}; this is not a Hugging Face hub, or a broken one")]
    Nonsense {
        /// The address requested.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that differs from the hub's description of it.
    #[error("{url}: {reason}; the file was deleted")]
    Damaged {
        /// The address requested.
        url: String,
        /// What differs.
        reason: String,
    },
    /// A repository that lacks required files.
    #[error("{repo} cannot be used: {reason}")]
    Unsuitable {
        /// The repository's name.
        repo: String,
        /// What it lacks.
        reason: String,
    },
    /// Nothing in the cache, and no network wanted.
    #[error(
        "{repo} is not in the cache {}, and HF_HUB_OFFLINE forbids downloading it; there is no folder of that name here either",
        .cache.display()
    )]
    NotCached {
        /// The repository's name.
        repo: String,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// A file of the cache that cannot be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
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
            "the hub refuses access ({status}); is the name right? If the repository is private or gated, set HF_TOKEN to a \
             token that may read it"
        ),
        _ => format!("the hub answers {status}"),
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
