//! The program; everything it does is in the library `program`.

use std::process::ExitCode;

#[cfg(feature = "tch")]
mod with_libtorch;

#[cfg(feature = "tch")]
fn main() -> ExitCode {
    with_libtorch::main()
}

#[cfg(not(feature = "tch"))]
#[global_allocator]
static ALLOCATOR: program::memory::Allocator = program::memory::Allocator;

#[cfg(not(feature = "tch"))]
fn main() -> ExitCode {
    program::main().into()
}
