//! The accuracy and the loss of a fine-tuned model.

use std::io::Write;
use std::path::PathBuf;

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataset::InMemDataset;
use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::Args;
use rte::Split;
use serde_json::json;

use super::inference::InferenceArgs;
use crate::ProgramError;
use crate::device::{self, Work};
use crate::model_folder::find_data;
use crate::terminal::progress_bar;
use crate::train::progress::Score;
use crate::train::step::score;

/// The flags of `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    #[command(flatten)]
    inference: InferenceArgs,

    /// RTE: a folder with its splits, one file, or OWNER/NAME on the hub
    #[arg(long, value_name = "PATH")]
    data: PathBuf,

    /// Which split of a folder: train, validation or test
    #[arg(long, default_value = "validation")]
    split: Split,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Evaluate and print.
///
/// # Errors
/// An unusable device or model, unusable data, a split without labels.
pub(super) fn evaluate(args: &EvaluateArgs) -> Result<(), ProgramError> {
    let device = args.inference.choose_device()?;
    let score = device::run(device.name, args)??;
    let mut stdout = std::io::stdout();
    let printed = if args.json {
        let object = json!({
            "eval_accuracy": score.accuracy(),
            "eval_loss": score.loss(),
            "correct": score.correct,
            "examples": score.examples,
        });
        writeln!(stdout, "{object}")
    } else {
        let Score { correct, examples, .. } = score;
        let percent = 100.0 * score.accuracy();
        writeln!(
            stdout,
            "accuracy {percent:.2} % ({correct} of {examples}), loss {:.4}",
            score.loss()
        )
    };
    printed.map_err(ProgramError::stdout)
}

impl Work for &EvaluateArgs {
    type Output = Result<Score, ProgramError>;

    fn on<B: AutodiffBackend>(self, device: B::Device) -> Self::Output {
        run::<B::InnerBackend>(self, &device)
    }
}

fn run<B: Backend>(args: &EvaluateArgs, device: &B::Device) -> Result<Score, ProgramError> {
    let folder = args.inference.open()?;
    let mut examples = folder.read_labelled(&find_data(&args.data)?, args.split)?;
    let indices = folder.label_indices();
    for example in &mut examples {
        example.label = example.label.map(|label| indices[label]);
    }
    let model = folder.load_fine_tuned::<B>(args.inference.precision, device)?;
    let progress = progress_bar(examples.len(), "examples");
    let loader = DataLoaderBuilder::new(folder.batcher())
        .batch_size(args.inference.batch_size)
        .set_device(device.clone())
        .build(InMemDataset::new(examples));
    let mut total = Score::default();
    for batch in loader.iter() {
        total += score(&model, batch);
        progress.set_position(total.examples as u64);
    }
    progress.finish_and_clear();
    Ok(total)
}
