//! Where libtorch is. Shared by the executable and the library that it loads.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the libtorch that this process has loaded, where the system tells.
pub(crate) fn loaded_from() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find_map(|line| {
        let start = line.find('/')?;
        line.ends_with("/libtorch_cpu.so").then(|| &line[start..])
    })?;
    Path::new(path).parent().map(Path::to_owned)
}
