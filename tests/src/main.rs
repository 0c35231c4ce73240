//! The program, built here once more so that `cli` finds it.

#[global_allocator]
static ALLOCATOR: bin::memory::Allocator = bin::memory::Allocator;

fn main() -> std::process::ExitCode {
    bin::main()
}
