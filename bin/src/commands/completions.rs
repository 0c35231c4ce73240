//! Completions for shells.

use std::io::Write;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::ProgramError;

/// The arguments of `completions`.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the completions of `command` for a shell.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn completions(
    args: &CompletionsArgs,
    command: &mut Command,
) -> Result<(), ProgramError> {
    // Into memory first, because the generator panics at a closed pipe.
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, command, name, &mut script);
    std::io::stdout().write_all(&script).map_err(ProgramError::stdout)
}
