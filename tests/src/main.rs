//! The program, built here once more so that `cli` finds it.

fn main() -> std::process::ExitCode {
    bin::main()
}
