//! `summary.json`: what came of a run.

use std::path::{Path, PathBuf};

use metrics::Metric;
use serde::{Deserialize, Serialize};

use crate::run::{ReadError, RunState, read};

/// The contents of `summary.json`, for those who write it and those who read it.
///
/// All but `steps` and `finished` may be missing in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The main metric of the task.
    #[serde(default)]
    pub metric: Metric,
    /// The value of that metric for always predicting the majority class.
    pub majority: Option<f64>,
    /// The accuracy of the last evaluation; `None` if the run stopped before one.
    pub eval_accuracy: Option<f64>,
    /// The best accuracy of all evaluations.
    pub best_eval_accuracy: Option<f64>,
    /// F1 of the last evaluation, for the tasks that GLUE scores by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_f1: Option<f64>,
    /// Matthews' correlation coefficient of the last evaluation, for the tasks that GLUE scores by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_matthews_correlation: Option<f64>,
    /// The best F1 of all evaluations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_eval_f1: Option<f64>,
    /// The best Matthews' correlation coefficient of all evaluations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_eval_matthews_correlation: Option<f64>,
    /// The epoch of the evaluation with the best main metric of the task.
    pub best_epoch: Option<usize>,
    /// The optimizer steps taken before that evaluation.
    pub best_step: Option<usize>,
    /// The mean loss of the last evaluation.
    pub eval_loss: Option<f64>,
    /// Optimizer steps taken.
    pub steps: usize,
    /// Seconds spent on training steps, evaluations not included.
    pub train_seconds: Option<f64>,
    /// Seconds spent on evaluations.
    pub eval_seconds: Option<f64>,
    /// Training examples per second, in that time.
    pub examples_per_second: Option<f64>,
    /// Whether the run took all its steps and evaluations, or stopped early.
    pub finished: bool,
    /// Whether the run ended before its last step, because its metric did not improve for `--patience` evaluations.
    #[serde(default)]
    pub stopped_early: bool,
    /// The step whose loss or gradient norm was not finite, where the run ended with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diverged_at: Option<usize>,
    /// Whether the run diverged, or its final metric is not above that of always predicting the majority class.
    pub failed: Option<bool>,
}

impl Summary {
    /// The name of the file.
    const FILE: &str = "summary.json";

    /// The path of the file in the folder of a run.
    pub fn path(run: &Path) -> PathBuf {
        run.join(Self::FILE)
    }

    /// Reads the summary of the run in a folder; `None` if it has not written one.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is malformed.
    pub fn read(run: &Path) -> Result<Option<Self>, ReadError> {
        let path = Self::path(run);
        let Some(text) = read(&path)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| ReadError::Malformed {
            path,
            line: error.line(),
            message: error.to_string(),
        })
    }

    /// The main metric of the last evaluation.
    pub fn main_metric(&self) -> Option<f64> {
        match self.metric {
            Metric::Accuracy => self.eval_accuracy,
            Metric::F1 => self.eval_f1,
            Metric::MatthewsCorrelation => self.eval_matthews_correlation,
        }
    }

    /// The main metric of the best evaluation.
    pub fn best_main_metric(&self) -> Option<f64> {
        match self.metric {
            Metric::Accuracy => self.best_eval_accuracy,
            Metric::F1 => self.best_eval_f1,
            Metric::MatthewsCorrelation => self.best_eval_matthews_correlation,
        }
    }

    /// Whether the run is known to have failed.
    pub fn has_failed(&self) -> bool {
        self.failed == Some(true) || self.state() == RunState::Diverged
    }

    /// How far the run has come.
    pub fn state(&self) -> RunState {
        match self {
            Self { diverged_at: Some(_), .. } => RunState::Diverged,
            Self { finished: true, .. } => RunState::Finished,
            _ => RunState::Unfinished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file of a run on a task that is scored by F1.
    const WRITTEN: &str = "{\"metric\":\"eval_f1\",\"majority\":0.75,\"eval_accuracy\":0.875,\"best_eval_accuracy\":0.875,\
                           \"eval_f1\":0.8,\"best_eval_f1\":0.9,\"best_epoch\":1,\"best_step\":10,\"eval_loss\":0.5,\"steps\":20,\
                           \"train_seconds\":1.5,\"eval_seconds\":0.5,\"examples_per_second\":106.5,\"finished\":true,\
                           \"stopped_early\":false,\"failed\":false}";

    #[test]
    fn a_summary_is_written_as_it_was_read() {
        let summary: Summary = serde_json::from_str(WRITTEN).unwrap();
        assert_eq!(serde_json::to_string(&summary).unwrap(), WRITTEN);
        assert_eq!((summary.state(), summary.main_metric()), (RunState::Finished, Some(0.8)));
        assert!(!summary.has_failed());
    }

    #[test]
    fn a_run_that_diverged_has_failed() {
        let written = WRITTEN.replace("\"finished\":true", "\"finished\":false,\"diverged_at\":9");
        let summary: Summary = serde_json::from_str(&written).unwrap();
        assert_eq!(summary.state(), RunState::Diverged);
        assert!(summary.has_failed());
    }
}
