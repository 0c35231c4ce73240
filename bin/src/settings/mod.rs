//! The settings of a run: the flags of `finetune`, which are also the keys of a `--config` file.

mod resolve;
mod run;
mod table;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use adamw_l2sp::ScheduleKind;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Command, FromArgMatches, ValueEnum};
use rte::Padding;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::{Deserialize, Serialize};

pub(crate) use self::resolve::override_with;
pub(crate) use self::table::{differences, show_value};
use crate::ProgramError;
use crate::device::{Devices, PrecisionName};

/// The settings of a run, as flags of `finetune` and as keys of a `--config` file.
///
/// The defaults are the RTE recipe for albert-large-v2 of Mosbach, Andriushchenko & Klakow (arXiv 2006.04884), with L²-SP
/// instead of plain weight decay.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Set --model and --data, where they are not given: rte-large is albert/albert-large-v2 and nyu-mll/glue
    #[arg(long, value_name = "NAME", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeName>,

    /// The pretrained model: a Hugging Face folder with config.json, model.safetensors and tokenizer.json; OWNER/NAME or
    /// OWNER/NAME@REVISION on the hub; or embedded, the small bundled model
    #[arg(long, value_name = "FOLDER", default_value = EMBEDDED, help_heading = MODEL_AND_DATA)]
    pub model: PathBuf,

    /// The data: a folder with the splits as Parquet, JSONL, TSV or CSV; the training file, with the validation file in the same
    /// folder; OWNER/NAME on the hub, such as nyu-mll/glue; or embedded, the bundled task
    #[arg(long, value_name = "PATH", default_value = EMBEDDED, help_heading = MODEL_AND_DATA)]
    pub data: PathBuf,

    /// The task of the data: rte, mnli, qnli, mrpc, qqp, cola, sst2, wnli or snli, with the columns and labels of its
    /// published files; or embedded, the bundled task [default: rte, without --text-column]
    #[arg(long, value_name = "NAME", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,

    /// The column of the text, in data of your own (Parquet, JSONL, TSV or CSV)
    #[arg(long, value_name = "COLUMN", conflicts_with = "task", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_column: Option<String>,

    /// The column of the second text, if there is one
    #[arg(long, value_name = "COLUMN", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair_column: Option<String>,

    /// The column of the label [default: label]
    #[arg(long, value_name = "COLUMN", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,

    /// The labels in the order of their ids, separated by commas, such as no,yes [default: those of the training split, in the
    /// order of its ClassLabel in Parquet, otherwise sorted]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,

    /// The file or folder of the validation split, if it is not part of --data
    #[arg(long, value_name = "PATH", conflicts_with = "validation_share", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_data: Option<PathBuf>,

    /// Where --data has no validation split, hold out this share of the training examples for validation, between 0 and 1 and
    /// the same for every label, drawn with --sample-seed
    #[arg(long, value_name = "SHARE", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_share: Option<f64>,

    /// Train on a random sample of this number of examples, drawn with --sample-seed [default: all]
    #[arg(long, value_name = "COUNT", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<usize>,

    /// Initialize a new classifier even if the model has one for the same labels; for other labels, it is always new
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set, help_heading = MODEL_AND_DATA)]
    pub new_classifier: bool,

    /// Reinitialize the pooler and this many of the top layers (Zhang et al. 2021); 0 reinitializes the
    /// pooler alone. Values above 0 need layers with weights of their own, so not ALBERT [default: none]
    #[arg(long, value_name = "COUNT", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reinit_layers: Option<usize>,

    /// Truncate a text or a pair of texts to this number of tokens, special tokens included
    #[arg(long, value_name = "TOKENS", default_value_t = DEFAULT_MAX_LENGTH, help_heading = MODEL_AND_DATA)]
    pub max_length: usize,

    /// The length of a batch: longest pads to its longest example, max-length always to --max-length, and multiple-of-N, such as
    /// multiple-of-32, to its longest example rounded up to a multiple of N. On XLA, longest means max-length
    #[arg(long, value_name = "NAME", default_value = "longest", help_heading = MODEL_AND_DATA)]
    pub padding: Padding,

    /// adamw-l2sp decays pretrained weights towards their pretrained values, adamw decays all weights towards zero
    #[arg(long, value_name = "NAME", default_value = "adamw-l2sp", help_heading = OPTIMIZER)]
    pub optimizer: OptimizerName,

    /// λ₁ of adamw-l2sp: the decay of pretrained weights towards their pretrained values, at each step times the learning rate
    #[arg(long, value_name = "NUMBER", default_value_t = 0.5, help_heading = OPTIMIZER)]
    pub source_decay: f64,

    /// Instead of λ₁, set the pull of adamw-l2sp over the whole run, Σηλ₁, whatever the learning rate and the number of steps.
    /// Weights without a gradient would return 1 − exp(−NUMBER) of the way to their pretrained values
    #[arg(long, value_name = "NUMBER", conflicts_with = "source_decay", help_heading = OPTIMIZER)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_pull: Option<f64>,

    /// λ₂ of adamw-l2sp: the decay of new weights towards zero, at each step times the learning rate
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, help_heading = OPTIMIZER)]
    pub novel_decay: f64,

    /// The weight decay of adamw
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, help_heading = OPTIMIZER)]
    pub weight_decay: f64,

    /// β₁, the decay rate of the first moment
    #[arg(long, value_name = "NUMBER", default_value_t = 0.9, help_heading = OPTIMIZER)]
    pub beta_1: f64,

    /// β₂, the decay rate of the second moment
    #[arg(long, value_name = "NUMBER", default_value_t = 0.999, help_heading = OPTIMIZER)]
    pub beta_2: f64,

    /// ε, added to the denominator
    #[arg(long, value_name = "NUMBER", default_value = "1e-6", help_heading = OPTIMIZER)]
    pub epsilon: f64,

    /// Divide by the largest second moment so far
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set, help_heading = OPTIMIZER)]
    pub amsgrad: bool,

    /// Do not divide the moments by 1 − βᵗ, as in BERT's original Adam (Devlin et al. 2019). It makes fine-tuning less stable
    /// (Mosbach et al. 2021, Zhang et al. 2021)
    #[arg(long = "no-bias-correction", action = clap::ArgAction::SetFalse, help_heading = OPTIMIZER)]
    pub bias_correction: bool,

    /// Label smoothing ε: spread this share of each training target evenly over all labels (Szegedy et al. 2016)
    #[arg(long, value_name = "NUMBER", default_value_t = 0.0, help_heading = OPTIMIZER)]
    pub label_smoothing: f64,

    /// Do not train the parameters whose path begins with a match of this regular expression, such as encoder.embeddings or
    /// encoder.layer_groups.(0|1).layers; separate several expressions by commas [default: none]
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', help_heading = OPTIMIZER)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,

    /// Clip the gradients to this global L2 norm; 0 disables clipping
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, help_heading = OPTIMIZER)]
    pub max_grad_norm: f64,

    /// Passes over the training examples; 5 by default for the bundled model
    #[arg(long, value_name = "COUNT", default_value_t = 3, help_heading = SCHEDULE)]
    pub epochs: usize,

    /// Stop after this number of optimizer steps if the epochs have more; the schedule ends there [default: all epochs]
    #[arg(long, value_name = "COUNT", help_heading = SCHEDULE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,

    /// Examples in a batch
    #[arg(long, value_name = "COUNT", default_value_t = 16, help_heading = SCHEDULE)]
    pub batch_size: usize,

    /// Accumulate the gradients of this number of batches for each optimizer step
    #[arg(long, value_name = "COUNT", default_value_t = 1, help_heading = SCHEDULE)]
    pub gradient_accumulation: usize,

    /// The peak learning rate; 3e-4 by default for the bundled model
    #[arg(long, value_name = "NUMBER", default_value = "2e-5", help_heading = SCHEDULE)]
    pub learning_rate: f64,

    /// The peak learning rate of the classifier and the pooler [default: that of --learning-rate]
    #[arg(long, value_name = "NUMBER", help_heading = SCHEDULE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_learning_rate: Option<f64>,

    /// Layer-wise learning-rate decay (Howard & Ruder 2018): multiply the learning rate by this factor, above 0 and at most 1,
    /// once for each layer below the top; the top layer and the classifier have the full rate, the embeddings the lowest. Not
    /// for models whose layers share their weights [default: 1]
    #[arg(long, value_name = "FACTOR", help_heading = SCHEDULE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,

    /// The learning rate after the warm-up: linear or cosine decay to zero, or constant
    #[arg(long, value_name = "NAME", default_value = "linear", value_parser = named::<ScheduleKind>(&["linear", "cosine", "constant"]), help_heading = SCHEDULE)]
    pub schedule: ScheduleKind,

    /// The share of all steps, from 0 to 1, over which the learning rate rises linearly from zero to its peak
    #[arg(long, value_name = "RATIO", default_value_t = 0.1, help_heading = SCHEDULE)]
    pub warmup_ratio: f64,

    /// The output folder [default: a new one, runs/0001, runs/0002, …]
    #[arg(long, value_name = "FOLDER", help_heading = RUN)]
    #[serde(skip_serializing)]
    pub output: Option<PathBuf>,

    /// Replace the run in the output folder
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set, help_heading = RUN)]
    #[serde(skip_serializing)]
    pub overwrite: bool,

    /// Seeds the new weights and the dropout
    #[arg(long, value_name = "NUMBER", default_value_t = 10013, value_parser = seed(), help_heading = RUN)]
    pub seed: u64,

    /// Seeds the order of the training examples
    #[arg(long, value_name = "NUMBER", default_value_t = 20003, value_parser = seed(), help_heading = RUN)]
    pub data_seed: u64,

    /// Seeds the choice of examples for --max-examples and --validation-share
    #[arg(long, value_name = "NUMBER", default_value_t = 20003, value_parser = seed(), help_heading = RUN)]
    pub sample_seed: u64,

    /// Save a checkpoint every STEPS optimizer steps, in addition to the one at the end of each epoch [default: every five
    /// minutes]
    #[arg(long, value_name = "STEPS", help_heading = RUN)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<usize>,

    /// Write every STEPS-th optimizer step, and the last, to metrics.jsonl; evaluations are always written
    #[arg(long, value_name = "STEPS", default_value_t = 1, help_heading = RUN)]
    pub log_every: usize,

    /// Also write the contents of metrics.jsonl in other formats, separated by commas: tensorboard writes an event file to
    /// tensorboard/, csv writes metrics.csv and evaluations.csv [default: none]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = RUN)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogFormat>,

    /// Evaluate every STEPS optimizer steps, and at the end of the run [default: at the end of each epoch]
    #[arg(long, value_name = "STEPS", help_heading = RUN)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<usize>,

    /// Stop when this number of evaluations in a row have not improved the main metric of the task [default: never]
    #[arg(long, value_name = "COUNT", help_heading = RUN)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,

    /// The weights to save as model/ at the end: those after the last step, or those of the evaluation with the best main metric
    /// of the task, the earliest in case of a tie
    #[arg(long, value_name = "NAME", default_value = "last", help_heading = RUN)]
    pub keep: Keep,

    /// How to show progress: tui draws charts on the terminal, plain prints lines, off shows none; auto is tui on a terminal,
    /// where that is built in, and plain elsewhere
    #[arg(long, value_name = "NAME", default_value = "auto", help_heading = RUN)]
    pub dashboard: DashboardName,

    /// The device to use, such as cpu, cuda:1, vulkan or tch:cuda:0; `l2sp devices` lists them. Several, such as cuda:0,cuda:1,
    /// each compute a share of every batch [default: the best device available]
    #[arg(long, value_name = "NAMES", help_heading = DEVICE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Devices>,

    /// The precision of linear layers and attention; weights, optimizer, layer norms and loss are always fp32. With
    /// auto it is bf16 on CPUs with AVX-512-BF16 or AMX and on GPUs that support it, and fp32 elsewhere
    #[arg(long, value_name = "NAME", default_value = "fp32", value_parser = precision(), help_heading = DEVICE)]
    pub precision: PrecisionName,
}

const MODEL_AND_DATA: &str = "Model and data";
const OPTIMIZER: &str = "Optimizer";
const SCHEDULE: &str = "Schedule";
const RUN: &str = "Run";
const DEVICE: &str = "Device";

/// The name of the bundled model and of the bundled task. (A folder of this name is `./embedded`.)
pub(crate) const EMBEDDED: &str = "embedded";

/// Whether a `--model` or `--data` means the bundled one.
pub(crate) fn is_embedded(path: &Path) -> bool {
    path == Path::new(EMBEDDED)
}

/// The longest pair, in tokens, where neither a flag nor the model says otherwise.
pub(crate) const DEFAULT_MAX_LENGTH: usize = 128;

/// The task without `--task`.
pub(crate) const DEFAULT_TASK: &str = "rte";

/// The defaults of the command line.
impl Default for Settings {
    #[expect(clippy::expect_used, reason = "a test parses the empty command line")]
    fn default() -> Self {
        let command = Self::augment_args(Command::new("")).no_binary_name(true);
        let matches = command.get_matches_from([""; 0]);
        Self::from_arg_matches(&matches).expect("every setting has a default")
    }
}

/// A known model on known data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipeName {
    /// albert-large-v2 on GLUE's RTE.
    RteLarge,
}

impl RecipeName {
    /// The names of the model and the data on the hub.
    pub fn model_and_data(self) -> (&'static str, &'static str) {
        match self {
            Self::RteLarge => ("albert/albert-large-v2", "nyu-mll/glue"),
        }
    }
}

/// Which optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerName {
    /// Pretrained weights decay to their pretrained values, new ones to zero.
    #[value(name = "adamw-l2sp")]
    #[serde(rename = "adamw-l2sp")]
    AdamWL2SP,
    /// All weights decay to zero.
    #[value(name = "adamw")]
    #[serde(rename = "adamw")]
    AdamW,
}

/// Which weights a run saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The weights after the last step.
    Last,
    /// The weights of the best evaluation so far, which checkpoints then contain as well.
    Best,
}

/// A format that the metrics are written in, besides `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// TensorBoard's event file.
    Tensorboard,
    /// A table of the steps and one of the evaluations.
    Csv,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DashboardName {
    /// `tui` on a terminal, `plain` elsewhere.
    Auto,
    /// burn-train's dashboard.
    Tui,
    /// A line every few seconds.
    Plain,
    /// No progress, only the result.
    Off,
}

impl DashboardName {
    /// Resolve `auto` for this terminal.
    ///
    /// # Errors
    /// `tui` without a terminal, or in a program built without the feature `dashboard`.
    pub fn on_this_terminal(self) -> Result<Self, ProgramError> {
        self.resolve(std::io::stdout().is_terminal(), cfg!(feature = "dashboard"))
    }

    fn resolve(self, on_a_terminal: bool, is_built_in: bool) -> Result<Self, ProgramError> {
        match self {
            Self::Auto if on_a_terminal && is_built_in => Ok(Self::Tui),
            Self::Auto => Ok(Self::Plain),
            Self::Tui if !is_built_in => Err(ProgramError::Usage(
                "this program was built without --dashboard tui; build it with `cargo build --release -p bin --features \
                 dashboard`, or use plain or off"
                    .into(),
            )),
            Self::Tui if !on_a_terminal => Err(ProgramError::Usage(
                "--dashboard tui needs a terminal; use plain or off".into(),
            )),
            name => Ok(name),
        }
    }
}

/// A parser for the names that `T` has in a `--config` file.
fn named<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| {
        T::deserialize(StrDeserializer::<NameError>::new(&name)).map_err(|error| error.to_string())
    })
}

/// A parser for seeds, which TOML's integers can hold.
fn seed() -> impl TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(..=i64::MAX as u64)
}

/// Parse a count.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        // A number that TOML can hold.
        Ok(count) if i64::try_from(count).is_err() => Err(format!("must be at most {}", i64::MAX)),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

/// A parser for `--precision`.
pub fn precision() -> impl TypedValueParser<Value = PrecisionName> {
    named(&["fp32", "bf16", "fp16", "auto"])
}
