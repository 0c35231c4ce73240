//! The loss, the metrics and the confusion matrix of a fine-tuned model.

use std::io::Write;
use std::path::PathBuf;

use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::Args;
use rte::{Metric, Split, Task};
use serde_json::{Value, json};

use super::inference::InferenceArgs;
use crate::ProgramError;
use crate::data;
use crate::device::{self, Found, Work};
use crate::settings::{EMBEDDED, is_embedded};
use crate::terminal::progress_bar;
use crate::train::progress::Evaluation;
use crate::train::step;

/// The flags of `evaluate`.
#[derive(Args, Debug)]
pub(super) struct EvaluateArgs {
    #[command(flatten)]
    inference: InferenceArgs,

    /// A folder with the splits, one file, OWNER/NAME on the hub, or embedded, the bundled task
    #[arg(long, value_name = "PATH")]
    data: PathBuf,

    /// The task of the data [default: the one that the model was fine-tuned on, or rte where its folder does not say]
    #[arg(long, value_name = "NAME")]
    task: Option<String>,

    /// The split to evaluate, unless --data is one file: train, validation, test, validation_mismatched or test_mismatched
    /// [default: validation]
    #[arg(long, value_name = "NAME")]
    split: Option<Split>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Evaluate and print.
///
/// # Errors
/// The device, the model or the data is unusable, or the split has no labels.
pub(super) fn evaluate(args: &EvaluateArgs) -> Result<(), ProgramError> {
    if args.split.is_some() && args.data.is_file() {
        return Err(ProgramError::Usage(
            "--split has no effect where --data is a file; leave it out".into(),
        ));
    }
    let device = args.inference.choose_device()?;
    let (task, evaluation) = device::run(device.name, Evaluate { args, found: &device })??;
    let mut stdout = std::io::stdout();
    let printed = match args.json {
        true => writeln!(stdout, "{}", as_json(&task, &evaluation)),
        false => write!(stdout, "{}", as_text(&task, &evaluation)),
    };
    printed.map_err(ProgramError::stdout)
}

fn as_json(task: &Task, evaluation: &Evaluation) -> Value {
    let mut object = json!({
        "eval_accuracy": evaluation.metric(Metric::Accuracy),
        "eval_loss": evaluation.loss(),
        "correct": correct(evaluation),
        "examples": evaluation.examples(),
        "labels": task.labels,
        "confusion_matrix": evaluation.confusion.rows().collect::<Vec<_>>(),
    });
    for metric in task.metrics() {
        object[metric.key()] = evaluation.metric(*metric).into();
    }
    object
}

/// One line with the scores, then the confusion matrix.
fn as_text(task: &Task, evaluation: &Evaluation) -> String {
    let show = |metric: Metric| metric.show(evaluation.metric(metric));
    let mut text = format!(
        "{} ({} of {}), loss {:.4}",
        show(Metric::Accuracy),
        correct(evaluation),
        evaluation.examples(),
        evaluation.loss()
    );
    for metric in task.metrics().iter().filter(|metric| **metric != Metric::Accuracy) {
        text += &format!(", {}", show(*metric));
    }
    let width = task.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    text += &format!("\n{:width$}  predicted as {}\n", "", task.labels.join(", "));
    for (label, row) in task.labels.iter().zip(evaluation.confusion.rows()) {
        let counts: Vec<String> = row.iter().map(|count| format!("{count:>6}")).collect();
        text += &format!("{label:width$}  {}\n", counts.join(" "));
    }
    text
}

fn correct(evaluation: &Evaluation) -> u64 {
    evaluation.confusion.rows().enumerate().map(|(label, row)| row[label]).sum()
}

struct Evaluate<'a> {
    args: &'a EvaluateArgs,
    found: &'a Found,
}

impl Work for Evaluate<'_> {
    type Output = Result<(Task, Evaluation), ProgramError>;

    fn on<B: AutodiffBackend>(self, device: B::Device) -> Self::Output {
        run::<B::InnerBackend>(&self, &device)
    }
}

fn run<B: Backend>(
    &Evaluate { args, found }: &Evaluate<'_>,
    device: &B::Device,
) -> Result<(Task, Evaluation), ProgramError> {
    let folder = args.inference.open()?;
    let of_data = args.task.as_deref() == Some(EMBEDDED) && is_embedded(&args.data);
    let task = folder.task(args.task.as_deref().filter(|_| !of_data))?;
    let label_indices = folder.require_labels_of(&task)?;
    let dataset = data::open(&args.data, &task, args.split.unwrap_or(Split::Validation))?;
    dataset.require_labels()?;
    let examples = folder.encode(&dataset, &label_indices)?;
    let model = folder.load_fine_tuned::<B>(args.inference.precision_on(found), device)?;
    let progress = progress_bar(examples.len(), "examples");
    let loader = args.inference.batches::<B>(&folder, examples, found.name.kind, device);
    let mut total = Evaluation::new(task.labels.len());
    for batch in loader.iter() {
        total += &step::evaluate(&model, batch).0;
        progress.set_position(total.examples() as u64);
    }
    progress.finish_and_clear();
    // From the model's order of the labels to the task's.
    total.confusion = total.confusion.reordered(&label_indices);
    Ok((task, total))
}
