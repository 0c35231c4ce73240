//! A plan to begin with: how stable is the fine-tuning of a run, and what does the pull change?

use toml::Table;

use super::plan::DECIDED;
use crate::ProgramError;
use crate::settings::Settings;
use crate::train::rounded;

/// Multiples of the run's learning rate. AdamW begins to fail above the rate that works.
const RATES: [f64; 3] = [1.0, 3.0, 10.0];

/// The total pulls Σηλ₁ of the arms: weights without a gradient would return 95 % and all of the way to their start.
const PULLS: [f64; 2] = [3.0, 10.0];

const SEEDS: usize = 6;

/// The settings that the arms or the grid decide.
const COMPARED: [&str; 6] =
    ["optimizer", "source-decay", "total-pull", "novel-decay", "weight-decay", "learning-rate"];

/// The settings of a run that a study has no use for.
const OF_ONE_RUN: [&str; 2] = ["device", "log"];

/// The text of a plan that compares AdamW with AdamWL2SP on what a run was fine-tuned on, and the number of its runs. The
/// number of the run's `steps` limits the pull, if it is known.
///
/// # Errors
/// Settings that cannot be written as TOML, which would be a bug.
pub(crate) fn starter_plan(
    settings: &Settings,
    steps: Option<usize>,
) -> Result<(String, usize), ProgramError> {
    let base = toml::to_string(&base(settings)?)
        .map_err(|error| ProgramError::Internal(error.to_string()))?;
    let rate = |factor| format!("{:e}", rounded(factor * settings.learning_rate, 3));
    let rates = RATES.map(rate).join(", ");
    let weight_decay = if settings.weight_decay > 0.0 { settings.weight_decay } else { 0.01 };
    let novel_decay = match settings.novel_decay {
        0.0 => String::new(),
        decay => format!("novel-decay = {decay:?}\n"),
    };
    let most = steps.map_or(f64::INFINITY, |steps| settings.most_total_pull(steps));
    let mut pulls = PULLS.map(|pull| pull.min(most)).to_vec();
    pulls.dedup();
    pulls.retain(|pull| *pull > 0.0);
    let pulled = pulls.iter().map(|pull| {
        let name = pull.to_string().replace('.', "-");
        format!("\n[arms.pulled-{name}]\ntotal-pull = {pull:?}\n{novel_decay}")
    });
    let pulled = pulled.collect::<String>();
    let runs = SEEDS * RATES.len() * (1 + pulls.len());
    let plan = format!(
        "# How stable is this fine-tuning, and what does the pull to the pretrained weights change? Every arm runs at every\n\
         # learning rate with every seed: {runs} runs. More seeds and arms may be added later.\n\
         seeds = {SEEDS}\n\n\
         # What all runs share.\n\
         [base]\n{base}\n\
         # The run's own learning rate and higher ones, where AdamW begins to fail.\n\
         [grid]\nlearning-rate = [{rates}]\n\n\
         [arms.adamw]\noptimizer = \"adamw\"\nweight-decay = {weight_decay:?}\n\n\
         # AdamWL2SP, with the pull over the whole run, Σηλ₁, held fixed.{pulled}",
    );
    Ok((plan, runs))
}

/// The settings that differ from the defaults of their model.
fn base(settings: &Settings) -> Result<Table, ProgramError> {
    let mut base = settings.to_table();
    let model = base.get_key_value("model").map(|(key, model)| (key.clone(), model.clone()));
    let defaults = Settings::from_table(model.into_iter().collect())?.to_table();
    let left_out = [&DECIDED[..], &COMPARED, &OF_ONE_RUN].concat();
    base.retain(|key, value| {
        let is_named = ["model", "data"].contains(&key);
        is_named || !left_out.contains(&key) && defaults.get(key) != Some(value)
    });
    Ok(base)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::study::Plan;

    fn plan_of(table: &str) -> (String, Plan) {
        let settings =
            Settings::from_table(toml::from_str(table).expect("TOML")).expect("settings");
        let (text, runs) = starter_plan(&settings, None).expect("a plan");
        let plan = Plan::parse(&text, Path::new("plan.toml"), "studies/plan".into());
        let plan = plan.expect("a valid plan");
        assert_eq!(plan.arms.len() * plan.seeds.len(), runs);
        (text, plan)
    }

    #[test]
    fn a_run_becomes_the_base_of_a_valid_plan() {
        let (text, plan) = plan_of(
            "model = \"m\"\ndata = \"d.csv\"\ntext-column = \"text\"\nlabels = [\"no\", \"yes\"]\nepochs = 4\n\
             learning-rate = 2e-5\nseed = 7\noutput = \"runs/0001\"\ndevice = \"cpu\"\nlog = [\"csv\"]\n\
             source-decay = 1.0\nnovel-decay = 0.5\n",
        );
        assert!(text.contains("learning-rate = [2e-5, 6e-5, 2e-4]\n"), "{text}");
        let base = text.split("# What all runs share.\n").nth(1).expect("the base");
        assert_eq!(
            base.split("\n# ").next().expect("its end"),
            "[base]\nmodel = \"m\"\ndata = \"d.csv\"\ntext-column = \"text\"\nlabels = [\"no\", \"yes\"]\nepochs = 4\n"
        );
        assert_eq!(plan.seeds.len(), SEEDS);
        let (adamw, pulled) = (&plan.arms[0].settings, &plan.arms[5].settings);
        assert_eq!((adamw.learning_rate, adamw.weight_decay, adamw.epochs), (2e-5, 0.01, 4));
        assert_eq!((pulled.learning_rate, pulled.total_pull), (2e-4, Some(3.0)));
        assert_eq!(pulled.novel_decay, 0.5);
    }

    #[test]
    fn a_short_run_gets_the_strongest_pull_that_it_allows() {
        let arms = |steps| {
            let (text, _) = starter_plan(&Settings::default(), Some(steps)).expect("a plan");
            let plan = Plan::parse(&text, Path::new("plan.toml"), "studies/plan".into());
            let pulls: Vec<_> =
                plan.expect("valid").arms.iter().map(|arm| arm.settings.total_pull).collect();
            pulls
        };
        assert_eq!(
            arms(100)[3..],
            [Some(3.0), Some(3.0), Some(3.0), Some(10.0), Some(10.0), Some(10.0)]
        );
        assert_eq!(arms(10)[6..], [Some(5.0); 3]);
        assert_eq!(arms(3), [None, None, None, Some(1.5), Some(1.5), Some(1.5)]);
    }

    #[test]
    fn the_defaults_of_the_bundled_model_are_kept() {
        let (text, plan) = plan_of("optimizer = \"adamw\"\nweight-decay = 0.1\nepochs = 3\n");
        assert!(
            text.contains("[base]\nmodel = \"embedded\"\ndata = \"embedded\"\nepochs = 3\n"),
            "{text}"
        );
        assert_eq!(plan.arms[2].settings.learning_rate, 3e-3);
        assert_eq!(plan.arms[0].settings.weight_decay, 0.1);
        let (text, plan) = plan_of("");
        assert!(!text.contains("epochs"), "{text}");
        assert_eq!(plan.arms[0].settings.epochs, 5);
    }
}
