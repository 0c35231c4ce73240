//! The figures of a study. With a grid, a figure has a panel for each of its points; an arm has the same colour and
//! marker in all of them.

mod curves;
mod final_metrics;
mod learning_rates;

use metrics::Metric;

use crate::document::Figure;
use crate::plot::Drawn;
use crate::study::Study;
use curves::Shown;

/// The name of the line of the majority class.
const MAJORITY: &str = "majority class";

/// All figures for which there are data.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Of the runs' final metrics.
    pub(crate) results: Vec<Figure>,
    /// Of what happened during the runs.
    pub(crate) curves: Vec<Figure>,
}

impl Figures {
    /// Draws the figures of a study.
    pub(crate) fn new(study: &Study) -> Drawn<Self> {
        let Some(metric) = study.metric() else { return Ok(Self::default()) };
        let results = [
            final_metrics::figure(study, metric)?,
            learning_rates::figure(study, metric)?,
            curves::expected_best_of_k(study, metric)?,
        ];
        let results = results.into_iter().flatten().collect();
        Ok(Self { results, curves: curves::over_steps(study, metric, Shown::Ended)? })
    }

    /// All of them, in the order of the report.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Figure> {
        self.results.iter().chain(&self.curves)
    }
}

/// The curves of runs, each of which is an arm of its own.
pub(crate) fn of_runs(study: &Study, metric: Metric) -> Drawn<Vec<Figure>> {
    curves::over_steps(study, metric, Shown::Single)
}
