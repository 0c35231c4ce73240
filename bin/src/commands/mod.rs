//! What the program can do: a subcommand per file.

mod completions;
mod devices;
mod evaluate;
mod fetch;
mod finetune;
mod inference;
mod man;
mod predict;
mod report;
mod schema;
mod study;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::terminal::notice;
use crate::{ProgramError, pretrain};

/// Stable fine-tuning of transformer encoders for text classification with AdamWL2SP, whose weight decay pulls pretrained
/// weights back to where they started.
#[derive(Debug, Parser)]
#[command(
    name = "l2sp",
    version,
    after_help = "Without a command, l2sp runs finetune with the bundled model and task."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fine-tune a pretrained encoder on a text classification task.
    ///
    /// Reads a Hugging Face folder with an ALBERT, BERT, RoBERTa or XLM-RoBERTa checkpoint (config.json, model.safetensors,
    /// tokenizer.json) and the training and validation splits of a task: one of GLUE's (--task), or your own table of single
    /// texts or pairs (--text-column). Writes config.toml, metrics.jsonl, summary.json, predictions.jsonl and model/, again a
    /// Hugging Face folder. Without --model and --data it uses the small ALBERT and the entailment task that are bundled with
    /// the program. The other defaults are the recipe for albert-large-v2 on RTE.
    #[command(allow_negative_numbers = true, after_long_help = finetune::EXAMPLES)]
    Finetune(Box<finetune::FinetuneArgs>),
    /// Evaluate a fine-tuned model on a labelled split: loss, the metrics of the task, confusion matrix.
    Evaluate(evaluate::EvaluateArgs),
    /// Predict the label of a text, of a pair of texts, or of each row of a file.
    Predict(predict::PredictArgs),
    /// Write a page about one or several runs: results, curves, confusion matrix, worst predictions and settings.
    ///
    /// An unfinished run is shown up to its latest step. The page is one self-contained HTML file; it includes the beginnings
    /// of some validation texts. For statistics over many seeds, use `l2sp study`.
    Report(report::ReportArgs),
    /// Run many seeds and settings, and see how their results are distributed.
    #[command(subcommand)]
    Study(study::StudyCommand),
    /// Download a model or data from the hub into the cache, for later runs without a network.
    ///
    /// The other commands use the cached version where there is one; this one also downloads a newer version. Prints the
    /// path of each folder.
    Fetch(fetch::FetchArgs),
    /// List the devices that can be used, with their names for --device, and why the others cannot.
    Devices,
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
    /// Print the manual page of the program or of one of its commands.
    ///
    /// The page is in roff format. To read it: l2sp man finetune | man -l -
    Man(man::ManArgs),
    /// Print the JSON schema of --config files, for completion and checks in editors.
    Schema,
    /// Pretrain the small bundled ALBERT from generated text.
    ///
    /// By masked language modelling and sentence-order prediction, as for ALBERT. The same seed gives the same weights.
    Pretrain(pretrain::PretrainArgs),
}

/// Parse the command line and do what it asks.
///
/// # Errors
/// Whatever the command reports. A command line that cannot be parsed ends the process.
pub(crate) fn run() -> Result<(), ProgramError> {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        None => {
            notice(format_args!(
                "no command given: running `finetune` with the bundled model and task; see --help for more"
            ));
            finetune::finetune(&finetune::FinetuneArgs::default(), &ArgMatches::default())
        }
        Some(Command::Finetune(args)) => {
            let no_flags = ArgMatches::default();
            let flags = matches.subcommand().map_or(&no_flags, |(_, flags)| flags);
            finetune::finetune(&args, flags)
        }
        Some(Command::Evaluate(args)) => evaluate::evaluate(&args),
        Some(Command::Predict(args)) => predict::predict(&args),
        Some(Command::Report(args)) => report::report(&args),
        Some(Command::Study(command)) => study::study(&command),
        Some(Command::Fetch(args)) => fetch::fetch(&args),
        Some(Command::Devices) => devices::devices(),
        Some(Command::Completions(args)) => completions::completions(&args, &mut Cli::command()),
        Some(Command::Man(args)) => man::man(&args, &mut Cli::command()),
        Some(Command::Schema) => schema::schema(),
        Some(Command::Pretrain(args)) => pretrain::pretrain(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_examples_in_the_help_are_valid() {
        let examples: Vec<_> =
            finetune::EXAMPLES.lines().filter(|line| line.trim().starts_with("l2sp ")).collect();
        assert_eq!(examples.len(), 5);
        for example in examples {
            Cli::try_parse_from(example.split_whitespace()).expect(example);
        }
    }
}
