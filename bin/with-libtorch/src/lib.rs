//! The program as a library that is loaded when it runs: what is linked with libtorch, and so cannot be loaded without it.
//!
//! Empty without the feature `tch`.

#[cfg(feature = "tch")]
#[global_allocator]
static ALLOCATOR: program::memory::Allocator = program::memory::Allocator;

/// The program; its exit code. [`program::main`] for who loads this library.
#[cfg(feature = "tch")]
#[expect(unsafe_code, reason = "its name is the one under which it is looked for")]
#[unsafe(no_mangle)]
pub extern "C" fn program_main() -> u8 {
    let exit_code = program::main();
    // This library has a standard output of its own, which nobody else empties.
    std::io::Write::flush(&mut std::io::stdout()).ok();
    exit_code
}
