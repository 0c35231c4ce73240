//! Writing a report.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use metrics::Metric;

use crate::analysis::Analysis;
use crate::content::document;
use crate::error::ReportError;
use crate::figures::Figures;
use crate::runs_csv::runs_csv;
use crate::study::Study;

/// Computes the report of a study and writes it into `folder`, which exists: `report.md`, `report.html`, `report.json`,
/// `runs.csv` and `figures/*.svg`. Each file is replaced completely or not at all. Returns the path of `report.html`.
///
/// # Errors
///
/// Runs of different main metrics, and files that cannot be written.
pub fn write(study: &Study, folder: &Path) -> Result<PathBuf, ReportError> {
    check_metrics(study)?;
    let analysis = Analysis::new(study);
    let figures = Figures::new(study).map_err(format_error)?;
    let json = serde_json::to_string_pretty(&analysis).map_err(format_error)?;
    let mut files = vec![
        (folder.join("report.json"), format!("{json}\n")),
        (folder.join("runs.csv"), runs_csv(study).map_err(format_error)?),
    ];
    files.extend(figures.iter().map(|figure| (folder.join(figure.path()), figure.svg.clone())));
    let document = document(&analysis, figures);
    let page = folder.join("report.html");
    files.push((folder.join("report.md"), document.markdown()));
    files.push((page.clone(), document.html()));

    for (path, content) in files {
        let written = std::fs::create_dir_all(files::parent(&path))
            .and_then(|()| files::write(&path, content.as_bytes()));
        written.map_err(|source| ReportError::Io { path, source })?;
    }
    Ok(page)
}

fn format_error(error: impl Display) -> ReportError {
    ReportError::Format(error.to_string())
}

fn check_metrics(study: &Study) -> Result<(), ReportError> {
    let metric_of = |arm: &crate::Arm, metric: Metric| (metric.title(), arm.name.clone());
    let ended = study.arms.iter().flat_map(|arm| arm.ended().map(move |run| (arm, run)));
    let mut metrics = ended.filter_map(|(arm, run)| Some(metric_of(arm, run.metric?)));
    let Some((first, first_arm)) = metrics.next() else { return Ok(()) };
    match metrics.find(|(metric, _)| *metric != first) {
        None => Ok(()),
        Some((second, second_arm)) => {
            Err(ReportError::MixedMetrics { first, first_arm, second, second_arm })
        }
    }
}
