//! Predictions of a fine-tuned model, for a text, a pair of texts, or each row of a file.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::{Args, ValueEnum};
use rte::{Example, Split, Task, TextDataset, read_examples};

use super::inference::InferenceArgs;
use crate::ProgramError;
use crate::device::{self, Found, Work};
use crate::model_folder::{ModelFolder, ModelSource};
use crate::predictions::{Predicted, json_lines};
use crate::resume::{Output, same_file};
use crate::terminal::{notice, progress_bar};
use crate::train::step::input;

/// The flags of `predict`.
#[derive(Args, Debug)]
pub(super) struct PredictArgs {
    #[command(flatten)]
    inference: InferenceArgs,

    /// The first text of a pair
    #[arg(
        long,
        value_name = "TEXT",
        requires = "hypothesis",
        conflicts_with_all = ["input", "text"]
    )]
    premise: Option<String>,

    /// The second text of a pair
    #[arg(long, value_name = "TEXT", requires = "premise")]
    hypothesis: Option<String>,

    /// A single text, for a task without pairs
    #[arg(long, value_name = "TEXT", conflicts_with = "input")]
    text: Option<String>,

    /// A file of texts or pairs with the columns of the model's task, as Parquet, JSONL, TSV or CSV; - reads standard
    /// input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// The task of the input [default: the one that the model was fine-tuned on, or rte where its folder does not say]
    #[arg(long, value_name = "NAME")]
    task: Option<String>,

    /// The file to write the predictions to, replacing it if it exists; - for standard output
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

/// Predict and print or write.
///
/// # Errors
/// An unusable device, model or input, an output that cannot be written.
pub(super) fn predict(args: &PredictArgs) -> Result<(), ProgramError> {
    if args.premise.is_none() && args.text.is_none() && args.input.is_none() {
        return Err(nothing_to_predict());
    }
    check_output(&args.output)?;
    let is_input = |input: &PathBuf| same_file(input, &args.output);
    if args.input.as_ref().is_some_and(is_input) {
        return Err(ProgramError::Usage(
            "--output would replace --input; name another file".into(),
        ));
    }
    let device = args.inference.choose_device()?;
    let folder = args.inference.open()?;
    if let ModelSource::Folder(path) = &folder.source
        && Output::is_file_of_model(path, &args.output)
    {
        let output = args.output.display();
        return Err(ProgramError::Usage(format!("--output {output} is a file of the model")));
    }
    let task = folder.task(args.task.as_deref())?;
    if let Format::Glue = args.format {
        folder.require_labels_of(&task)?;
        task.submission(Split::Test, []).ok_or_else(not_of_glue)?;
    }
    let examples = read(args, &task)?;
    if examples.is_empty() {
        return Err(ProgramError::Mismatch("standard input contains no examples".into()));
    }
    let work = Predict { args, folder: &folder, examples: &examples, found: &device };
    let predicted = device::run(device.name, work)??;
    let text = format(args.format, &folder, &task, &examples, &predicted)?;
    if args.output == Path::new("-") {
        io::stdout().write_all(text.as_bytes()).map_err(ProgramError::stdout)
    } else {
        files::write(&args.output, text.as_bytes()).map_err(ProgramError::io("write", &args.output))
    }
}

/// Refuse an output that cannot be written, before the work begins.
fn check_output(output: &Path) -> Result<(), ProgramError> {
    if output == Path::new("-") {
        return Ok(());
    }
    let folder = files::parent(output);
    let problem = match folder.metadata() {
        Ok(_) if output.is_dir() => io::ErrorKind::IsADirectory.into(),
        Ok(_) if output.exists() && !output.is_file() => {
            io::Error::other("it is not a regular file; - writes to standard output")
        }
        Ok(folder) if !folder.is_dir() => io::ErrorKind::NotADirectory.into(),
        Ok(folder) if folder.permissions().readonly() => io::ErrorKind::PermissionDenied.into(),
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    Err(ProgramError::io("write", output)(problem))
}

/// Read the texts given by the flags.
fn read(args: &PredictArgs, task: &Task) -> Result<Vec<Example>, ProgramError> {
    // Whatever the column of the labels may hold.
    let task = &Task { label: Vec::new(), ..task.clone() };
    let of_pairs = !task.text_pair.is_empty();
    let example = |text: &str, text_pair: Option<&str>| {
        if text_pair.is_some() != of_pairs {
            return Err(ProgramError::Usage(match of_pairs {
                true => "this model is for pairs: use --premise and --hypothesis".into(),
                false => "this model is for single texts: use --text".into(),
            }));
        }
        let (text, text_pair) = (text.to_owned(), text_pair.map(str::to_owned));
        Ok(vec![Example { text, text_pair, label: None, idx: 0 }])
    };
    match (&args.premise, &args.text, &args.input) {
        (Some(premise), ..) => example(premise, args.hypothesis.as_deref()),
        (_, Some(text), _) => example(text, None),
        (_, _, Some(input)) if input == Path::new("-") => {
            Ok(read_examples(io::stdin().lock(), "standard input", task)?)
        }
        (_, _, Some(input)) => {
            let dataset = TextDataset::from_file(input, task)?;
            if dataset.dropped() > 0 {
                let input = input.display();
                notice(format_args!("{input}: {} incomplete rows are skipped", dataset.dropped()));
            }
            Ok(dataset.examples().to_vec())
        }
        _ => Err(nothing_to_predict()),
    }
}

struct Predict<'a> {
    args: &'a PredictArgs,
    folder: &'a ModelFolder,
    examples: &'a [Example],
    found: &'a Found,
}

impl Work for Predict<'_> {
    type Output = Result<Predicted, ProgramError>;

    fn on<B: AutodiffBackend>(self, device: B::Device) -> Self::Output {
        run::<B::InnerBackend>(&self, &device)
    }
}

fn run<B: Backend>(
    &Predict { args, folder, examples, found }: &Predict<'_>,
    device: &B::Device,
) -> Result<Predicted, ProgramError> {
    let encoded = folder.tokenizer.encode_all(examples)?;
    let model = folder.load_fine_tuned::<B>(args.inference.precision_on(found), device)?;
    let progress = progress_bar(encoded.len(), "examples");
    let mut predicted = Predicted::default();
    let loader = args.inference.batches::<B>(folder, encoded, found.name.kind, device);
    for batch in loader.iter() {
        let count = batch.idx.len();
        predicted.extend(Predicted::of(model.forward(&input(batch)), count));
        progress.set_position(predicted.len() as u64);
    }
    progress.finish_and_clear();
    Ok(predicted)
}

fn format(
    format: Format,
    folder: &ModelFolder,
    task: &Task,
    examples: &[Example],
    predicted: &Predicted,
) -> Result<String, ProgramError> {
    let idx = examples.iter().map(|example| example.idx);
    match format {
        Format::Json => json_lines(predicted.named(&folder.labels(), idx)),
        Format::Glue => {
            let label_indices = folder.require_labels_of(task)?;
            let label = |index| label_indices.iter().position(|&other| other == index);
            let labels = predicted.labels().map(label);
            let rows = idx.zip(labels).filter_map(|(idx, label)| Some((idx, label?)));
            let submission = task.submission(Split::Test, rows);
            submission.map(|(_, text)| text).ok_or_else(not_of_glue)
        }
    }
}

fn nothing_to_predict() -> ProgramError {
    ProgramError::Usage(
        "nothing to predict: give --text, or --premise and --hypothesis, or --input".into(),
    )
}

fn not_of_glue() -> ProgramError {
    ProgramError::Usage(
        "--format glue: this task is not part of GLUE's leaderboard; use --format json".into(),
    )
}
