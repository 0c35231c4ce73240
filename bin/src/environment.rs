//! Environment variables that hold a path. One that is set but empty counts as not set.

use std::path::PathBuf;

/// The path that a variable holds.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folder of the user's caches: `XDG_CACHE_HOME`, or `~/.cache`. `None` without a home folder.
pub(crate) fn user_cache() -> Option<PathBuf> {
    path("XDG_CACHE_HOME").or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
}
