//! The accuracy and loss of a fine-tuned model.

use std::io::Write;
use std::path::PathBuf;

use albert::AlbertForSequenceClassification;
use burn::data::dataloader::DataLoader;
use burn::tensor::backend::Backend;
use clap::Args;
use rte::{Padding, RteBatcher, Split};
use serde_json::json;

use crate::backend::{self, Inference};
use crate::fine_tuning::score_batch;
use crate::journal::Score;
use crate::loader::Loader;
use crate::task::ModelFolder;
use crate::{ProgramError, predict};

/// The flags of `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// A fine-tuned model's folder, or the output folder of finetune
    #[arg(long, value_name = "FOLDER")]
    pub model: PathBuf,

    /// RTE: a folder with its splits, or one file
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,

    /// Which split of a folder: train, validation or test
    #[arg(long, default_value = "validation")]
    pub split: Split,

    /// Examples that go through the model at once
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = predict::at_least_one)]
    pub batch_size: usize,

    /// Truncate a pair to this many tokens [default: what the model was fine-tuned with]
    #[arg(long, value_name = "TOKENS", value_parser = predict::at_least_one)]
    pub max_length: Option<usize>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Evaluate and print, on the program's backend.
///
/// # Errors
/// An unusable model or unusable data, a split without labels.
pub fn evaluate(args: &EvaluateArgs) -> Result<(), ProgramError> {
    let score = run::<Inference>(args, &backend::device())?;
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

fn run<B: Backend>(args: &EvaluateArgs, device: &B::Device) -> Result<Score, ProgramError> {
    let folder = ModelFolder::open_fine_tuned(&args.model, args.max_length)?;
    let mut examples = folder.labelled(&args.data, args.split)?;
    let indices = folder.label_indices();
    for example in &mut examples {
        example.label = example.label.map(|label| indices[label]);
    }
    let model = load::<B>(&folder, device)?;
    let batcher = RteBatcher {
        padding: Padding::Longest,
        max_length: folder.max_length,
        pad_token_id: folder.tokenizer.pad_token_id(),
    };
    let progress = predict::progress_bar(examples.len());
    let loader = Loader::<B>::in_order(examples, batcher, args.batch_size, device.clone());
    let mut score = Score::default();
    for batch in loader.iter().flatten() {
        score.add(score_batch(&model, batch));
        progress.set_position(score.examples as u64);
    }
    progress.finish_and_clear();
    Ok(score)
}

/// The classifier in a folder, which must be whole: a head drawn at random predicts nothing.
///
/// # Errors
/// Weights that cannot be read, or without the classifier.
pub fn load<B: Backend>(
    folder: &ModelFolder,
    device: &B::Device,
) -> Result<AlbertForSequenceClassification<B>, ProgramError> {
    let (model, report) =
        AlbertForSequenceClassification::from_pretrained(&folder.path, &folder.config, 0, device)?;
    if !report.new.is_empty() {
        return Err(ProgramError::Mismatch(format!(
            "{}: the weights lack {}; this model is not fine-tuned yet: use finetune first",
            folder.path.display(),
            report.new.join(", ")
        )));
    }
    Ok(model)
}
