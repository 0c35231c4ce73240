//! The accuracy and loss of a fine-tuned model.

use std::io::Write;
use std::path::PathBuf;

use burn::data::dataloader::DataLoader;
use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::Args;
use rte::Split;
use serde_json::json;

use crate::ProgramError;
use crate::backend::{self, Work};
use crate::devices;
use crate::fine_tuning::score_batch;
use crate::inference::{InferenceArgs, progress_bar};
use crate::journal::Score;
use crate::loader::Loader;
use crate::source::find_data;

/// The flags of `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a group of flags without a text of its own")]
    pub inference: InferenceArgs,

    /// RTE: a folder with its splits, one file, or OWNER/NAME on the hub
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,

    /// Which split of a folder: train, validation or test
    #[arg(long, default_value = "validation")]
    pub split: Split,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Evaluate and print.
///
/// # Errors
/// An unusable device or model, unusable data, a split without labels.
pub fn evaluate(args: &EvaluateArgs) -> Result<(), ProgramError> {
    let device = devices::choose(args.inference.device, args.inference.precision)?;
    let score = backend::run(device.name, args)??;
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
    let mut examples = folder.labelled(&find_data(&args.data)?, args.split)?;
    let indices = folder.label_indices();
    for example in &mut examples {
        example.label = example.label.map(|label| indices[label]);
    }
    let model = folder.classifier::<B>(args.inference.precision, device)?;
    let progress = progress_bar(examples.len(), "examples");
    let loader = Loader::<B>::in_order(
        examples,
        folder.batcher(),
        args.inference.batch_size,
        device.clone(),
    );
    let mut score = Score::default();
    for batch in loader.iter().flatten() {
        score.add(score_batch(&model, batch));
        progress.set_position(score.examples as u64);
    }
    progress.finish_and_clear();
    Ok(score)
}
