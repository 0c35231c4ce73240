//! The plan of a study: the settings that all runs share, the arms that differ, a grid, and the seeds.
//!
//! ```toml
//! output = "studies/edge"
//! seeds = 24                      # 1 to 24; or a list
//! [base]                          # the settings of a `--config` file
//! model = "runs/nli/model"
//! data = "RTE"
//! [grid]                          # every arm with every combination
//! learning-rate = [1e-4, 3e-4]
//! [arms.adamw]
//! optimizer = "adamw"
//! [arms.pulled]
//! source-decay = 50.0
//! ```

use std::path::{Path, PathBuf};

use files::FileKind;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::ProgramError;
use crate::device::PrecisionName;
use crate::settings::{DashboardName, Settings, differences, override_with, show_value};

/// A plan as it is written in its file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<PathBuf>,
    seeds: Seeds,
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    base: Table,
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    grid: Table,
    arms: Table,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "seeds must be a number of seeds, or a list of seeds, each a whole number from 0"
)]
enum Seeds {
    Count(u64),
    List(Vec<u64>),
}

/// A plan whose settings are all valid.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    file: PlanFile,
    /// The folder of the study.
    pub output: PathBuf,
    /// The seeds of each arm, without duplicates.
    pub seeds: Vec<u64>,
    /// The arms in the order of the plan, each with every combination of the grid.
    pub arms: Vec<Arm>,
}

/// Settings that a study repeats with each seed.
#[derive(Clone, Debug)]
pub(crate) struct Arm {
    /// Its name and that of its folder: the name in the plan, and the values of the grid, as
    /// `adamw,learning-rate=1e-4`.
    pub name: String,
    /// Its name in the plan.
    pub plan_name: String,
    /// The keys and values of the grid.
    pub grid: Vec<(String, String)>,
    /// The keys and values with which the arm differs from the base.
    pub own: Vec<(String, String)>,
    /// The settings of its runs, apart from the seeds and the output folder.
    pub settings: Settings,
}

/// The settings that a study decides for each run.
pub(super) const DECIDED: [&str; 5] = ["seed", "data-seed", "output", "overwrite", "dashboard"];

/// The most seeds that a number stands for: beyond it the number is a mistake, and the seeds might not fit into memory.
const MOST_SEEDS: u64 = 100_000;

/// The plan of the bundled study.
const BUNDLED: &str = include_str!("bundled.toml");

/// The name of the plan in the folder of its study.
pub(super) const FILE: &str = "plan.toml";

/// The folder of the runs in that of a study.
const RUNS: &str = "runs";

impl Plan {
    /// Read a plan: a TOML file, the folder of a study or the plan in it, or without a path the bundled plan. The output
    /// folder of a file `edge.toml` that names none is `studies/edge`.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, settings that are invalid or have no effect, with the name of the arm.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, ProgramError> {
        let studies = Path::new("studies");
        match path {
            None => Self::parse(BUNDLED, Path::new("the bundled plan"), studies.join("bundled")),
            Some(folder) if folder.is_dir() => {
                let plan = Self::in_folder(folder)?;
                match plan.is_of_study_in(folder) {
                    true => Ok(plan),
                    false => Err(ProgramError::Usage(format!(
                        "{}: no study has been started in this folder; to start that of its plan, give {}",
                        folder.display(),
                        folder.join(FILE).display()
                    ))),
                }
            }
            Some(file) => {
                let stem = file.file_stem().unwrap_or(file.as_os_str());
                let plan = Self::read_file(file, studies.join(stem))?;
                let folder = files::parent(file);
                Ok(match file.ends_with(FILE) && plan.is_of_study_in(folder) {
                    true => Self { output: folder.to_owned(), ..plan },
                    false => plan,
                })
            }
        }
    }

    /// Whether this is the plan of a study in `folder`: it names no other folder, and one of its arms has runs there. Those of
    /// `finetune` are in `runs/`, too, but not in an arm's folder.
    fn is_of_study_in(&self, folder: &Path) -> bool {
        let runs = folder.join(RUNS);
        self.file.output.is_none() && self.arms.iter().any(|arm| runs.join(&arm.name).is_dir())
    }

    /// Read the plan in the folder of a study.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn in_folder(folder: &Path) -> Result<Self, ProgramError> {
        Self::read_file(&folder.join(FILE), folder.to_owned())
    }

    fn read_file(file: &Path, output: PathBuf) -> Result<Self, ProgramError> {
        let text = files::read_to_string(file, FileKind::Config)
            .map_err(ProgramError::io("read", file))?;
        Self::parse(&text, file, output)
    }

    pub(super) fn parse(text: &str, path: &Path, output: PathBuf) -> Result<Self, ProgramError> {
        let usage = |problem: String| ProgramError::Usage(format!("{}: {problem}", path.display()));
        let file: PlanFile = toml::from_str(text).map_err(|error| usage(error.to_string()))?;
        let arms = expand(&file).map_err(usage)?;
        let mut seeds = match &file.seeds {
            Seeds::Count(count) if *count > MOST_SEEDS => {
                return Err(usage(format!("seeds = {count} is more than {MOST_SEEDS}")));
            }
            Seeds::Count(count) => (1..=*count).collect(),
            Seeds::List(seeds) => seeds.clone(),
        };
        let mut seen = std::collections::BTreeSet::new();
        seeds.retain(|seed| seen.insert(*seed));
        if seeds.is_empty() || arms.is_empty() {
            return Err(usage("a study needs at least one seed and one arm".into()));
        }
        if seeds.iter().any(|seed| i64::try_from(*seed).is_err()) {
            return Err(usage(format!("a seed must be at most {}", i64::MAX)));
        }
        let output = file.output.clone().unwrap_or(output);
        if output.as_os_str().is_empty() {
            return Err(usage("output is empty; name a folder".into()));
        }
        Ok(Self { file, output, seeds, arms })
    }

    /// The plan as TOML, as it is kept in the study's folder.
    pub(super) fn to_toml(&self) -> Result<String, ProgramError> {
        let file =
            PlanFile { output: None, seeds: Seeds::List(self.seeds.clone()), ..self.file.clone() };
        toml::to_string(&file).map_err(|error| ProgramError::Internal(error.to_string()))
    }

    /// The arm of this name.
    pub(super) fn arm(&self, name: &str) -> Option<&Arm> {
        self.arms.iter().find(|arm| arm.name == name)
    }

    /// What this plan changes about `then`, by name. New seeds and new arms are no changes.
    pub(super) fn changes(&self, then: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for old in &then.arms {
            match self.arm(&old.name) {
                None => changes.push(format!("arm {} is no longer there", old.name)),
                Some(arm) => {
                    let [then, now] = [old, arm].map(|arm| arm.settings.to_table());
                    let differences = differences(&then, &now).into_iter();
                    changes.extend(differences.map(|it| format!("arm {}: {it}", arm.name)));
                }
            }
        }
        let removed = then.seeds.iter().filter(|seed| !self.seeds.contains(seed));
        changes.extend(removed.map(|seed| format!("seed {seed} is no longer there")));
        changes
    }

    /// The settings of a run, with its own folder as output.
    pub(super) fn settings(&self, arm: &Arm, seed: u64) -> Settings {
        Settings {
            seed,
            data_seed: seed,
            output: Some(self.run_folder(arm, seed)),
            dashboard: DashboardName::Off,
            ..arm.settings.clone()
        }
    }

    /// The folder of a run.
    pub(super) fn run_folder(&self, arm: &Arm, seed: u64) -> PathBuf {
        self.output.join(RUNS).join(&arm.name).join(seed.to_string())
    }
}

/// Every arm with every combination of the grid.
fn expand(file: &PlanFile) -> Result<Vec<Arm>, String> {
    refuse_decided(&file.base, "base")?;
    refuse_decided(&file.grid, "grid")?;
    let combinations = combinations(&file.grid)?;
    let mut arms: Vec<Arm> = Vec::new();
    for (plan_name, own) in &file.arms {
        let Value::Table(own) = own else {
            return Err(format!("arms.{plan_name} must be a table of settings"));
        };
        if plan_name.is_empty() || plan_name != &file_name(plan_name) || plan_name.starts_with('.')
        {
            return Err(format!(
                "{plan_name:?} cannot be the name of an arm: use letters, digits, `-`, `_` and `.`"
            ));
        }
        refuse_decided(own, &format!("arms.{plan_name}"))?;
        if let Some(key) = own.keys().find(|key| file.grid.contains_key(*key)) {
            return Err(format!(
                "{key} is in the grid and in arms.{plan_name}; leave one of them out"
            ));
        }
        for combination in &combinations {
            let grid: Vec<(String, String)> =
                combination.iter().map(|(key, value)| (key.clone(), show_value(value))).collect();
            let name = grid.iter().fold(plan_name.clone(), |name, (key, value)| {
                format!("{name},{key}={}", file_name(value))
            });
            if arms.iter().any(|arm| arm.name == name) {
                return Err(format!(
                    "two arms would have the folder {name}; give them other names or grid values"
                ));
            }
            let mut table = file.base.clone();
            override_with(&mut table, combination.iter().cloned().collect());
            override_with(&mut table, own.clone());
            if let Some((key, _)) = grid.iter().find(|(key, _)| !table.contains_key(key)) {
                return Err(format!(
                    "{key} of the grid has no effect with the settings of arms.{plan_name}; leave one of them out"
                ));
            }
            let settings =
                Settings::from_table(table).map_err(|error| format!("arm {name}: {error}"))?;
            if settings.precision == PrecisionName::Auto {
                return Err(format!(
                    "arm {name}: with precision = \"auto\", runs may differ in precision; name the precision"
                ));
            }
            if settings.device.as_ref().is_some_and(|devices| devices.names().len() > 1) {
                return Err(format!(
                    "arm {name}: a run of a study has one device; name several with --devices"
                ));
            }
            if arms.first().is_some_and(|first| first.settings.device != settings.device) {
                return Err(format!(
                    "arm {name}: all runs of a study use the same device; set it in [base], or name devices with --devices"
                ));
            }
            let own = own.iter().map(|(key, value)| (key.clone(), show_value(value))).collect();
            arms.push(Arm { name, plan_name: plan_name.clone(), grid, own, settings });
        }
    }
    Ok(arms)
}

fn refuse_decided(table: &Table, name: &str) -> Result<(), String> {
    match DECIDED.iter().find(|key| table.contains_key(**key)) {
        Some(key) => Err(format!("{name}: the study itself decides {key}; leave it out")),
        None => Ok(()),
    }
}

/// All combinations of the values of the grid: one, empty, without a grid.
fn combinations(grid: &Table) -> Result<Vec<Vec<(String, Value)>>, String> {
    let mut combinations = vec![Vec::new()];
    for (key, values) in grid {
        let Some(values) = values.as_array().filter(|values| !values.is_empty()) else {
            return Err(format!("grid: {key} must be a list of values"));
        };
        let longer = |combination: &Vec<(String, Value)>| {
            let combination = combination.clone();
            values
                .iter()
                .map(move |value| {
                    let mut combination = combination.clone();
                    combination.push((key.clone(), value.clone()));
                    combination
                })
                .collect::<Vec<_>>()
        };
        combinations = combinations.iter().flat_map(longer).collect();
    }
    Ok(combinations)
}

/// The text as part of a file name: other characters than letters, digits, `-`, `_` and `.` become `-`.
fn file_name(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.chars().map(|c| if keep(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Plan, ProgramError> {
        Plan::parse(text, Path::new("plan.toml"), "studies/plan".into())
    }

    const ARMS: &str = "[base]\nmodel = \"m\"\ndata = \"d\"\n[arms.adamw]\noptimizer = \"adamw\"\n\
                        [arms.pulled]\nsource-decay = 50.0\n";

    fn plan(text: &str) -> Plan {
        parse(text).expect("a plan")
    }

    #[test]
    fn arms_multiply_with_the_grid_and_keep_their_order() {
        let plan = plan(&format!(
            "seeds = 2\n{ARMS}[grid]\nlearning-rate = [2e-5, 1e-3]\nepochs = [1, 2]\n"
        ));
        let names: Vec<&str> = plan.arms.iter().map(|arm| arm.name.as_str()).collect();
        assert_eq!(
            names[..5],
            [
                "adamw,learning-rate=2e-5,epochs=1",
                "adamw,learning-rate=2e-5,epochs=2",
                "adamw,learning-rate=0.001,epochs=1",
                "adamw,learning-rate=0.001,epochs=2",
                "pulled,learning-rate=2e-5,epochs=1",
            ]
        );
        assert_eq!(plan.arms.len(), 8);
        assert_eq!((plan.arms[2].settings.learning_rate, plan.arms[2].settings.epochs), (1e-3, 1));
        assert_eq!(plan.arms[4].settings.source_decay, 50.0);
        assert_eq!(plan.arms[4].own, [("source-decay".to_owned(), "50.0".to_owned())]);
        assert_eq!(plan.output, Path::new("studies/plan"));
    }

    #[test]
    fn a_seed_seeds_weights_and_order_of_every_arm_alike() {
        let plan = plan(&format!("seeds = [7, 3, 7]\n{ARMS}"));
        assert_eq!(plan.seeds, [7, 3]);
        for arm in &plan.arms {
            let settings = plan.settings(arm, 3);
            assert_eq!((settings.seed, settings.data_seed), (3, 3));
            assert!(settings.output.expect("a folder").ends_with(format!("runs/{}/3", arm.name)));
        }
    }

    #[test]
    fn problems_are_named_with_their_place() {
        for (text, problem) in [
            ("seeds = 0\n[arms.a]\n", "at least one seed"),
            ("seeds = 2\n[arms]\n", "one arm"),
            (
                "seeds = 2\n[arms.a]\nlerning-rate = 1.0\n",
                "arm a: the settings: unknown field `lerning-rate`",
            ),
            ("seeds = 2\n[arms.a]\nweight-decay = 1.0\n", "arm a: --weight-decay has no effect"),
            ("seeds = 2\n[arms.a]\nseed = 1\n", "arms.a: the study itself decides seed"),
            (
                "seeds = 2\n[arms.a]\ndevice = \"cpu,cpu\"\n",
                "arm a: a run of a study has one device",
            ),
            (
                "seeds = 2\n[grid]\ndevice = [\"cpu\", \"tch\"]\n[arms.a]\n",
                "arm a,device=tch: all runs of a study use the same device",
            ),
            ("seeds = \"2\"\n[arms.a]\n", "a number of seeds, or a list of seeds"),
            ("seeds = 2\n[arms.a]\nprecision = \"auto\"\n", "arm a: with precision = \"auto\""),
            ("seeds = 2\n[arms.\"a/b\"]\n", "cannot be the name of an arm"),
            ("seeds = 2\n[arms.\"..\"]\n", "cannot be the name of an arm"),
            ("seeds = 2\n[grid]\nepochs = 3\n[arms.a]\n", "grid: epochs must be a list"),
            (
                "seeds = 2\n[grid]\nepochs = [3]\n[arms.a]\nepochs = 2\n",
                "in the grid and in arms.a",
            ),
            ("seeds = 2\n[grid]\nepochs = [3, 3]\n[arms.a]\n", "two arms"),
            (
                "seeds = 2\n[grid]\nsource-decay = [1.0]\n[arms.a]\noptimizer = \"adamw\"\n",
                "source-decay of the grid has no effect with the settings of arms.a",
            ),
            ("seeds = 2\nsteps = 3\n[arms.a]\n", "unknown field `steps`"),
            ("seeds = [18446744073709551615]\n[arms.a]\n", "plan.toml"),
            ("seeds = 100001\n[arms.a]\n", "seeds = 100001 is more than 100000"),
            ("seeds = 9000000000000000000\n[arms.a]\n", "is more than 100000"),
        ] {
            let error = parse(text).expect_err(problem).to_string();
            assert!(error.contains(problem) && error.contains("plan.toml"), "{problem}: {error}");
        }
    }

    #[test]
    fn the_plan_in_the_folder_of_a_study_is_that_study() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        std::fs::write(&file, format!("seeds = 2\n{ARMS}")).expect("written");
        // Where `finetune` writes its runs is no study.
        std::fs::create_dir_all(folder.path().join("runs/0001")).expect("created");
        assert_eq!(Plan::read(Some(&file)).expect("a plan").output, Path::new("studies/plan"));
        std::fs::create_dir(folder.path().join("runs/pulled")).expect("created");
        for path in [&file, folder.path()] {
            assert_eq!(Plan::read(Some(path)).expect("a plan").output, folder.path());
        }
    }

    #[test]
    fn a_plan_may_grow_but_not_change() {
        let then = plan(&format!("seeds = 2\n{ARMS}"));
        let now = plan(&format!("seeds = 3\n{ARMS}[arms.more]\nsource-decay = 9.0\n"));
        assert_eq!(now.changes(&then), [] as [&str; 0]);
        assert_eq!(
            then.changes(&now),
            ["arm more is no longer there", "seed 3 is no longer there"]
        );
        let other = plan(&format!("seeds = 2\n{}", ARMS.replace("50.0", "5.0")));
        assert_eq!(other.changes(&then), ["arm pulled: source-decay: 50.0 then, 5.0 now"]);
    }

    #[test]
    fn a_kept_plan_is_the_same_plan() {
        let plan = plan(&format!("seeds = 3\n{ARMS}[grid]\nlearning-rate = [2e-5, 1e-3]\n"));
        let kept = parse(&plan.to_toml().expect("TOML")).expect("a plan");
        assert_eq!(kept.changes(&plan), plan.changes(&kept));
        assert_eq!((kept.seeds, kept.arms.len()), (plan.seeds, plan.arms.len()));
    }

    #[test]
    fn the_bundled_plan_is_valid() {
        let plan = Plan::read(None).expect("a plan");
        assert_eq!(plan.seeds.len(), 10);
    }
}
