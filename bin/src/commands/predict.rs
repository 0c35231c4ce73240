//! Predictions of a fine-tuned model, for one pair or a file of pairs.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataset::InMemDataset;
use burn::tensor::activation::softmax;
use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::{Args, ValueEnum};
use rte::{RteDataset, RteExample, read_examples};
use serde_json::json;

use super::inference::InferenceArgs;
use crate::ProgramError;
use crate::device::{self, Work};
use crate::model_folder::ModelFolder;
use crate::resume::file;
use crate::terminal::progress_bar;
use crate::train::step::input;

/// The flags of `predict`.
#[derive(Args, Debug)]
pub(super) struct PredictArgs {
    #[command(flatten)]
    inference: InferenceArgs,

    /// The first sentence
    #[arg(
        long,
        value_name = "TEXT",
        requires = "hypothesis",
        required_unless_present = "input",
        conflicts_with = "input"
    )]
    premise: Option<String>,

    /// The second sentence, which may follow from the first
    #[arg(long, value_name = "TEXT", requires = "premise")]
    hypothesis: Option<String>,

    /// Pairs as TSV with a header (sentence1, sentence2), JSONL (premise, hypothesis) or the hub's
    /// parquet; - for TSV or JSONL from standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Where the predictions go; - for standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,

    /// The format of the predictions
    #[arg(long, value_name = "NAME", default_value = "json")]
    format: Format,
}

/// The format of predictions.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// One JSON object per row: idx, label, probabilities
    Json,
    /// GLUE's submission: index, tab, prediction
    Glue,
}

/// One pair's prediction.
struct Prediction {
    idx: usize,
    /// By the model's label index.
    probabilities: Vec<f64>,
}

/// Predict and print or write.
///
/// # Errors
/// An unusable device, model or input, an output that cannot be written.
pub(super) fn predict(args: &PredictArgs) -> Result<(), ProgramError> {
    check_output(&args.output)?;
    let device = args.inference.choose_device()?;
    let folder = args.inference.open()?;
    let examples = read(args)?;
    if examples.is_empty() {
        return Err(ProgramError::Mismatch("standard input: there is no pair in it".into()));
    }
    let work = Predict { args, folder: &folder, examples: &examples };
    let predictions = device::run(device.name, work)??;
    let text = format(args.format, &folder, &predictions);
    if args.output == Path::new("-") {
        io::stdout().write_all(text.as_bytes()).map_err(ProgramError::stdout)
    } else {
        file::write(&args.output, text.as_bytes())
    }
}

/// Refuse an output that cannot be written, before the work begins.
fn check_output(output: &Path) -> Result<(), ProgramError> {
    if output == Path::new("-") {
        return Ok(());
    }
    let folder = file::parent(output);
    let problem = match folder.metadata() {
        Ok(_) if output.is_dir() => io::ErrorKind::IsADirectory.into(),
        Ok(folder) if !folder.is_dir() => io::ErrorKind::NotADirectory.into(),
        Ok(folder) if folder.permissions().readonly() => io::ErrorKind::PermissionDenied.into(),
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    Err(ProgramError::io("write", output)(problem))
}

/// The pairs that the flags name.
fn read(args: &PredictArgs) -> Result<Vec<RteExample>, ProgramError> {
    Ok(match (&args.premise, &args.hypothesis, &args.input) {
        (Some(premise), Some(hypothesis), None) => vec![RteExample {
            sentence1: premise.clone(),
            sentence2: hypothesis.clone(),
            label: None,
            idx: 0,
        }],
        (_, _, Some(input)) if input == Path::new("-") => {
            read_examples(io::stdin().lock(), "standard input")?
        }
        (_, _, Some(input)) => RteDataset::from_file(input)?.examples().to_vec(),
        _ => {
            return Err(ProgramError::Usage(
                "--premise and --hypothesis, or --input is needed".into(),
            ));
        }
    })
}

struct Predict<'a> {
    args: &'a PredictArgs,
    folder: &'a ModelFolder,
    examples: &'a [RteExample],
}

impl Work for Predict<'_> {
    type Output = Result<Vec<Prediction>, ProgramError>;

    fn on<B: AutodiffBackend>(self, device: B::Device) -> Self::Output {
        run::<B::InnerBackend>(self.args, self.folder, self.examples, &device)
    }
}

fn run<B: Backend>(
    args: &PredictArgs,
    folder: &ModelFolder,
    examples: &[RteExample],
    device: &B::Device,
) -> Result<Vec<Prediction>, ProgramError> {
    let encoded = folder.tokenizer.encode_all(examples)?;
    let model = folder.load_fine_tuned::<B>(args.inference.precision, device)?;
    let progress = progress_bar(encoded.len(), "examples");
    let mut predictions = Vec::with_capacity(encoded.len());
    let loader = DataLoaderBuilder::new(folder.batcher())
        .batch_size(args.inference.batch_size)
        .set_device(device.clone())
        .build(InMemDataset::new(encoded));
    for mut batch in loader.iter() {
        let indices = std::mem::take(&mut batch.idx);
        let logits = model.forward(&input(batch));
        let [_, labels] = logits.dims();
        let probabilities: Vec<f64> = softmax(logits, 1).into_data().iter().collect();
        let rows = indices.into_iter().zip(probabilities.chunks(labels));
        predictions.extend(rows.map(|(idx, row)| Prediction { idx, probabilities: row.to_vec() }));
        progress.set_position(predictions.len() as u64);
    }
    progress.finish_and_clear();
    Ok(predictions)
}

fn format(format: Format, folder: &ModelFolder, predictions: &[Prediction]) -> String {
    let labels: Vec<&str> = folder.config.id2label.values().map(String::as_str).collect();
    let mut text = String::new();
    if matches!(format, Format::Glue) {
        text.push_str("index\tprediction\n");
    }
    for Prediction { idx, probabilities } in predictions {
        let best = (0..probabilities.len())
            .max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]))
            .unwrap_or(0);
        // Writing to a string cannot fail.
        let _ = match format {
            Format::Json => {
                let probabilities: serde_json::Map<_, _> = labels
                    .iter()
                    .zip(probabilities)
                    .map(|(label, probability)| (label.to_string(), json!(probability)))
                    .collect();
                let row =
                    json!({ "idx": idx, "label": labels[best], "probabilities": probabilities });
                writeln!(text, "{row}")
            }
            Format::Glue => writeln!(text, "{idx}\t{}", labels[best]),
        };
    }
    text
}
