//! Downloads into the cache, for later runs without a network.

use std::io::Write;

use clap::Args;

use crate::ProgramError;
use crate::hub::repo::{Kind, Repo, with_owner};
use crate::hub::{self, Freshness};
use crate::model_folder::DATA_FOLDERS;
use crate::settings::RecipeName;

/// The flags of `fetch`.
#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
pub(super) struct FetchArgs {
    /// The model and the data of a recipe
    #[arg(long, value_name = "NAME")]
    recipe: Option<RecipeName>,

    /// A model: OWNER/NAME or OWNER/NAME@REVISION
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Data, in the same way: a repository with RTE's splits, or with a folder rte of them
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
}

/// Fetch what the flags name, and print the folders.
///
/// # Errors
/// A name that is none, and all that can go wrong with the hub.
pub(super) fn fetch(args: &FetchArgs) -> Result<(), ProgramError> {
    let of_recipe = args.recipe.map(RecipeName::model_and_data).unzip();
    let model = args.model.as_deref().or(of_recipe.0);
    let data = args.data.as_deref().or(of_recipe.1);
    let data_kind = Kind::Data { folders: DATA_FOLDERS };
    for (name, kind) in [(model, Kind::Model), (data, data_kind)] {
        let Some(name) = name else { continue };
        let repo = Repo::parse(name, kind).ok_or_else(|| {
            let full = with_owner(name, kind).unwrap_or_else(|| "albert/albert-large-v2".into());
            ProgramError::Usage(format!(
                "{name} is not a name on the hub: the owner is missing, as in {full}"
            ))
        })?;
        let folder = hub::snapshot(&repo, Freshness::Latest)?;
        writeln!(std::io::stdout(), "{}", folder.display()).map_err(ProgramError::stdout)?;
    }
    Ok(())
}
