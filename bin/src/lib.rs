//! Fine-tune ALBERT on RTE with AdamWL2SP: the program's parts, from the command line inwards.
//!
//! | part | what it is |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`recipe`] | the hyper-parameters: defaults, then `--config FILE`, then flags |
//! | [`backend`] | the Burn backend that the program was built for |
//! | [`source`] | the embedded model and task, or paths |
//! | [`task`] | model folder and data, checked against each other and tokenised |
//! | [`finetune`] | a whole run: burn-train's Learner over the parts below |
//! | [`fine_tuning`] | the model as the Learner sees it: a training step, a validation step |
//! | [`loader`] | batches in the seeded order |
//! | [`optimizer`] | AdamWL2SP with clipping, measured and recorded at each step |
//! | [`journal`] | what happened so far: `metrics.jsonl`, progress, why the run stopped |
//! | [`dashboard`] | the journal on the screen |
//! | [`memory`] | where the memory comes from |
//! | [`output`] | the folder a run leaves behind |
//! | [`evaluate`], [`predict`], [`inference`] | using what `finetune` wrote, and what the two share |
//! | [`pretrain`], [`masking`], [`vocabulary`] | making the small model that the program carries |

pub mod backend;
pub mod cli;
pub mod dashboard;
mod error;
pub mod evaluate;
pub mod fine_tuning;
pub mod finetune;
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
pub mod vocabulary;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

pub use error::ProgramError;

/// Parse the command line, run, and say in one line what went wrong if something did.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + n stopped by signal n.
pub fn main() -> ExitCode {
    memory::keep_pages();
    let cli = cli::Cli::parse();
    error::note_first_panic();
    let result = catch_unwind(AssertUnwindSafe(|| cli.run()))
        .unwrap_or_else(|_| Err(ProgramError::from_first_panic()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(ProgramError::ClosedPipe) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
