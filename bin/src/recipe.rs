//! The hyper-parameters of a run: the recipe's defaults, then `--config FILE`, then flags.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use adamw_l2sp::{AdamWL2SPConfig, ScheduleConfig, ScheduleKind};
use albert::Precision;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use rte::Padding;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::ProgramError;
use crate::device::DeviceName;
use crate::source::{EMBEDDED, is_embedded};

/// The settings of `finetune` as flags, or as the keys of a `--config` file; unset ones have the
/// recipe's defaults.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FinetuneArgs {
    /// rte-large takes albert/albert-large-v2 and nyu-mll/glue where no other model and data are
    /// named
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<RecipeName>,

    /// The pretrained model: a Hugging Face folder with config.json, model.safetensors and
    /// tokenizer.json; OWNER/NAME or OWNER/NAME@REVISION on the hub; or the small one that the
    /// program carries [default: embedded]
    #[arg(long, value_name = "FOLDER")]
    pub model: Option<PathBuf>,

    /// RTE: a folder with its splits as parquet, JSONL or TSV, or the file of the training split
    /// with the validation split beside it; OWNER/NAME on the hub, as nyu-mll/glue; or the task
    /// that the program carries
    /// [default: embedded]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,

    /// Where the results go [default: output]
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,

    /// Replace what an earlier run left in the output folder
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub overwrite: Option<bool>,

    /// adamw-l2sp decays pretrained weights to their start, adamw everything to zero
    /// [default: adamw-l2sp]
    #[arg(long, value_name = "NAME")]
    pub optimizer: Option<OptimizerName>,

    /// λ₁ of adamw-l2sp: the pull of pretrained weights to their start [default: 0.5]
    #[arg(long, value_name = "NUMBER")]
    pub source_decay: Option<f64>,

    /// λ₂ of adamw-l2sp: the pull of new weights to zero [default: 0.0]
    #[arg(long, value_name = "NUMBER")]
    pub novel_decay: Option<f64>,

    /// The weight decay of adamw [default: 0.0]
    #[arg(long, value_name = "NUMBER")]
    pub weight_decay: Option<f64>,

    /// Passes over the training examples [default: 3; of the embedded model 5]
    #[arg(long, value_name = "COUNT")]
    pub epochs: Option<usize>,

    /// Examples that go through the model at once [default: 16]
    #[arg(long, value_name = "COUNT")]
    pub batch_size: Option<usize>,

    /// Batches whose gradients make one optimizer step [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub gradient_accumulation: Option<usize>,

    /// The peak learning rate [default: 2e-5; of the embedded model 3e-4]
    #[arg(long, value_name = "NUMBER")]
    pub learning_rate: Option<f64>,

    /// What the learning rate does after the warm-up: fall to zero in a line or a cosine, or stay
    /// [default: linear]
    #[arg(long, value_name = "NAME", value_parser = named::<ScheduleKind>(&["linear", "cosine", "constant"]))]
    pub schedule: Option<ScheduleKind>,

    /// The share of the steps in which the learning rate rises from zero [default: 0.1]
    #[arg(long, value_name = "RATIO")]
    pub warmup_ratio: Option<f64>,

    /// β₁, the decay rate of the first moment [default: 0.9]
    #[arg(long, value_name = "NUMBER")]
    pub beta_1: Option<f64>,

    /// β₂, the decay rate of the second moment [default: 0.999]
    #[arg(long, value_name = "NUMBER")]
    pub beta_2: Option<f64>,

    /// ε, added to the denominator [default: 1e-6]
    #[arg(long, value_name = "NUMBER")]
    pub epsilon: Option<f64>,

    /// Divide by the largest second moment so far
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub amsgrad: Option<bool>,

    /// Clip the norm of all gradients together to this; 0 for no clipping [default: 1.0]
    #[arg(long, value_name = "NUMBER")]
    pub max_grad_norm: Option<f64>,

    /// Truncate a pair of sentences to this many tokens [default: 128]
    #[arg(long, value_name = "TOKENS")]
    pub max_length: Option<usize>,

    /// Pad a batch to its longest pair, or always to --max-length [default: longest]
    #[arg(long, value_name = "NAME", value_parser = named::<Padding>(&["longest", "max-length"]))]
    pub padding: Option<Padding>,

    /// Seeds the new weights and the dropout [default: 10013]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// Seeds the order of the training examples [default: 20003]
    #[arg(long, value_name = "NUMBER")]
    pub data_seed: Option<u64>,

    /// Stop after this many optimizer steps; the schedule ends there, too
    #[arg(long, value_name = "COUNT")]
    pub max_steps: Option<usize>,

    /// Use only the first training examples
    #[arg(long, value_name = "COUNT")]
    pub max_examples: Option<usize>,

    /// Where to compute: cpu, cuda:1, vulkan, tch:cuda:0 …, as `devices` lists them [default: the best that is there]
    #[arg(long, value_name = "NAME")]
    pub device: Option<DeviceName>,

    /// The numbers that linear layers and attention are computed in; weights, optimizer, layer norms and loss are fp32 in
    /// any case [default: fp32]
    #[arg(long, value_name = "NAME", value_parser = precision())]
    pub precision: Option<Precision>,

    /// Save a checkpoint each so many optimizer steps, besides the one at the end of each epoch
    /// [default: every five minutes]
    #[arg(long, value_name = "STEPS")]
    pub checkpoint_every: Option<usize>,

    /// tui draws charts on the terminal, plain prints lines, auto takes tui where there is a
    /// terminal [default: auto]
    #[arg(long, value_name = "NAME")]
    pub dashboard: Option<DashboardName>,
}

/// A known model on known data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipeName {
    /// albert-large-v2 on GLUE's RTE.
    RteLarge,
}

impl RecipeName {
    /// Their names on the hub.
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

/// A resolved set of settings; what `config.toml` in the output folder holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are those of FinetuneArgs")]
pub struct Recipe {
    pub model: PathBuf,
    pub data: PathBuf,
    pub output: PathBuf,
    // Not for the next run that reads this as its --config.
    #[serde(skip_serializing)]
    pub overwrite: bool,
    pub optimizer: OptimizerName,
    pub source_decay: f64,
    pub novel_decay: f64,
    pub weight_decay: f64,
    pub epochs: usize,
    pub batch_size: usize,
    pub gradient_accumulation: usize,
    pub learning_rate: f64,
    pub schedule: ScheduleKind,
    pub warmup_ratio: f64,
    pub beta_1: f64,
    pub beta_2: f64,
    pub epsilon: f64,
    pub amsgrad: bool,
    pub max_grad_norm: f64,
    pub max_length: usize,
    pub padding: Padding,
    pub seed: u64,
    pub data_seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<usize>,
    // The one that was chosen, in a run's own config.toml.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceName>,
    pub precision: Precision,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<usize>,
    pub dashboard: DashboardName,
}

/// The RTE recipe for albert-large-v2 of Mosbach, Andriushchenko & Klakow (arXiv 2006.04884), with
/// L²-SP instead of plain weight decay.
impl Default for Recipe {
    fn default() -> Self {
        Self {
            model: PathBuf::from(EMBEDDED),
            data: PathBuf::from(EMBEDDED),
            output: PathBuf::from("output"),
            overwrite: false,
            optimizer: OptimizerName::AdamWL2SP,
            source_decay: 0.5,
            novel_decay: 0.0,
            weight_decay: 0.0,
            epochs: 3,
            batch_size: 16,
            gradient_accumulation: 1,
            learning_rate: 2e-5,
            schedule: ScheduleKind::Linear,
            warmup_ratio: 0.1,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-6,
            amsgrad: false,
            max_grad_norm: 1.0,
            max_length: 128,
            padding: Padding::Longest,
            seed: 10013,
            data_seed: 20003,
            max_steps: None,
            max_examples: None,
            device: None,
            precision: Precision::default(),
            checkpoint_every: None,
            dashboard: DashboardName::Auto,
        }
    }
}

/// The embedded model is small: it learns at a rate that would wreck a large one.
const EMBEDDED_LEARNING_RATE: f64 = 3e-4;

/// And it knows less of language, so that it needs to see more of the task.
const EMBEDDED_EPOCHS: usize = 5;

impl Recipe {
    /// The recipe's defaults, overlaid with the file's settings and then with the flags'.
    ///
    /// # Errors
    /// An unreadable or malformed file, with the line and the key; [`Self::validate`]'s errors.
    pub fn resolve(flags: &FinetuneArgs, file: Option<&Path>) -> Result<Self, ProgramError> {
        let mut table = toml::Table::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(ProgramError::io("read", path))?;
            let args: FinetuneArgs = toml::from_str(&text)
                .map_err(|error| ProgramError::Usage(format!("{}: {error}", path.display())))?;
            table.extend(as_table(&args)?);
        }
        table.extend(as_table(flags)?);
        if let Some(recipe) = table.remove("recipe") {
            let recipe: RecipeName = recipe
                .try_into()
                .map_err(|error| ProgramError::Usage(format!("recipe: {error}")))?;
            let (model, data) = recipe.model_and_data();
            for (key, name) in [("model", model), ("data", data)] {
                table.entry(key).or_insert(name.into());
            }
        }
        let said: Vec<String> = table.keys().cloned().collect();
        let is_open = |key: &str| !said.iter().any(|said| said == key);
        let mut recipe: Self = table
            .try_into()
            .map_err(|error| ProgramError::Usage(format!("the settings: {error}")))?;
        if is_embedded(&recipe.model) && is_open("learning-rate") {
            recipe.learning_rate = EMBEDDED_LEARNING_RATE;
        }
        if is_embedded(&recipe.model) && is_open("epochs") {
            recipe.epochs = EMBEDDED_EPOCHS;
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// Check every value that needs no file to be judged.
    ///
    /// # Errors
    /// One usage error that lists all that is wrong.
    pub fn validate(&self) -> Result<(), ProgramError> {
        let mut problems = Vec::new();
        let mut check = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        for (flag, count) in [
            ("epochs", Some(self.epochs)),
            ("batch-size", Some(self.batch_size)),
            ("gradient-accumulation", Some(self.gradient_accumulation)),
            ("max-length", Some(self.max_length)),
            ("max-steps", self.max_steps),
            ("max-examples", self.max_examples),
            ("checkpoint-every", self.checkpoint_every),
        ] {
            check(count != Some(0), format!("--{flag} must be at least 1"));
        }
        check(
            (0.0..=1.0).contains(&self.warmup_ratio),
            format!("--warmup-ratio is {}, but must be in [0, 1]", self.warmup_ratio),
        );
        for (flag, value) in [
            ("learning-rate", self.learning_rate),
            ("weight-decay", self.weight_decay),
            ("source-decay", self.source_decay),
            ("novel-decay", self.novel_decay),
            ("epsilon", self.epsilon),
            ("max-grad-norm", self.max_grad_norm),
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

    /// The optimizer's hyper-parameters. AdamW is AdamWL2SP with every parameter novel.
    pub fn optimizer_config(&self) -> AdamWL2SPConfig {
        let config = AdamWL2SPConfig::new()
            .with_beta_1(self.beta_1)
            .with_beta_2(self.beta_2)
            .with_epsilon(self.epsilon)
            .with_amsgrad(self.amsgrad);
        match self.optimizer {
            OptimizerName::AdamWL2SP => {
                config.with_source_decay(self.source_decay).with_novel_decay(self.novel_decay)
            }
            OptimizerName::AdamW => config.with_novel_decay(self.weight_decay),
        }
    }

    /// Optimizer steps an epoch of `examples` takes; the last may be of fewer examples.
    pub fn steps_per_epoch(&self, examples: usize) -> usize {
        examples.div_ceil(self.batch_size * self.gradient_accumulation)
    }

    /// Optimizer steps of the whole run.
    pub fn total_steps(&self, examples: usize) -> usize {
        let steps = self.epochs * self.steps_per_epoch(examples);
        self.max_steps.map_or(steps, |max| max.min(steps))
    }

    /// The learning-rate schedule of a run over `examples` training examples.
    pub fn schedule_config(&self, examples: usize) -> ScheduleConfig {
        let total = self.total_steps(examples);
        let warmup = ScheduleConfig::warmup_steps_for(self.warmup_ratio, total);
        ScheduleConfig::new(self.learning_rate, warmup, total).with_kind(self.schedule)
    }

    /// `config.toml`: the settings under the flags' names.
    pub fn to_toml(&self) -> String {
        // Every field is a plain value, so there is nothing that TOML could not hold.
        toml::to_string(self).unwrap_or_default()
    }

    /// The same, by key.
    pub fn to_table(&self) -> toml::Table {
        toml::Table::try_from(self).unwrap_or_default()
    }
}

/// The settings that change none of a run's numbers, and the device, which changes them in the last digits: a run may go on
/// where another device is.
const FREE: [&str; 4] = ["output", "device", "checkpoint-every", "dashboard"];

/// The settings in which a run would not be the one it was, as `epochs: 3 then, 5 now`.
pub fn differences(then: &toml::Table, now: &toml::Table) -> Vec<String> {
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

/// The settings that are set.
fn as_table(args: &FinetuneArgs) -> Result<toml::Table, ProgramError> {
    toml::Table::try_from(args)
        .map_err(|error| ProgramError::Usage(format!("the settings: {error}")))
}

/// A parser of the names that `T` has in a `--config` file.
fn named<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| {
        T::deserialize(StrDeserializer::<NameError>::new(&name)).map_err(|error| error.to_string())
    })
}

/// A parser of `--precision`.
pub fn precision() -> impl TypedValueParser<Value = Precision> {
    named(&["fp32", "bf16", "fp16"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> FinetuneArgs {
        FinetuneArgs { model: Some("m".into()), data: Some("d".into()), ..Default::default() }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let file = file("epochs = 7\nbatch-size = 4\nschedule = \"cosine\"\namsgrad = true\n");
        let flags = FinetuneArgs { batch_size: Some(8), amsgrad: Some(false), ..flags() };
        let recipe = Recipe::resolve(&flags, Some(file.path())).expect("a recipe");
        let expected = Recipe {
            model: "m".into(),
            data: "d".into(),
            epochs: 7,
            batch_size: 8,
            schedule: ScheduleKind::Cosine,
            ..Recipe::default()
        };
        assert_eq!(recipe, expected);
    }

    #[test]
    fn a_named_recipe_is_its_model_and_data() {
        let flags = FinetuneArgs { recipe: Some(RecipeName::RteLarge), ..Default::default() };
        let recipe = Recipe::resolve(&flags, None).expect("a recipe");
        let expected = Recipe {
            model: "albert/albert-large-v2".into(),
            data: "nyu-mll/glue".into(),
            ..Recipe::default()
        };
        assert_eq!(recipe, expected);
        let flags = FinetuneArgs { model: Some("m".into()), ..flags };
        let recipe = Recipe::resolve(&flags, None).expect("a recipe");
        assert_eq!((recipe.model, recipe.data), ("m".into(), "nyu-mll/glue".into()));
    }

    #[test]
    fn the_embedded_model_has_settings_of_its_own() {
        let settings = |flags: FinetuneArgs| {
            let recipe = Recipe::resolve(&flags, None).expect("a recipe");
            (recipe.learning_rate, recipe.epochs)
        };
        let default = Recipe::default();
        assert_eq!(settings(flags()), (default.learning_rate, default.epochs));
        let embedded = (EMBEDDED_LEARNING_RATE, EMBEDDED_EPOCHS);
        assert_eq!(settings(FinetuneArgs::default()), embedded);
        let said =
            FinetuneArgs { learning_rate: Some(1e-5), epochs: Some(1), ..Default::default() };
        assert_eq!(settings(said), (1e-5, 1));
    }

    #[test]
    fn what_a_run_writes_can_be_read_again() {
        let recipe = Recipe::resolve(&FinetuneArgs { max_steps: Some(5), ..flags() }, None);
        let recipe = recipe.expect("a recipe");
        let file = file(&recipe.to_toml());
        let again = Recipe::resolve(&FinetuneArgs::default(), Some(file.path()));
        assert_eq!(again.expect("a recipe"), recipe);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let file = file("epochs = 2\nlerning-rate = 1.0\n");
        let error = Recipe::resolve(&flags(), Some(file.path())).expect_err("an error");
        let message = error.to_string();
        assert!(message.contains("lerning-rate") && message.contains("line 2"), "{message}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let flags = FinetuneArgs {
            beta_2: Some(1.0),
            epochs: Some(0),
            learning_rate: Some(f64::NAN),
            warmup_ratio: Some(1.5),
            ..Default::default()
        };
        let message = Recipe::resolve(&flags, None).expect_err("an error").to_string();
        for part in ["--beta-2 is 1", "--epochs", "--learning-rate is NaN", "--warmup-ratio"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn only_settings_that_change_numbers_differ() {
        let then = Recipe::default();
        let free = Recipe {
            output: "elsewhere".into(),
            checkpoint_every: Some(7),
            dashboard: DashboardName::Off,
            ..then.clone()
        };
        assert_eq!(differences(&then.to_table(), &free.to_table()), [] as [&str; 0]);
        let other = Recipe { epochs: 5, max_steps: Some(9), ..then.clone() };
        assert_eq!(
            differences(&then.to_table(), &other.to_table()),
            ["epochs: 3 then, 5 now", "max-steps: not set then, 9 now"]
        );
    }

    #[test]
    fn steps_count_whole_and_partial_batches() {
        let recipe = Recipe { batch_size: 16, ..Recipe::default() };
        assert_eq!((recipe.steps_per_epoch(2490), recipe.total_steps(2490)), (156, 468));
        let recipe = Recipe { gradient_accumulation: 3, max_steps: Some(100), ..recipe };
        assert_eq!((recipe.steps_per_epoch(2490), recipe.total_steps(2490)), (52, 100));
        let schedule = recipe.schedule_config(2490);
        assert_eq!((schedule.warmup_steps, schedule.total_steps), (10, 100));
    }
}
