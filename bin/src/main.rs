//! The program; everything it does is in the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: bin::memory::Allocator = bin::memory::Allocator;

fn main() -> ExitCode {
    bin::main()
}
