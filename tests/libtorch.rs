//! A program built with libtorch, when libtorch was moved, removed or replaced.

#![cfg(all(feature = "tch", target_os = "linux"))]

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_l2sp");
const PART: &str = "libl2sp.so";
/// The folder of libtorch when the program was built.
const LIBTORCH: &str = env!("LIBTORCH_FOLDER");

type Test = Result<(), Box<dyn std::error::Error>>;

/// The output of the command `devices`, or its error message.
fn devices(program: &Path, library_path: Option<&Path>) -> io::Result<Result<String, String>> {
    let mut command = Command::new(program);
    command.arg("devices").env_remove("LD_LIBRARY_PATH");
    if let Some(path) = library_path {
        command.env("LD_LIBRARY_PATH", path);
    }
    let output = command.output()?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    Ok(match output.status.code() {
        Some(0) => Ok(stdout),
        Some(1) => Err(stderr),
        _ => return Err(io::Error::other(format!("{}: {stderr}", output.status))),
    })
}

fn assert_advises(error: &str) {
    assert_eq!(error.lines().count(), 1, "{error}");
    let advice =
        format!("needs PyTorch 2.9.0, which was in {LIBTORCH} when it was built: put it back");
    assert!(error.starts_with("error: ") && error.contains(&advice), "{error}");
}

fn empty_library(path: &Path) -> io::Result<()> {
    let status =
        Command::new("cc").args(["-shared", "-x", "c", "/dev/null", "-o"]).arg(path).status()?;
    assert!(status.success());
    Ok(())
}

/// A copy of the program without its library, and the folder of the copy.
fn copied() -> io::Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("l2sp");
    // By another process: if this one had the copy open for writing, a process that another test starts meanwhile could
    // inherit that, and a file that is open for writing cannot be executed.
    let copy = Command::new("cp").arg(PROGRAM).arg(&program).status()?;
    if !copy.success() {
        return Err(io::Error::other("the program cannot be copied"));
    }
    Ok((folder, program))
}

/// A copy of the program and its library, in which the path of libtorch's folder is overwritten.
fn moved_away() -> io::Result<(TempDir, PathBuf)> {
    let (folder, program) = copied()?;
    let mut part = fs::read(Path::new(PROGRAM).with_file_name("deps").join(PART))?;
    let at = part.windows(LIBTORCH.len()).position(|bytes| bytes == LIBTORCH.as_bytes());
    let at = at.ok_or_else(|| io::Error::other("the part does not name libtorch's folder"))?;
    part[at..at + LIBTORCH.len()].fill(b'-');
    fs::write(folder.path().join(PART), part)?;
    Ok((folder, program))
}

#[test]
fn libtorch_is_found_without_a_library_path() -> Test {
    let devices = devices(Path::new(PROGRAM), None)??;
    assert!(devices.contains("tch (libtorch): usable"), "{devices}");
    Ok(())
}

#[test]
fn a_missing_library_of_the_program_is_reported() -> Test {
    let (_folder, program) = copied()?;
    let error = devices(&program, None)?.expect_err("a program without its part");
    assert!(error.contains(PART) && error.contains("--features tch"), "{error}");
    Ok(())
}

#[test]
fn a_library_of_another_build_is_reported() -> Test {
    let (folder, program) = copied()?;
    empty_library(&folder.path().join(PART))?;
    let error = devices(&program, None)?.expect_err("a program with another part");
    assert!(error.contains("is not of the same build"), "{error}");
    Ok(())
}

#[test]
fn moved_libtorch_is_found_by_the_library_path() -> Test {
    let (_folder, program) = moved_away()?;
    let error = devices(&program, None)?.expect_err("a program without libtorch");
    assert!(error.contains("libtorch_"), "{error}");
    assert_advises(&error);
    let devices = devices(&program, Some(Path::new(LIBTORCH)))??;
    assert!(devices.contains("tch (libtorch): usable"), "{devices}");
    Ok(())
}

/// Libraries of the right names that define no symbols.
#[test]
fn libtorch_without_symbols_is_reported() -> Test {
    let folder = tempfile::tempdir()?;
    for library in ["libc10.so", "libtorch_cpu.so"] {
        empty_library(&folder.path().join(library))?;
    }
    let error = devices(Path::new(PROGRAM), Some(folder.path()))?.expect_err("an empty libtorch");
    assert_advises(&error);
    Ok(())
}

/// No symbol is missing, but their meaning may have changed.
#[test]
fn libtorch_of_another_version_is_reported() -> Test {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (built_with, torch) = (Path::new(LIBTORCH), folder.path().join("torch"));
    fs::create_dir_all(torch.join("lib"))?;
    for entry in fs::read_dir(built_with)? {
        let from = entry?.path();
        let to = torch.join("lib").join(from.file_name().unwrap_or_default());
        // The folder is determined from this library, so it must not be a link to the original.
        match from.ends_with("libtorch_cpu.so") {
            true => fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ()))?,
            false => symlink(&from, &to)?,
        }
    }
    // PyTorch's Python package expects this library in the same folder.
    if let Some(packages) = built_with.ancestors().nth(2) {
        symlink(packages.join("nvidia"), folder.path().join("nvidia"))?;
    }
    let library_path = torch.join("lib");
    for (file, text) in [
        ("version.py", "from typing import Optional\n\n__version__ = '2.8.1+cpu'\ndebug = False\n"),
        ("build-version", "2.10.0+cu128\n"),
    ] {
        fs::write(torch.join(file), text)?;
        let error = devices(Path::new(PROGRAM), Some(&library_path))?.expect_err(file);
        let found = text.split(['\'', '+']).find(|part| part.starts_with("2.")).unwrap_or_default();
        assert!(error.contains(&format!("holds libtorch {found}. ")), "{error}");
        assert_advises(&error);
    }
    Ok(())
}
