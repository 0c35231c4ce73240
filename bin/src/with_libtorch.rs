//! The entry point of a program built with libtorch.
//!
//! The system's loader ends a program whose libraries are missing, or lack what it needs, before its first line. So
//! everything linked with libtorch is in a separate library, which is loaded from here: an error of the loader is then
//! reported with advice.

use std::env;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libloading::{Library, library_filename};

use crate::libtorch;

/// This package's library.
const LIBRARY: &str = "l2sp";

/// The version that torch-sys is written for.
const VERSION: &str = "2.9.0";

/// Where libtorch was when this program was built.
const BUILT_WITH: &str = env!("LIBTORCH_FOLDER");

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(
        "the part of this program that is linked with libtorch, {file}, is missing in {folder}: keep the two together, or \
         build again with `LIBTORCH_USE_PYTORCH=1 cargo build --release -p bin --features tch`",
        file = .0.file_name().unwrap_or_default().display(), folder = .0.with_file_name("").display()
    )]
    Missing(PathBuf),
    #[error(
        "{file} is not of the same build as this program: keep the two together, or build again with \
         `LIBTORCH_USE_PYTORCH=1 cargo build --release -p bin --features tch`", file = .0.display()
    )]
    OtherBuild(PathBuf),
    #[error("libtorch cannot be loaded: {reason}. {advice}", reason = reason(.0), advice = advice())]
    Libtorch(libloading::Error),
    #[error("{folder} holds libtorch {version}. {advice}", folder = .folder.display(), advice = advice())]
    Version { folder: PathBuf, version: String },
}

/// What the system's loader said, which `libloading` keeps for the source of its error.
fn reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |reason| reason.to_string())
}

fn advice() -> String {
    format!(
        "This program needs PyTorch {VERSION}, which was in {BUILT_WITH} when it was built: put it back, set \
         LD_LIBRARY_PATH to the folder torch/lib of another PyTorch {VERSION}, or build the program again, without the \
         feature tch if libtorch is not needed"
    )
}

/// Load the program and run it.
pub(crate) fn main() -> ExitCode {
    match program_main() {
        Ok(main) => main().into(),
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

/// The entry point of the library, which is loaded from the `deps` folder that Cargo links in, or else from the folder of
/// this program.
#[expect(
    unsafe_code,
    reason = "the library is built together with this program; its function has this type there"
)]
fn program_main() -> Result<extern "C" fn() -> u8, LoadError> {
    let program = env::current_exe().unwrap_or_default();
    let below = program.with_file_name("deps").join(library_filename(LIBRARY));
    let alongside = program.with_file_name(library_filename(LIBRARY));
    let Some(part) = [&below, &alongside].into_iter().find(|path| path.exists()) else {
        return Err(LoadError::Missing(alongside));
    };
    // Never unloaded: libtorch ends with the process.
    let library = Box::leak(Box::new(unsafe { Library::new(part) }.map_err(LoadError::Libtorch)?));
    if let Some(folder) = libtorch::loaded_from()
        && let Some(version) = version(&folder)
        && version != VERSION
    {
        return Err(LoadError::Version { folder, version });
    }
    unsafe { library.get(b"l2sp_main") }
        .map(|main| *main)
        .map_err(|_| LoadError::OtherBuild(part.clone()))
}

/// What the folder above `lib` says of itself: `version.py` in a Python package, `build-version` in a C++ distribution.
/// What follows a plus is how it was built.
fn version(lib: &Path) -> Option<String> {
    let folder = lib.parent()?;
    let text = fs::read_to_string(folder.join("build-version")).or_else(|_| {
        fs::read_to_string(folder.join("version.py")).map(|python| {
            let version = python.lines().find_map(|line| line.strip_prefix("__version__ = "));
            version.unwrap_or_default().trim_matches(['\'', '"']).to_owned()
        })
    });
    let version = text.ok()?.trim().split('+').next()?.to_owned();
    (!version.is_empty()).then_some(version)
}
