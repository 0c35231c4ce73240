//! The program `l2sp`, whose implementation is the library of the same name.

use std::process::ExitCode;

#[cfg(feature = "tch")]
mod libtorch;
#[cfg(feature = "tch")]
mod with_libtorch;

#[cfg(not(feature = "tch"))]
#[global_allocator]
static ALLOCATOR: l2sp::memory::Allocator = l2sp::memory::Allocator;

fn main() -> ExitCode {
    #[cfg(feature = "tch")]
    return with_libtorch::main();
    #[cfg(not(feature = "tch"))]
    l2sp::main().into()
}
