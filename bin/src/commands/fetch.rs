//! Downloads into the cache, for later runs without a network.

use std::io::Write;

use clap::Args;
use rte::Task;

use crate::ProgramError;
use crate::hub::repo::{Kind, Repo, with_owner};
use crate::hub::{self, Freshness};
use crate::settings::{DEFAULT_TASK, RecipeName};

/// The flags of `fetch`.
#[derive(Args, Debug)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("fetched").args(["recipe", "model", "data"]).required(true).multiple(true))]
pub(super) struct FetchArgs {
    /// The model and the data of a recipe
    #[arg(long, value_name = "NAME")]
    recipe: Option<RecipeName>,

    /// A model: OWNER/NAME or OWNER/NAME@REVISION
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// A data set: OWNER/NAME or OWNER/NAME@REVISION, with the splits as Parquet, JSONL, TSV or CSV in a folder of the task, in
    /// data/ or in the root folder
    #[arg(long, value_name = "NAME")]
    data: Option<String>,

    /// The task of the data
    #[arg(long, value_name = "NAME", default_value = DEFAULT_TASK)]
    task: String,
}

/// Fetch what the flags name, and print the folders.
///
/// # Errors
/// A name is invalid, or the hub fails.
pub(super) fn fetch(args: &FetchArgs) -> Result<(), ProgramError> {
    let of_recipe = args.recipe.map(RecipeName::model_and_data).unzip();
    let model = args.model.as_deref().or(of_recipe.0);
    let data = args.data.as_deref().or(of_recipe.1);
    let task = Task::named(&args.task)?;
    // All splits are fetched. Which of them are needed depends on the command that uses them.
    let data_kind = Kind::Data { task: &task, needed: &[] };
    for (name, kind) in [(model, Kind::Model), (data, data_kind)] {
        let Some(name) = name else { continue };
        let repo = Repo::parse(name, kind).ok_or_else(|| {
            let full = with_owner(name, kind).unwrap_or_else(|| "albert/albert-large-v2".into());
            ProgramError::Usage(format!(
                "{name} is not a name on the hub; use OWNER/NAME or OWNER/NAME@REVISION, such as {full}"
            ))
        })?;
        let folder = hub::snapshot(&repo, Freshness::Latest)?;
        writeln!(std::io::stdout(), "{}", folder.display()).map_err(ProgramError::stdout)?;
    }
    Ok(())
}
