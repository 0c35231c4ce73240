//! Fine-tune ALBERT on RTE with AdamWL2SP: the program's parts, from the command line inwards.
//!
//! | part | what it is |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`recipe`] | the hyper-parameters: defaults, then `--config FILE`, then flags |
//! | [`backend`] | the Burn backends that the program was built with, and the way to them |
//! | [`device`], [`devices`] | devices by name; listing them |
//! | [`source`] | the embedded model and task, or paths |
//! | [`fetch`] | only downloading |
//! | [`hub`] | models and data by name, from the hub or the cache |
//! | [`task`] | model folder and data, checked against each other and tokenised |
//! | [`finetune`] | a whole run: burn-train's Learner over the parts below |
//! | [`fine_tuning`] | the model as the Learner sees it: a training step, a validation step |
//! | [`loader`] | batches in the seeded order |
//! | [`optimizer`] | AdamWL2SP with clipping, measured and recorded at each step |
//! | [`checkpoint`], [`training_state`] | what a stopped run goes on from: the file, and the tensors in it |
//! | [`journal`] | what happened so far: `metrics.jsonl`, progress, why the run stopped |
//! | [`dashboard`] | the journal on the screen |
//! | [`memory`] | where the memory comes from |
//! | [`output`] | the folder a run leaves behind |
//! | [`evaluate`], [`predict`], [`inference`] | using what `finetune` wrote, and what the two share |
//! | [`pretrain`], [`masking`], [`vocabulary`] | making the small model that the program carries |

pub mod backend;
pub mod checkpoint;
pub mod cli;
pub mod dashboard;
pub mod device;
pub mod devices;
mod error;
pub mod evaluate;
pub mod fetch;
pub mod fine_tuning;
pub mod finetune;
pub mod hub;
pub mod inference;
pub mod journal;
pub mod loader;
pub mod masking;
pub mod memory;
pub mod optimizer;
pub mod output;
pub mod predict;
pub mod pretrain;
pub mod recipe;
pub mod source;
pub mod task;
pub mod training_state;
pub mod vocabulary;

use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::Parser;

pub use error::ProgramError;

/// That of the executable is not the one of a library that it loads.
#[cfg(feature = "tch")]
#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

/// [`main`], for the executable that loads this library at run time.
#[cfg(feature = "tch")]
#[expect(unsafe_code, reason = "the executable looks the function up by this name")]
#[unsafe(no_mangle)]
pub extern "C" fn l2sp_main() -> u8 {
    let exit_code = main();
    // This library has a standard output of its own, which nobody else flushes.
    std::io::Write::flush(&mut std::io::stdout()).ok();
    exit_code
}

/// Parse the command line, run, and say in one line what went wrong if something did. Returns the exit code.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + n stopped by signal n.
pub fn main() -> u8 {
    memory::keep_pages();
    let cli = cli::Cli::parse();
    error::note_first_panic();
    #[cfg(unix)]
    ignore_file_size_signal();
    let result = catch_unwind(AssertUnwindSafe(|| cli.run()))
        .unwrap_or_else(|_| Err(ProgramError::from_first_panic()));
    match result {
        Ok(()) | Err(ProgramError::ClosedPipe) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}

/// A file that grows beyond its limit is an error of the write like any other, not the end of the program.
#[cfg(unix)]
fn ignore_file_size_signal() {
    // The flag is never read: that there is a handler is what counts. Without one, the signal ends the program.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Default::default()).ok();
}
