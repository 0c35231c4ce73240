//! The settings of a run from its sources: the defaults, then `--config FILE`, then flags; and what is refused.

use std::collections::BTreeSet;
use std::path::Path;

use clap::ValueEnum;
use files::FileKind;

use super::{OptimizerName, RecipeName, Settings, is_embedded};
use crate::ProgramError;

/// The bundled model is small: it learns at a rate that would wreck a large one.
pub(super) const EMBEDDED_LEARNING_RATE: f64 = 3e-4;

/// It was pretrained on less text, so it needs more passes over the task.
pub(super) const EMBEDDED_EPOCHS: usize = 5;

/// The settings of one optimizer alone.
const OF_ADAMW_L2SP: [&str; 3] = ["source-decay", "total-pull", "novel-decay"];
const OF_ADAMW: [&str; 1] = ["weight-decay"];

/// The settings of which only one can be given.
const EXCLUSIVE: [[&str; 2]; 3] = [
    ["source-decay", "total-pull"],
    ["validation-data", "validation-share"],
    ["task", "text-column"],
];

/// The settings that a recipe names.
const OF_RECIPE: [&str; 2] = ["model", "data"];

/// The settings that need `text-column`.
const OF_COLUMNS: [&str; 3] = ["text-pair-column", "label-column", "labels"];

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
        let given_table = flags_table.into_iter().filter(|(key, _)| given.contains(key)).collect();
        override_with(&mut table, given_table);
        let settings = Self::from_table(table)?;
        let settings = Self {
            output: if given.contains("output") { flags.output.clone() } else { settings.output },
            overwrite: match given.contains("overwrite") {
                true => flags.overwrite,
                false => settings.overwrite,
            },
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
            if OF_RECIPE.iter().all(|key| table.contains_key(*key)) {
                return Err(ProgramError::Usage(
                    "--recipe has no effect where --model and --data are both given; leave it out"
                        .into(),
                ));
            }
            for (key, name) in OF_RECIPE.into_iter().zip([model, data]) {
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

    /// The settings that only the other optimizer has.
    pub(super) fn inapplicable(&self) -> &'static [&'static str] {
        inapplicable_to(self.optimizer)
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
            for flag in OF_COLUMNS {
                check(!given.contains(flag), format!("--{flag} needs --text-column"));
            }
        }
        for [one, other] in EXCLUSIVE {
            check(
                !(given.contains(one) && given.contains(other)),
                format!("--{one} and --{other} cannot be used together"),
            );
        }
        check(
            !given.contains("sample-seed")
                || self.max_examples.is_some()
                || self.validation_share.is_some(),
            "--sample-seed has no effect without --max-examples or --validation-share".into(),
        );
        let devices = self.device.as_ref().map_or(1, |devices| devices.names().len());
        check(
            devices <= self.batch_size.max(1),
            format!("--batch-size must be at least {devices}, one example per device"),
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
            ("max-grad-norm", self.max_grad_norm),
            ("head-learning-rate", self.head_learning_rate.unwrap_or_default()),
        ] {
            check(
                value.is_finite() && value >= 0.0,
                format!("--{flag} is {value}, but must be finite and at least 0"),
            );
        }
        check(
            self.epsilon.is_finite() && self.epsilon >= f64::from(f32::MIN_POSITIVE),
            format!(
                "--epsilon is {}, but must be finite and at least {:e}: Adam divides by it where all gradients were 0",
                self.epsilon,
                f32::MIN_POSITIVE
            ),
        );
        for (flag, beta) in [("beta-1", self.beta_1), ("beta-2", self.beta_2)] {
            check((0.0..1.0).contains(&beta), format!("--{flag} is {beta}, but must be in [0, 1)"));
        }
        if problems.is_empty() { Ok(()) } else { Err(ProgramError::Usage(problems.join("; "))) }
    }
}

/// Let the settings in `more` take the place of those in `table`, and of what they exclude there.
pub(crate) fn override_with(table: &mut toml::Table, more: toml::Table) {
    for pair in EXCLUSIVE {
        if pair.iter().any(|key| more.contains_key(*key)) {
            table.retain(|key, _| !pair.contains(&key));
        }
    }
    if more.contains_key("task") {
        table.retain(|key, _| !OF_COLUMNS.contains(&key));
    }
    if more.contains_key("recipe") {
        table.retain(|key, _| !OF_RECIPE.contains(&key));
    }
    if OF_RECIPE.iter().all(|key| more.contains_key(*key)) {
        table.remove("recipe");
    }
    // One that is unknown is refused later.
    if let Some(Ok(optimizer)) = more.get("optimizer").map(|name| name.clone().try_into()) {
        table.retain(|key, _| !inapplicable_to(optimizer).contains(&key));
    }
    // The seed of the share that it replaces, unless it draws a sample as well.
    if more.contains_key("validation-data")
        && ![&*table, &more].iter().any(|settings| settings.contains_key("max-examples"))
    {
        table.remove("sample-seed");
    }
    table.extend(more);
}

/// The settings that have no effect with this optimizer.
fn inapplicable_to(optimizer: OptimizerName) -> &'static [&'static str] {
    match optimizer {
        OptimizerName::AdamWL2SP => &OF_ADAMW,
        OptimizerName::AdamW => &OF_ADAMW_L2SP,
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
