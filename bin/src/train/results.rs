//! What a run leaves behind: the model with its predictions, the summary, and the error that it ended with.

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use report::Summary;
use rte::{ConfusionMatrix, EncodedExample, Task};

use super::Inputs;
use super::progress::{EvaluationRecord, Progress};
use super::run::{Ending, Run};
use crate::ProgramError;
use crate::model_card::ModelCard;
use crate::predictions::json_lines;
use crate::resume::Output;
use crate::settings::Settings;
use crate::signals::StopRequest;

/// Save the summary of a run, after its model and what that predicts for the validation examples if `save_model`.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn save<B: AutodiffBackend>(
    run: &Run<B>,
    ending: Ending,
    (settings, inputs): (&Settings, &Inputs),
    output: &Output,
    save_model: bool,
) -> Result<Summary, ProgramError> {
    let Inputs { folder, task, label_indices, validation, validation_texts, .. } = inputs;
    if save_model {
        let model = run.best.as_ref().unwrap_or(&run.trainer.model).valid().model;
        let evaluation = run.evaluation_of_saved(ending);
        let examples = [run.length.train_examples, run.length.eval_examples];
        let card = ModelCard { settings, task, evaluation, examples };
        output.save_model(|path| {
            model.save_pretrained(&folder.config, path)?;
            folder.save_tokenizer_and_task(task, path)?;
            card.save(path)
        })?;
        let predicted = evaluation.and(run.predicted.as_ref());
        let labels = folder.labels();
        let lines = predicted.map(|it| it.labelled(&labels, label_indices, validation_texts));
        output.save_predictions(lines.map(json_lines).transpose()?)?;
    }
    let baseline = baseline(validation, label_indices);
    let summary = summarize(&run.progress, task, &baseline, ending, run.length.total_steps);
    output.save_summary(&summary)?;
    Ok(summary)
}

/// The error with which a run ended, if it did not finish.
pub(super) fn error<B: AutodiffBackend>(
    run: &Run<B>,
    ending: Ending,
    output: &Output,
    stop: &StopRequest,
) -> Option<ProgramError> {
    let is_best = run.best.is_some();
    match ending {
        Ending::Finished => None,
        Ending::Stopped => Some(ProgramError::Stopped {
            step: run.progress.step,
            // Without a signal, the user stopped it from the dashboard.
            signal: stop.signal().unwrap_or(2),
            folder: output.folder().to_owned(),
            is_best,
        }),
        Ending::Diverged(not_finite) => Some(ProgramError::NotFinite {
            not_finite,
            model: Some(output.model()).filter(|model| model.is_dir()),
            is_best,
        }),
    }
}

/// The confusion matrix of always predicting the most frequent label of the examples, in the task's order of the labels.
fn baseline(examples: &[EncodedExample], label_indices: &[usize]) -> ConfusionMatrix {
    let mut matrix = ConfusionMatrix::new(label_indices.len());
    for label in examples.iter().filter_map(|example| example.label) {
        matrix.add(label, label);
    }
    matrix.reordered(label_indices).majority_baseline()
}

fn summarize(
    progress: &Progress,
    task: &Task,
    baseline: &ConfusionMatrix,
    ending: Ending,
    total_steps: usize,
) -> Summary {
    let evaluations = &progress.evaluations;
    let last = evaluations.last();
    // The first metric of a task is its main one.
    let metric = task.metrics()[0];
    let diverged_at = match ending {
        Ending::Diverged(not_finite) => Some(not_finite.step),
        _ => None,
    };
    let finished = ending == Ending::Finished;
    let best = progress.best(metric);
    let highest = |values: fn(&EvaluationRecord) -> Option<f64>| {
        evaluations.iter().filter_map(values).max_by(f64::total_cmp)
    };
    Summary {
        metric,
        majority: Some(metric.value(baseline)),
        eval_accuracy: last.map(|evaluation| evaluation.eval_accuracy),
        best_eval_accuracy: highest(|evaluation| Some(evaluation.eval_accuracy)),
        eval_f1: last.and_then(|evaluation| evaluation.eval_f1),
        eval_matthews_correlation: last.and_then(|it| it.eval_matthews_correlation),
        best_eval_f1: highest(|evaluation| evaluation.eval_f1),
        best_eval_matthews_correlation: highest(|evaluation| evaluation.eval_matthews_correlation),
        best_epoch: best.map(|evaluation| evaluation.epoch),
        best_step: best.map(|evaluation| evaluation.step),
        eval_loss: last.map(|evaluation| evaluation.eval_loss),
        steps: progress.step,
        train_seconds: Some(progress.train_seconds),
        eval_seconds: Some(progress.eval_seconds),
        examples_per_second: Some(progress.examples_per_second()),
        finished,
        stopped_early: finished && progress.step < total_steps,
        diverged_at,
        failed: match last {
            _ if diverged_at.is_some() => Some(true),
            last => last.map(|evaluation| evaluation.metric(metric) <= metric.value(baseline)),
        },
    }
}
