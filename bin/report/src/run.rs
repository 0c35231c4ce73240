//! Reading the folder of a run.

use std::io;
use std::path::{Path, PathBuf};

use files::FileKind;
use metrics::Metric;
use serde_json::Value;

use crate::summary::Summary;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It has begun but not ended. It is left out of all statistics.
    Unfinished,
    /// It took all its steps.
    Finished,
    /// Its loss became infinite or NaN, which ended it. It is a failed run.
    Diverged,
}

/// One optimizer step. A value that was not finite, or not recorded, is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The step, counted from 1.
    pub step: u64,
    /// The mean loss over the step's examples.
    pub loss: f64,
    /// The global L2 norm of the gradients, before clipping.
    pub grad_norm: f64,
    /// ‖θ − θ⁰‖₂ over the pretrained parameters.
    pub distance: f64,
}

/// One evaluation on the validation split. A metric that is not one of the task is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Optimizer steps taken.
    pub step: u64,
    /// The mean loss.
    pub loss: f64,
    /// The share of examples classified correctly.
    pub accuracy: f64,
    /// F1.
    pub f1: f64,
    /// Matthews' correlation coefficient.
    pub matthews_correlation: f64,
}

impl Evaluation {
    /// The value of a metric.
    pub fn metric(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Accuracy => self.accuracy,
            Metric::F1 => self.f1,
            Metric::MatthewsCorrelation => self.matthews_correlation,
        }
    }
}

/// A run that has begun.
#[derive(Clone, Debug)]
pub struct Run {
    /// The seed of new weights, dropout and data order.
    pub seed: u64,
    /// How far it has come.
    pub state: RunState,
    /// The main metric of its task; `None` before the run has written a summary.
    pub metric: Option<Metric>,
    /// The main metric of always predicting the majority class: 0 for Matthews' correlation, otherwise what was
    /// recorded.
    pub majority: Option<f64>,
    /// The main metric at the end: that of the last evaluation, or for a run that diverged before its first one that of
    /// the majority class. `None` for an unfinished run, and for such a diverged one without a recorded majority.
    pub final_metric: Option<f64>,
    /// Whether the run diverged or its final metric is not above that of the majority class; `None` if unfinished.
    pub failed: Option<bool>,
    /// Optimizer steps taken.
    pub steps_taken: u64,
    /// Seconds spent on training steps, if the run has written a summary.
    pub train_seconds: Option<f64>,
    /// The optimizer steps in `metrics.jsonl`.
    pub steps: Vec<Step>,
    /// The evaluations in `metrics.jsonl`.
    pub evaluations: Vec<Evaluation>,
}

/// A run's file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not JSON of the expected form.
    #[error("{}, line {line}: {message}; the file is damaged: to repeat the run, move its folder away first", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A line of `predictions.jsonl` is not a prediction.
    #[error(
        "{}, line {line}: {message}; move the file away to report the run without its predictions", path.display()
    )]
    Predictions {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The summary of an ended run lacks its main metric.
    #[error("{}: the run has ended, but its main metric `{key}` is missing; to repeat the run, move its folder away first", path.display())]
    NoMetric {
        /// The file.
        path: PathBuf,
        /// The key of the metric.
        key: &'static str,
    },
}

const METRICS: &str = "metrics.jsonl";

impl Run {
    /// Reads a run from its output folder: `metrics.jsonl` and, if the run has written one, `summary.json`. `None` if
    /// there is neither: the run has not begun.
    ///
    /// Unknown keys are ignored, and so is a last line of `metrics.jsonl` that is cut off: the run may be writing it.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is malformed, and an ended run without its main metric.
    pub fn read(folder: &Path, seed: u64) -> Result<Option<Self>, ReadError> {
        let metrics_path = folder.join(METRICS);
        let metrics = read(&metrics_path)?;
        let summary = Summary::read(folder)?;
        if metrics.is_none() && summary.is_none() {
            return Ok(None);
        }
        let (steps, evaluations) = parse_metrics(&metrics.unwrap_or_default(), &metrics_path)?;
        let mut run = Self {
            seed,
            state: RunState::Unfinished,
            metric: None,
            majority: None,
            final_metric: None,
            failed: None,
            steps_taken: steps.last().map_or(0, |step| step.step),
            train_seconds: None,
            steps,
            evaluations,
        };
        let Some(summary) = summary else { return Ok(Some(run)) };
        let last = run.evaluations.last().map(|last| last.metric(summary.metric));
        let last = summary.main_metric().or(last).filter(|value| value.is_finite());
        let majority = summary.metric.chance_level().or(summary.majority);
        run.state = summary.state();
        run.metric = Some(summary.metric);
        run.majority = majority;
        run.train_seconds = summary.train_seconds;
        (run.final_metric, run.failed) = match run.state {
            RunState::Unfinished => (None, None),
            RunState::Diverged => (last.or(majority), Some(true)),
            RunState::Finished => {
                let key = summary.metric.key();
                let missing = || ReadError::NoMetric { path: Summary::path(folder), key };
                let last = last.ok_or_else(missing)?;
                let is_at_most = |majority| last <= majority;
                (Some(last), summary.failed.or(Some(majority.is_some_and(is_at_most))))
            }
        };
        if run.state != RunState::Unfinished {
            run.steps_taken = summary.steps as u64;
        }
        Ok(Some(run))
    }

    /// Whether the run has ended, by finishing or by diverging.
    pub fn has_ended(&self) -> bool {
        self.state != RunState::Unfinished
    }

    /// The best value of the main metric over all evaluations, or the final one if they were not recorded.
    pub fn best_metric(&self) -> Option<f64> {
        let metric = self.metric.unwrap_or_default();
        let values = self.evaluations.iter().map(|evaluation| evaluation.metric(metric));
        values.chain(self.final_metric).filter(|value| value.is_finite()).reduce(f64::max)
    }
}

/// The content of a file; `None` if it does not exist.
pub(crate) fn read(path: &Path) -> Result<Option<String>, ReadError> {
    match files::read_to_string(path, FileKind::Data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError::Io { path: path.to_owned(), source }),
        Ok(text) => Ok(Some(text)),
    }
}

fn parse_metrics(text: &str, path: &Path) -> Result<(Vec<Step>, Vec<Evaluation>), ReadError> {
    let (mut steps, mut evaluations) = (Vec::new(), Vec::new());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let malformed = |message: String| ReadError::Malformed {
            path: path.to_owned(),
            line: index + 1,
            message,
        };
        let record: Value = match serde_json::from_str(line) {
            Ok(record) => record,
            Err(_) if !line.ends_with('\n') => break,
            Err(error) => return Err(malformed(error.to_string())),
        };
        let number = |key| record.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let step = record.get("step").and_then(Value::as_u64);
        let step = step.ok_or_else(|| malformed("`step` is missing or not a count".into()))?;
        if record.get(Metric::Accuracy.key()).is_some() {
            evaluations.push(Evaluation {
                step,
                loss: number("eval_loss"),
                accuracy: number(Metric::Accuracy.key()),
                f1: number(Metric::F1.key()),
                matthews_correlation: number(Metric::MatthewsCorrelation.key()),
            });
        } else {
            steps.push(Step {
                step,
                loss: number("loss"),
                grad_norm: number("grad_norm"),
                distance: number("distance"),
            });
        }
    }
    Ok((steps, evaluations))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    const STEP: &str = r#"{"step":1,"epoch":1,"loss":0.7,"learning_rate":0.0,"grad_norm":2.5,"distance":0.1,"new":[]}"#;
    const EVALUATION: &str = r#"{"step":1,"epoch":1,"eval_loss":0.6,"eval_accuracy":0.7,"eval_matthews_correlation":0.4}"#;

    fn run(metrics: Option<&str>, summary: Option<Value>) -> Result<Option<Run>, ReadError> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, text: String| fs::write(folder.path().join(name), text).unwrap();
        if let Some(metrics) = metrics {
            write(METRICS, metrics.to_owned());
        }
        if let Some(summary) = summary {
            write("summary.json", summary.to_string());
        }
        Run::read(folder.path(), 7)
    }

    fn ended(summary: Value) -> Run {
        run(Some(&format!("{STEP}\n{EVALUATION}\n")), Some(summary)).unwrap().unwrap()
    }

    #[test]
    fn a_folder_without_files_has_not_begun() {
        assert!(run(None, None).unwrap().is_none());
    }

    #[test]
    fn a_run_is_unfinished_until_its_summary_says_otherwise() {
        // The last line is being written.
        let running = run(Some(&format!("{STEP}\n{EVALUATION}\n{{\"step\":2,\"lo")), None);
        let running = running.unwrap().unwrap();
        assert_eq!(
            (running.state, running.metric, running.steps_taken),
            (RunState::Unfinished, None, 1)
        );
        assert_eq!((running.final_metric, running.failed), (None, None));
        assert_eq!(running.steps, [Step { step: 1, loss: 0.7, grad_norm: 2.5, distance: 0.1 }]);
        assert_eq!(running.evaluations.len(), 1);
        assert_eq!(running.evaluations[0].metric(Metric::MatthewsCorrelation), 0.4);
        assert!(running.evaluations[0].metric(Metric::F1).is_nan());

        let interrupted = ended(json!({"steps": 1, "finished": false, "failed": null}));
        assert_eq!((interrupted.state, interrupted.failed), (RunState::Unfinished, None));
    }

    #[test]
    fn a_finished_run_has_its_final_and_best_metric() {
        let run = ended(json!({
            "eval_accuracy": 0.65, "steps": 1, "train_seconds": 3.5, "finished": true, "failed": false,
            "majority": 0.5, "examples_per_second": 12.0
        }));
        assert_eq!(
            (run.state, run.failed, run.metric),
            (RunState::Finished, Some(false), Some(Metric::Accuracy))
        );
        assert_eq!((run.final_metric, run.best_metric()), (Some(0.65), Some(0.7)));
        assert_eq!((run.majority, run.train_seconds), (Some(0.5), Some(3.5)));
        // Not recorded in the summary: computed.
        let at_majority = json!({
            "eval_accuracy": 0.5, "steps": 1, "finished": true, "majority": 0.5
        });
        assert_eq!(ended(at_majority).failed, Some(true));
        let no_correlation = json!({
            "metric": "eval_matthews_correlation", "eval_matthews_correlation": 0.0, "steps": 1, "finished": true
        });
        assert_eq!(ended(no_correlation).failed, Some(true));
    }

    #[test]
    fn a_diverged_run_failed_with_its_last_evaluation_or_the_majority() {
        let summary = json!({
            "steps": 1, "finished": false, "failed": null, "diverged_at": 2, "majority": 0.5
        });
        let evaluated = ended(summary.clone());
        assert_eq!((evaluated.state, evaluated.failed), (RunState::Diverged, Some(true)));
        assert_eq!(evaluated.final_metric, Some(0.7));
        // JSON has no NaN: the loss of the last step is null.
        let at_once = run(Some("{\"step\":1,\"loss\":null}\n"), Some(summary)).unwrap().unwrap();
        assert_eq!((at_once.final_metric, at_once.best_metric()), (Some(0.5), Some(0.5)));
        assert!(at_once.steps[0].loss.is_nan());
    }

    #[test]
    fn broken_files_are_errors_that_name_file_and_line() {
        for (metrics, summary, expected) in [
            (format!("{STEP}\nnonsense\n{STEP}\n"), None, "metrics.jsonl, line 2"),
            (format!("{STEP}\n{{\"loss\":1}}\n"), None, "metrics.jsonl, line 2: `step`"),
            (STEP.to_owned(), Some(json!({"steps": "one"})), "summary.json, line 1"),
            (STEP.to_owned(), Some(json!({"steps": 1, "finished": true})), "`eval_accuracy`"),
            (
                STEP.to_owned(),
                Some(json!({"steps": 1, "finished": true, "metric": "eval_f1"})),
                "its main metric `eval_f1` is missing",
            ),
            (
                STEP.to_owned(),
                Some(json!({"steps": 1, "finished": true, "metric": "x"})),
                "eval_f1",
            ),
        ] {
            let error = run(Some(&metrics), summary).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
