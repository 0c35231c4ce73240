//! Fine-tune transformer encoders on text classification with AdamWL2SP: the library behind the program `l2sp`.
//!
//! | question | where |
//! |---|---|
//! | what can I run? | `commands`: a subcommand per file; [`settings`]: defaults, `--config FILE`, flags |
//! | how is a model trained? | [`train`]: a run, its loop, one optimizer step |
//! | what does a model predict? | `predictions`: labels and probabilities, as lines of JSON |
//! | how are many runs compared? | `study`: a plan, worker processes, the report |
//! | what survives a crash? | [`resume`]: the output folder, checkpoints |
//! | on what does it compute? | [`device`]: devices by name, Burn backends by feature |
//! | where do models and data come from? | `model_folder`, `data`: the program itself, a path, or the `hub` |
//! | how was the bundled model made? | `pretrain`, apart from all the others |

mod commands;
mod data;
pub mod device;
mod environment;
mod error;
mod hub;
#[cfg(feature = "xla")]
mod libtorch;
pub mod memory;
mod model_card;
mod model_folder;
mod panics;
mod predictions;
mod pretrain;
pub mod resume;
pub mod settings;
mod signals;
mod study;
mod terminal;
pub mod train;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use error::ProgramError;

/// A library that is loaded at run time does not share the allocator of the executable.
// (Unit tests get it from the copy of this library that `tests` depends on.)
#[cfg(all(feature = "tch", not(test)))]
#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

/// [`main`], for the executable that loads this library at run time.
#[cfg(feature = "tch")]
#[expect(unsafe_code, reason = "the executable looks the function up by this name")]
#[unsafe(no_mangle)]
pub extern "C" fn l2sp_main() -> u8 {
    let exit_code = main();
    // This library has a separate copy of `std`, whose standard output the executable does not flush.
    std::io::Write::flush(&mut std::io::stdout()).ok();
    exit_code
}

/// Run the program, and report an error on standard error. Returns the exit code.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + n stopped by signal n.
pub fn main() -> u8 {
    memory::keep_pages();
    panics::note_first_panic();
    #[cfg(unix)]
    ignore_file_size_signal();
    let result = catch_unwind(AssertUnwindSafe(commands::run))
        .unwrap_or_else(|_| Err(ProgramError::from_first_panic()));
    match result {
        Ok(()) | Err(ProgramError::ClosedPipe) => 0,
        Err(error) => {
            terminal::restore();
            terminal::notice(format_args!("error: {error}"));
            error.exit_code()
        }
    }
}

/// Turn a write beyond the file size limit into an ordinary write error instead of a signal that ends the process.
#[cfg(unix)]
fn ignore_file_size_signal() {
    // The flag is never read. Without a handler, the signal would end the process.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Default::default()).ok();
}
