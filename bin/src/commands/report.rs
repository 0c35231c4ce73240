//! The report of single runs.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use report::{NamedRun, Predictions, Run};

use crate::ProgramError;
use crate::resume::Output;
use crate::settings::{Settings, show_value};

/// The arguments of `report`.
#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    /// The output folders of the runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,

    /// The file to write, which ends in .html
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

/// Write the page.
///
/// # Errors
/// A page without the extension html, a run that cannot be read, a page that cannot be written.
pub(super) fn report(args: &ReportArgs) -> Result<(), ProgramError> {
    if args.output.extension().is_none_or(|extension| extension != "html") {
        let output = args.output.display();
        return Err(ProgramError::Usage(format!(
            "--output {output}: give the page a name in .html"
        )));
    }
    let mut runs = Vec::new();
    for folder in &args.runs {
        let settings = Settings::from_file(&Output::config_of(folder))?;
        let nothing_yet =
            || ProgramError::Mismatch(format!("{}: the run has no metrics yet", folder.display()));
        let run = Run::read(folder, settings.seed)?.ok_or_else(nothing_yet)?;
        let settings =
            settings.to_table().into_iter().map(|(key, value)| (key, show_value(&value)));
        let name = folder.display().to_string();
        let predictions = Predictions::read(folder)?;
        runs.push(NamedRun { name, settings: settings.collect(), run, predictions });
    }
    report::write_runs(runs, &args.output)?;
    writeln!(std::io::stdout(), "report in {}", args.output.display()).map_err(ProgramError::stdout)
}
