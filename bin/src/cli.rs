//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::recipe::{FinetuneArgs, Recipe};
use crate::{ProgramError, devices, evaluate, fetch, finetune, predict, pretrain};

/// Stable fine-tuning: ALBERT on RTE with AdamWL2SP, whose weight decay pulls pretrained weights
/// back to where they started.
#[derive(Debug, Parser)]
#[command(name = "l2sp", version)]
pub struct Cli {
    /// Without one: finetune, on the model and the task that the program carries
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fine-tune a pretrained ALBERT on RTE.
    ///
    /// Reads a Hugging Face model folder (config.json, model.safetensors, tokenizer.json) and RTE's
    /// train and validation splits; writes config.toml, metrics.jsonl, summary.json and model/, a
    /// Hugging Face folder again. Without --model and --data it takes the small ALBERT and the
    /// entailment task that the program carries. The defaults are the RTE recipe for
    /// albert-large-v2.
    #[command(allow_negative_numbers = true)]
    Finetune(Box<FinetuneCommand>),
    /// Measure a fine-tuned model's accuracy and loss on a labelled split.
    Evaluate(evaluate::EvaluateArgs),
    /// Predict entailment for one pair of sentences or for a file of them.
    Predict(predict::PredictArgs),
    /// Download a model or data from the hub into the cache.
    ///
    /// What is there already is looked up again: a newer version replaces it for later runs, which
    /// themselves take what is in the cache. Prints the folders.
    Fetch(fetch::FetchArgs),
    /// List the devices: those that can be used, with their names for --device, and what is missing for the others.
    Devices(devices::DevicesArgs),
    /// Pretrain the small ALBERT that the program carries, from generated text.
    ///
    /// Masked words and the order of sentences, as ALBERT was pretrained. The same seed gives the same weights.
    Pretrain(pretrain::PretrainArgs),
}

#[derive(Debug, clap::Args)]
struct FinetuneCommand {
    #[command(flatten)]
    args: FinetuneArgs,

    /// Read these settings from a TOML file, under the flags' names; flags win.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Go on with the run in this output folder, however it ended, as if it had never stopped; its
    /// settings are those of its config.toml
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["config", "output", "overwrite"])]
    resume: Option<PathBuf>,
}

impl Cli {
    /// Do what the command line asks.
    pub fn run(self) -> Result<(), ProgramError> {
        let Some(command) = self.command else {
            eprintln!(
                "no command given: running `finetune` with the embedded model and task; --help shows what else there is"
            );
            return finetune::finetune(&Recipe::resolve(&FinetuneArgs::default(), None)?);
        };
        match command {
            Command::Finetune(command) => match command.resume {
                Some(folder) => finetune::resume(&folder, &command.args),
                None => {
                    let recipe = Recipe::resolve(&command.args, command.config.as_deref())?;
                    finetune::finetune(&recipe)
                }
            },
            Command::Evaluate(args) => evaluate::evaluate(&args),
            Command::Predict(args) => predict::predict(&args),
            Command::Fetch(args) => fetch::fetch(&args),
            Command::Devices(args) => devices::devices(&args),
            Command::Pretrain(args) => pretrain::pretrain(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The help states defaults in words; they must be those of the recipe.
    #[test]
    fn the_help_states_the_recipes_defaults() {
        let mut command = Cli::command();
        let help = command
            .find_subcommand_mut("finetune")
            .expect("finetune")
            .render_long_help()
            .to_string();
        let defaults = toml::Table::try_from(Recipe::default()).expect("a table");
        for (name, value) in defaults {
            let flag = help
                .split(&format!("\n      --{name} "))
                .nth(1)
                .or_else(|| help.split(&format!("\n      --{name}[")).nth(1));
            let text = flag.unwrap_or_else(|| panic!("--{name} is not in the help"));
            let text = text.split("\n      --").next().expect("the flag's own text");
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Float(number) => format!("{number:?}"),
                other => other.to_string(),
            };
            let stated = [']', ';'].map(|end| format!("[default: {value}{end}"));
            assert!(
                value == "false" || stated.iter().any(|stated| text.contains(stated)),
                "--{name}: {value} in {text}"
            );
        }
    }
}
