//! Manual pages.

use std::io::Write;

use clap::{Args, Command};
use clap_mangen::Man;

use crate::ProgramError;

/// The arguments of `man`.
#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// The command, such as finetune or study run [default: the program itself]
    command: Vec<String>,
}

/// Print the page of `program`, or of one of its commands, in roff.
///
/// # Errors
/// An unknown command; standard output cannot be written.
pub(super) fn man(args: &ManArgs, program: &mut Command) -> Result<(), ProgramError> {
    // Gives each command its full name, as l2sp-finetune.
    program.build();
    let mut command = &*program;
    for name in &args.command {
        command = command.find_subcommand(name).ok_or_else(|| {
            let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            ProgramError::Usage(format!(
                "{} has no command {name}; its commands are {}",
                command.get_name(),
                names.join(", ")
            ))
        })?;
    }
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(ProgramError::stdout)?;
    std::io::stdout().write_all(&page).map_err(ProgramError::stdout)
}
