//! The program, built here once more so that `cli` finds it.

#[global_allocator]
static ALLOCATOR: program::memory::Allocator = program::memory::Allocator;

fn main() -> std::process::ExitCode {
    program::main().into()
}
