//! The settings of a run: the defaults, then `--config FILE`, then flags.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use adamw_l2sp::{AdamWL2SPConfig, ScheduleConfig, ScheduleKind};
use albert::Precision;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Command, FromArgMatches, ValueEnum};
use files::FileKind;
use rte::{Padding, Task};
use serde::de::DeserializeOwned;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::ProgramError;
use crate::device::Devices;
use crate::train::progress::Length;

/// The settings of a run, as flags of `finetune` and as keys of a `--config` file.
///
/// The defaults are the RTE recipe for albert-large-v2 of Mosbach, Andriushchenko & Klakow (arXiv 2006.04884), with L²-SP
/// instead of plain weight decay.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// A known model on known data: rte-large is albert/albert-large-v2 on nyu-mll/glue
    #[arg(long, value_name = "NAME", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeName>,

    /// The pretrained model: a Hugging Face folder with config.json, model.safetensors and tokenizer.json; OWNER/NAME or
    /// OWNER/NAME@REVISION on the hub; or the small bundled model
    #[arg(long, value_name = "FOLDER", default_value = EMBEDDED, help_heading = MODEL_AND_DATA)]
    pub model: PathBuf,

    /// A folder with the splits as Parquet, JSONL, TSV or CSV, or the file of the training split next to that of the
    /// validation split; OWNER/NAME on the hub, as nyu-mll/glue; or the bundled task
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

    /// The labels in their order, as yes,no [default: those of the training split, sorted]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,

    /// The file or folder of the validation split, if it is not part of --data
    #[arg(long, value_name = "PATH", conflicts_with = "validation_share", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_data: Option<PathBuf>,

    /// Set this share of the training examples aside for validation, drawn with --sample-seed and with every label in
    /// proportion, where --data has no validation split
    #[arg(long, value_name = "SHARE", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_share: Option<f64>,

    /// Use only this number of training examples, a random sample drawn with --sample-seed
    #[arg(long, value_name = "COUNT", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<usize>,

    /// Start with a new classifier even if the model has one for the same labels. For other labels it is new in any case
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, value_name = "BOOL", action = clap::ArgAction::Set, help_heading = MODEL_AND_DATA)]
    pub new_classifier: bool,

    /// Start with a new pooler and this number of new layers, those nearest the output (Zhang et al. 2021); 0 is the pooler
    /// alone. Not for models whose layers share their weights, as ALBERT's do [default: none]
    #[arg(long, value_name = "COUNT", help_heading = MODEL_AND_DATA)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reinit_layers: Option<usize>,

    /// Truncate a text or a pair of texts to this number of tokens
    #[arg(long, value_name = "TOKENS", default_value_t = DEFAULT_MAX_LENGTH, help_heading = MODEL_AND_DATA)]
    pub max_length: usize,

    /// Pad the examples of a batch to the longest of them; with max-length always to --max-length; with multiple-of-32 or another
    /// number to the longest, rounded up to a multiple of it. On XLA longest means max-length
    #[arg(long, value_name = "NAME", default_value = "longest", help_heading = MODEL_AND_DATA)]
    pub padding: Padding,

    /// adamw-l2sp decays pretrained weights towards their start, adamw all weights towards zero
    #[arg(long, value_name = "NAME", default_value = "adamw-l2sp", help_heading = OPTIMIZER)]
    pub optimizer: OptimizerName,

    /// λ₁ of adamw-l2sp: the decay of pretrained weights towards their start
    #[arg(long, value_name = "NUMBER", default_value_t = 0.5, help_heading = OPTIMIZER)]
    pub source_decay: f64,

    /// The pull of adamw-l2sp over the whole run, Σηλ₁, instead of λ₁: the same for any learning rate and number of steps.
    /// Weights left alone would return 1 − exp(−NUMBER) of the way to their start
    #[arg(long, value_name = "NUMBER", conflicts_with = "source_decay", help_heading = OPTIMIZER)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_pull: Option<f64>,

    /// λ₂ of adamw-l2sp: the decay of new weights towards zero
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

    /// Do not train the parameters whose path begins with a match of the regular expression, as encoder.embeddings or
    /// encoder.layer_groups.(0|1).layers; several are separated by commas [default: none]
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', help_heading = OPTIMIZER)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,

    /// Clip the norm of all gradients together to this; 0 disables clipping
    #[arg(long, value_name = "NUMBER", default_value_t = 1.0, help_heading = OPTIMIZER)]
    pub max_grad_norm: f64,

    /// Passes over the training examples; 5 by default for the bundled model
    #[arg(long, value_name = "COUNT", default_value_t = 3, help_heading = SCHEDULE)]
    pub epochs: usize,

    /// Stop after this number of optimizer steps, where the schedule then ends, too
    #[arg(long, value_name = "COUNT", help_heading = SCHEDULE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,

    /// Examples in a batch
    #[arg(long, value_name = "COUNT", default_value_t = 16, help_heading = SCHEDULE)]
    pub batch_size: usize,

    /// Batches whose gradients make one optimizer step
    #[arg(long, value_name = "COUNT", default_value_t = 1, help_heading = SCHEDULE)]
    pub gradient_accumulation: usize,

    /// The peak learning rate; 3e-4 by default for the bundled model
    #[arg(long, value_name = "NUMBER", default_value = "2e-5", help_heading = SCHEDULE)]
    pub learning_rate: f64,

    /// The peak learning rate of the classifier and the pooler [default: that of --learning-rate]
    #[arg(long, value_name = "NUMBER", help_heading = SCHEDULE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_learning_rate: Option<f64>,

    /// Multiply the learning rate by this factor for each layer on the way down: the top layer and the classifier have the full
    /// rate, the embeddings the lowest (Howard & Ruder 2018). Not for models whose layers share their weights
    /// [default: 1]
    #[arg(long, value_name = "FACTOR", help_heading = SCHEDULE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,

    /// The learning rate after the warm-up: linear or cosine decay to zero, or constant
    #[arg(long, value_name = "NAME", default_value = "linear", value_parser = named::<ScheduleKind>(&["linear", "cosine", "constant"]), help_heading = SCHEDULE)]
    pub schedule: ScheduleKind,

    /// The share of the steps in which the learning rate rises from zero
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
    #[arg(long, value_name = "NUMBER", default_value_t = 10013, help_heading = RUN)]
    pub seed: u64,

    /// Seeds the order of the training examples
    #[arg(long, value_name = "NUMBER", default_value_t = 20003, help_heading = RUN)]
    pub data_seed: u64,

    /// Seeds the choice of examples for --max-examples and --validation-share
    #[arg(long, value_name = "NUMBER", default_value_t = 20003, help_heading = RUN)]
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

    /// The weights saved as model/ at the end: those after the last step, or those of the evaluation with the best main metric
    /// of the task, of equals the first
    #[arg(long, value_name = "NAME", default_value = "last", help_heading = RUN)]
    pub keep: Keep,

    /// tui draws charts on the terminal, plain prints lines, off prints nothing; auto is tui on a terminal and plain
    /// elsewhere
    #[arg(long, value_name = "NAME", default_value = "auto", help_heading = RUN)]
    pub dashboard: DashboardName,

    /// Where to compute: cpu, cuda:1, vulkan, tch:cuda:0 …, as `devices` lists them [default: the best device there is];
    /// with cuda:0,cuda:1 each computes its share of every batch
    #[arg(long, value_name = "NAMES", help_heading = DEVICE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Devices>,

    /// The precision of linear layers and attention; weights, optimizer, layer norms and loss are always fp32
    #[arg(long, value_name = "NAME", default_value = "fp32", value_parser = precision(), help_heading = DEVICE)]
    pub precision: Precision,
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
    /// Pretrained weights decay to their start, new ones to zero.
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
    /// Those after the last step.
    Last,
    /// Those of the best evaluation, which every checkpoint then holds as well.
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
    /// Nothing.
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

/// The bundled model is small: it learns at a rate that would wreck a large one.
const EMBEDDED_LEARNING_RATE: f64 = 3e-4;

/// It was pretrained on less text, so it needs more passes over the task.
const EMBEDDED_EPOCHS: usize = 5;

/// The settings of one optimizer alone.
const OF_ADAMW_L2SP: [&str; 3] = ["source-decay", "total-pull", "novel-decay"];
const OF_ADAMW: [&str; 1] = ["weight-decay"];

/// The settings that `config.toml` holds only where they differ from their defaults, so that it does not change for runs
/// that do not use them.
const WRITTEN_IF_CHANGED: [&str; 5] =
    ["bias-correction", "sample-seed", "keep", "label-smoothing", "log-every"];

impl Settings {
    /// The defaults, overridden by the settings of the file and then by the flags in `given`.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, with line and key; settings that are invalid or have no effect.
    pub fn resolve(
        flags: &Self,
        given: &BTreeSet<String>,
        file: Option<&Path>,
    ) -> Result<Self, ProgramError> {
        let mut table = file.map(read_table).transpose()?.unwrap_or_default();
        for (flag, path) in [
            ("model", Some(&flags.model)),
            ("data", Some(&flags.data)),
            ("validation-data", flags.validation_data.as_ref()),
        ] {
            if let Some(path) = path.filter(|path| path.to_str().is_none()) {
                let path = path.display();
                return Err(ProgramError::Usage(format!("--{flag}: {path} is not valid UTF-8")));
            }
        }
        let flags_table = toml::Table::try_from(flags).map_err(usage("the flags"))?;
        table.extend(flags_table.into_iter().filter(|(key, _)| given.contains(key)));
        let settings = Self::from_table(table)?;
        let settings = Self {
            output: if given.contains("output") { flags.output.clone() } else { settings.output },
            overwrite: flags.overwrite || settings.overwrite,
            ..settings
        };
        Ok(settings)
    }

    /// The settings in the `config.toml` of a run.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub(crate) fn from_file(path: &Path) -> Result<Self, ProgramError> {
        Self::from_table(read_table(path)?)
    }

    /// The defaults, overridden by the settings in `table`.
    ///
    /// # Errors
    /// An unknown key, a value of another type, settings that are invalid or have no effect.
    pub fn from_table(mut table: toml::Table) -> Result<Self, ProgramError> {
        if let Some(recipe) = table.remove("recipe") {
            let recipe: RecipeName = recipe.try_into().map_err(usage("recipe"))?;
            let (model, data) = recipe.model_and_data();
            if table.contains_key("model") && table.contains_key("data") {
                return Err(ProgramError::Usage(
                    "--recipe has no effect where --model and --data are both given; leave it out"
                        .into(),
                ));
            }
            for (key, name) in [("model", model), ("data", data)] {
                table.entry(key).or_insert(name.into());
            }
        }
        let given: BTreeSet<String> = table.keys().cloned().collect();
        let mut settings: Self = table.try_into().map_err(usage("the settings"))?;
        if is_embedded(&settings.model) && !given.contains("learning-rate") {
            settings.learning_rate = EMBEDDED_LEARNING_RATE;
        }
        if is_embedded(&settings.model) && !given.contains("epochs") {
            settings.epochs = EMBEDDED_EPOCHS;
        }
        settings.validate(&given)?;
        Ok(settings)
    }

    /// The task of the data. A task with custom columns may not have its labels yet.
    ///
    /// # Errors
    /// An unknown task, labels given twice.
    pub fn task(&self) -> Result<Task, ProgramError> {
        Ok(match &self.text_column {
            Some(text) => {
                let label = self.label_column.as_deref().unwrap_or("label");
                let text_pair = self.text_pair_column.as_deref();
                Task::from_columns(text, text_pair, label, self.labels.clone())?
            }
            None => match self.task.as_deref() {
                Some(EMBEDDED) if is_embedded(&self.data) => Task::named(DEFAULT_TASK)?,
                Some(EMBEDDED) => {
                    return Err(ProgramError::Usage(format!(
                        "--task {EMBEDDED} is the task of --data {EMBEDDED}, not of {}; name the task of the data",
                        self.data.display()
                    )));
                }
                name => Task::named(name.unwrap_or(DEFAULT_TASK))?,
            },
        })
    }

    /// The settings that only the other optimizer has.
    fn inapplicable(&self) -> &'static [&'static str] {
        match self.optimizer {
            OptimizerName::AdamWL2SP => &OF_ADAMW,
            OptimizerName::AdamW => &OF_ADAMW_L2SP,
        }
    }

    /// The settings that decide what a run reads, as text: runs with the same text read the same.
    pub(crate) fn inputs(&self) -> String {
        let mut table = self.to_table();
        table.retain(|key, _| INPUTS.contains(&key));
        table.to_string()
    }

    /// Check every value that can be judged without a file.
    ///
    /// # Errors
    /// One usage error that lists all problems.
    fn validate(&self, given: &BTreeSet<String>) -> Result<(), ProgramError> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        for key in self.inapplicable() {
            check(
                !given.contains(*key),
                format!(
                    "--{key} has no effect with --optimizer {}",
                    self.optimizer.to_possible_value().unwrap_or_default().get_name()
                ),
            );
        }
        if self.text_column.is_none() {
            for flag in ["text-pair-column", "label-column", "labels"] {
                check(!given.contains(flag), format!("--{flag} needs --text-column"));
            }
        }
        check(
            self.task.is_none() || self.text_column.is_none(),
            "--task and --text-column exclude each other".into(),
        );
        check(
            !(given.contains("source-decay") && given.contains("total-pull")),
            "--source-decay and --total-pull exclude each other".into(),
        );
        check(
            !given.contains("sample-seed")
                || self.max_examples.is_some()
                || self.validation_share.is_some(),
            "--sample-seed has no effect without --max-examples or --validation-share".into(),
        );
        let devices = self.device.as_ref().map_or(1, |devices| devices.names().len());
        check(
            devices <= self.batch_size.max(1),
            format!("--batch-size must be at least {devices}, an example for each device"),
        );
        check(
            self.validation_share.is_none_or(|share| 0.0 < share && share < 1.0),
            "--validation-share must be between 0 and 1".into(),
        );
        for (flag, count) in [
            ("epochs", Some(self.epochs)),
            ("batch-size", Some(self.batch_size)),
            ("gradient-accumulation", Some(self.gradient_accumulation)),
            ("max-length", Some(self.max_length)),
            ("max-steps", self.max_steps),
            ("max-examples", self.max_examples),
            ("checkpoint-every", self.checkpoint_every),
            ("log-every", Some(self.log_every)),
            ("eval-every", self.eval_every),
            ("patience", self.patience),
        ] {
            check(count != Some(0), format!("--{flag} must be at least 1"));
        }
        check(
            (0.0..=1.0).contains(&self.warmup_ratio),
            format!("--warmup-ratio is {}, but must be in [0, 1]", self.warmup_ratio),
        );
        check(
            self.layer_decay.is_none_or(|factor| 0.0 < factor && factor <= 1.0),
            "--layer-decay must be above 0 and at most 1".into(),
        );
        check(
            (0.0..1.0).contains(&self.label_smoothing),
            format!("--label-smoothing is {}, but must be in [0, 1)", self.label_smoothing),
        );
        check(
            self.head_learning_rate.is_none() || self.learning_rate > 0.0,
            "--head-learning-rate needs a --learning-rate above 0; to train the head alone, use --freeze encoder".into(),
        );
        for (flag, value) in [
            ("learning-rate", self.learning_rate),
            ("weight-decay", self.weight_decay),
            ("source-decay", self.source_decay),
            ("total-pull", self.total_pull.unwrap_or_default()),
            ("novel-decay", self.novel_decay),
            ("epsilon", self.epsilon),
            ("max-grad-norm", self.max_grad_norm),
            ("head-learning-rate", self.head_learning_rate.unwrap_or_default()),
        ] {
            check(
                value.is_finite() && value >= 0.0,
                format!("--{flag} is {value}, but must be a finite number of at least 0"),
            );
        }
        for (flag, beta) in [("beta-1", self.beta_1), ("beta-2", self.beta_2)] {
            check((0.0..1.0).contains(&beta), format!("--{flag} is {beta}, but must be in [0, 1)"));
        }
        if problems.is_empty() { Ok(()) } else { Err(ProgramError::Usage(problems.join("; "))) }
    }

    /// λ₁ of a run with this number of optimizer steps: `--source-decay`, or `--total-pull` divided by Ση.
    ///
    /// # Errors
    /// `--total-pull` where the learning rate of every step is zero.
    pub fn source_decay(&self, total_steps: usize) -> Result<f64, ProgramError> {
        let Some(total_pull) = self.total_pull else { return Ok(self.source_decay) };
        let learning_rates = self.schedule_config(total_steps).total_pull(1.0).sum;
        if learning_rates == 0.0 {
            return Err(ProgramError::Usage(
                "--total-pull has no effect, because the learning rate of every step is 0".into(),
            ));
        }
        Ok(total_pull / learning_rates)
    }

    /// The hyper-parameters of the optimizer for a run with this number of steps. AdamW is AdamWL2SP with all parameters
    /// novel.
    ///
    /// # Errors
    /// As [`source_decay`](Self::source_decay).
    pub fn optimizer_config(&self, total_steps: usize) -> Result<AdamWL2SPConfig, ProgramError> {
        let config = AdamWL2SPConfig::new()
            .with_beta_1(self.beta_1)
            .with_beta_2(self.beta_2)
            .with_epsilon(self.epsilon)
            .with_amsgrad(self.amsgrad)
            .with_bias_correction(self.bias_correction);
        Ok(match self.optimizer {
            OptimizerName::AdamWL2SP => {
                let source_decay = self.source_decay(total_steps)?;
                config.with_source_decay(source_decay).with_novel_decay(self.novel_decay)
            }
            OptimizerName::AdamW => config.with_novel_decay(self.weight_decay),
        })
    }

    /// The length of a run over this number of training and validation examples. The last step of an epoch may have fewer
    /// examples than the others.
    pub fn length(&self, train_examples: usize, eval_examples: usize) -> Length {
        let steps_per_epoch = train_examples.div_ceil(self.batch_size * self.gradient_accumulation);
        let steps = self.epochs * steps_per_epoch;
        let total_steps = self.max_steps.map_or(steps, |max| max.min(steps));
        Length {
            epochs: total_steps.div_ceil(steps_per_epoch),
            steps_per_epoch,
            total_steps,
            steps_per_evaluation: self.eval_every.unwrap_or(steps_per_epoch),
            train_examples,
            eval_examples,
        }
    }

    /// The learning-rate schedule of a run with this number of optimizer steps.
    pub fn schedule_config(&self, total_steps: usize) -> ScheduleConfig {
        let warmup = ScheduleConfig::warmup_steps_for(self.warmup_ratio, total_steps);
        ScheduleConfig::new(self.learning_rate, warmup, total_steps).with_kind(self.schedule)
    }

    /// The settings that have an effect on a run, by key: what `config.toml` holds.
    pub fn to_table(&self) -> toml::Table {
        // Every field is a plain value, so there is nothing that TOML cannot hold.
        let table = |settings: &Self| toml::Table::try_from(settings).unwrap_or_default();
        let defaults = table(&Self::default());
        let mut table = table(self);
        table.retain(|key, value| {
            let is_changed = defaults.get(key) != Some(value);
            !self.inapplicable().contains(&key)
                && (is_changed || !WRITTEN_IF_CHANGED.contains(&key))
        });
        if self.total_pull.is_some() {
            table.remove("source-decay");
        }
        table
    }
}

/// The settings in a `--config` file.
fn read_table(path: &Path) -> Result<toml::Table, ProgramError> {
    let text =
        files::read_to_string(path, FileKind::Config).map_err(ProgramError::io("read", path))?;
    // Parsed as settings first: that error names line and key.
    toml::from_str::<Settings>(&text)
        .and_then(|_| toml::from_str(&text))
        .map_err(|error| ProgramError::Usage(format!("{}: {error}", path.display())))
}

fn usage<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> ProgramError {
    move |error| ProgramError::Usage(format!("{what}: {error}"))
}

/// The value of a setting as people write it: strings without quotation marks, small numbers with an exponent.
pub(crate) fn show_value(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Float(number) if *number != 0.0 && number.abs() < 1e-3 => {
            format!("{number:e}")
        }
        value => value.to_string(),
    }
}

/// The settings that decide what a run reads.
const INPUTS: [&str; 13] = [
    "model",
    "data",
    "task",
    "text-column",
    "text-pair-column",
    "label-column",
    "labels",
    "validation-data",
    "validation-share",
    "max-examples",
    "new-classifier",
    "max-length",
    "sample-seed",
];

/// The settings that do not affect the results of a run; and the device, which affects only their last digits, so a run
/// may be resumed on another one.
const FREE: [&str; 4] = ["device", "checkpoint-every", "dashboard", "log"];

/// The settings that differ and affect the results, as `epochs: 3 then, 5 now`.
pub(crate) fn differences(then: &toml::Table, now: &toml::Table) -> Vec<String> {
    let value = |table: &toml::Table, key: &str| match table.get(key) {
        Some(value) => value.to_string(),
        None => "not set".to_owned(),
    };
    let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    keys.into_iter()
        .filter(|key| !FREE.contains(&key.as_str()) && then.get(*key) != now.get(*key))
        .map(|key| format!("{key}: {} then, {} now", value(then, key), value(now, key)))
        .collect()
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

/// Parse a count.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

/// A parser for `--precision`.
pub fn precision() -> impl TypedValueParser<Value = Precision> {
    named(&["fp32", "bf16", "fp16"])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings that these flags give, on top of a `--config` file.
    fn resolve(
        flags: &[(&str, toml::Value)],
        file: Option<&Path>,
    ) -> Result<Settings, ProgramError> {
        let table: toml::Table =
            flags.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let given = table.keys().cloned().collect();
        let flags: Settings = table.try_into().expect("flags");
        Settings::resolve(&flags, &given, file)
    }

    /// A model and data other than the bundled ones, whose defaults differ.
    fn model_and_data() -> [(&'static str, toml::Value); 2] {
        [("model", "m".into()), ("data", "d".into())]
    }

    fn with(more: &[(&'static str, toml::Value)]) -> Vec<(&'static str, toml::Value)> {
        [&model_and_data()[..], more].concat()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn flags_override_the_file_and_the_file_the_defaults() {
        let file = file("epochs = 7\nbatch-size = 4\nschedule = \"cosine\"\namsgrad = true\n");
        let flags = with(&[("batch-size", 8.into()), ("amsgrad", false.into())]);
        let settings = resolve(&flags, Some(file.path())).expect("settings");
        let expected = Settings {
            model: "m".into(),
            data: "d".into(),
            epochs: 7,
            batch_size: 8,
            schedule: ScheduleKind::Cosine,
            ..Settings::default()
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_recipe_is_its_model_and_data() {
        let recipe = ("recipe", "rte-large".into());
        let settings = resolve(std::slice::from_ref(&recipe), None).expect("settings");
        let expected = Settings {
            model: "albert/albert-large-v2".into(),
            data: "nyu-mll/glue".into(),
            ..Settings::default()
        };
        assert_eq!(settings, expected);
        let settings = resolve(&[recipe, ("model", "m".into())], None).expect("settings");
        assert_eq!((settings.model, settings.data), ("m".into(), "nyu-mll/glue".into()));
    }

    #[test]
    fn the_bundled_model_has_different_defaults() {
        let defaults = |flags: &[_]| {
            let settings = resolve(flags, None).expect("settings");
            (settings.learning_rate, settings.epochs)
        };
        assert_eq!(defaults(&model_and_data()), (2e-5, 3));
        assert_eq!(defaults(&[]), (EMBEDDED_LEARNING_RATE, EMBEDDED_EPOCHS));
        assert_eq!(defaults(&[("learning-rate", 1e-5.into()), ("epochs", 1.into())]), (1e-5, 1));
    }

    #[test]
    fn a_written_config_can_be_read_again() {
        let optimizers = [
            vec![("optimizer", "adamw".into())],
            vec![("optimizer", "adamw-l2sp".into())],
            vec![("total-pull", 0.25.into())],
            vec![("freeze", vec!["encoder"].into()), ("keep", "best".into())],
            vec![("layer-decay", 0.9.into()), ("head-learning-rate", 1e-3.into())],
        ];
        for optimizer in optimizers {
            let flags = with(&[&optimizer[..], &[("max-steps", 5.into())]].concat());
            let settings = resolve(&flags, None).expect("settings");
            let file = file(&toml::to_string(&settings.to_table()).expect("TOML"));
            assert_eq!(resolve(&[], Some(file.path())).expect("settings"), settings);
        }
    }

    #[test]
    fn settings_at_their_defaults_are_left_out_where_older_runs_do_not_have_them() {
        let table = Settings::default().to_table();
        for key in WRITTEN_IF_CHANGED {
            assert!(!table.contains_key(key), "{key}");
        }
        let file = file("bias-correction = false\n");
        let settings = resolve(&[], Some(file.path())).expect("settings");
        let config = settings.optimizer_config(10).expect("a configuration");
        assert!(!settings.bias_correction && !config.bias_correction);
        assert_eq!(settings.to_table()["bias-correction"], false.into());
    }

    /// Also with every setting that is commented out, `#like = "this"`, taken in.
    #[test]
    fn the_recipes_are_valid() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes");
        let recipes: Vec<_> = std::fs::read_dir(folder).expect("recipes").flatten().collect();
        let is_toml = |path: &PathBuf| path.extension().is_some_and(|it| it == "toml");
        let recipes: Vec<_> = recipes.iter().map(|it| it.path()).filter(is_toml).collect();
        assert_eq!(recipes.len(), 4, "{recipes:?}");
        for path in recipes {
            let settings = resolve(&[], Some(&path)).unwrap_or_else(|error| panic!("{error}"));
            settings.task().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let text = std::fs::read_to_string(&path).expect("read");
            let schema = text.lines().next().expect("a line");
            assert_eq!(schema, "#:schema ../docs/config.schema.json", "{}", path.display());
            for line in text.lines().skip(1).filter(|line| line.starts_with('#')) {
                if line.starts_with("# ") || line == "#" {
                    continue;
                }
                let more: toml::Table = line[1..].parse().unwrap_or_else(|e| panic!("{line}: {e}"));
                let mut table: toml::Table = text.parse().expect("TOML");
                table.extend(more);
                Settings::from_table(table)
                    .unwrap_or_else(|e| panic!("{}: {line}: {e}", path.display()));
            }
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let file = file("epochs = 2\nlerning-rate = 1.0\n");
        let error = resolve(&[], Some(file.path())).expect_err("an error");
        let message = error.to_string();
        assert!(message.contains("lerning-rate") && message.contains("line 2"), "{message}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let flags = [
            ("beta-2", 1.0.into()),
            ("epochs", 0.into()),
            ("label-smoothing", 1.0.into()),
            ("layer-decay", 0.0.into()),
            ("log-every", 0.into()),
            ("learning-rate", f64::NAN.into()),
            ("warmup-ratio", 1.5.into()),
        ];
        let message = resolve(&flags, None).expect_err("an error").to_string();
        for part in [
            "--beta-2 is 1",
            "--epochs",
            "--label-smoothing is 1",
            "--layer-decay",
            "--learning-rate is NaN",
            "--log-every",
            "--warmup-ratio",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_is_named() {
        use std::os::unix::ffi::OsStringExt;

        let path: PathBuf = std::ffi::OsString::from_vec(b"models/\xff".to_vec()).into();
        let flags = Settings { data: path, ..Settings::default() };
        let error =
            Settings::resolve(&flags, &["data".to_owned()].into(), None).expect_err("refused");
        assert!(error.to_string().starts_with("--data: models/"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_setting_without_effect_is_refused() {
        let refused = |flags: &[(&'static str, toml::Value)], flag: &str| {
            let error = resolve(&with(flags), None).expect_err(flag);
            assert!(error.to_string().contains(&format!("{flag} has no effect")), "{error}");
            assert_eq!(error.exit_code(), 2);
        };
        refused(&[("weight-decay", 0.1.into())], "--weight-decay");
        let adamw = ("optimizer", toml::Value::from("adamw"));
        refused(&[adamw.clone(), ("source-decay", 0.1.into())], "--source-decay");
        refused(&[adamw.clone(), ("novel-decay", 0.1.into())], "--novel-decay");
        refused(&[adamw, ("total-pull", 0.1.into())], "--total-pull");
        refused(&[("recipe", "rte-large".into())], "--recipe");
        refused(&[("sample-seed", 1.into())], "--sample-seed");
    }

    #[test]
    fn the_dashboard_needs_a_terminal_and_its_feature() {
        use DashboardName::{Auto, Off, Plain, Tui};
        for (on_a_terminal, is_built_in, auto) in
            [(true, true, Tui), (true, false, Plain), (false, true, Plain), (false, false, Plain)]
        {
            let resolve = |name: DashboardName| name.resolve(on_a_terminal, is_built_in);
            assert_eq!(resolve(Auto).expect("auto"), auto);
            assert_eq!(resolve(Plain).expect("plain"), Plain);
            assert_eq!(resolve(Off).expect("off"), Off);
            let missing = match (on_a_terminal, is_built_in) {
                (true, true) => continue,
                (false, true) => "needs a terminal",
                (_, false) => "--features dashboard",
            };
            let error = resolve(Tui).expect_err(missing);
            assert!(error.to_string().contains(missing), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn only_settings_that_affect_results_differ() {
        let then = Settings::default();
        let free = Settings {
            output: Some("elsewhere".into()),
            checkpoint_every: Some(7),
            dashboard: DashboardName::Off,
            log: vec![LogFormat::Csv],
            ..then.clone()
        };
        assert_eq!(differences(&then.to_table(), &free.to_table()), [] as [&str; 0]);
        let other = Settings { epochs: 5, max_steps: Some(9), ..then.clone() };
        assert_eq!(
            differences(&then.to_table(), &other.to_table()),
            ["epochs: 3 then, 5 now", "max-steps: not set then, 9 now"]
        );
    }

    #[test]
    fn the_total_pull_does_not_depend_on_the_learning_rate_or_the_steps() {
        for (learning_rate, steps) in [(2e-5, 468), (1e-3, 30)] {
            let settings =
                Settings { learning_rate, total_pull: Some(0.25), ..Settings::default() };
            let decay = settings.optimizer_config(steps).expect("a configuration").source_decay;
            let pull = settings.schedule_config(steps).total_pull(decay);
            assert!((pull.sum - 0.25).abs() < 1e-12, "{pull:?}");
        }
        // The first step of a warm-up has a rate of 0.
        let settings = Settings { total_pull: Some(0.25), ..Settings::default() };
        let error = settings.optimizer_config(1).expect_err("no pull");
        assert!(error.to_string().contains("--total-pull has no effect"), "{error}");
        let both = [("total-pull", 0.1.into()), ("source-decay", 0.1.into())];
        let error = resolve(&with(&both), None).expect_err("refused");
        assert!(error.to_string().contains("exclude each other"), "{error}");
    }

    #[test]
    fn values_are_shown_as_people_write_them() {
        for (value, shown) in [
            ("adamw".into(), "adamw"),
            (2e-5.into(), "2e-5"),
            (0.0003.into(), "3e-4"),
            (0.001.into(), "0.001"),
            (0.0.into(), "0.0"),
            (50.0.into(), "50.0"),
            (3.into(), "3"),
            (true.into(), "true"),
        ] {
            assert_eq!(show_value(&value), shown);
        }
    }

    #[test]
    fn steps_count_full_and_partial_batches() {
        let steps = |settings: &Settings| {
            let length = settings.length(2490, 277);
            (length.steps_per_epoch, length.total_steps)
        };
        let settings = Settings { batch_size: 16, ..Settings::default() };
        assert_eq!(steps(&settings), (156, 468));
        let settings = Settings { gradient_accumulation: 3, max_steps: Some(100), ..settings };
        assert_eq!(steps(&settings), (52, 100));
        let schedule = settings.schedule_config(100);
        assert_eq!((schedule.warmup_steps, schedule.total_steps), (10, 100));
    }
}
