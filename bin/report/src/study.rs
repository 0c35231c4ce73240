//! What a study consists of: arms, and the runs of each.

use metrics::Metric;

use crate::run::Run;

/// A study: arms of runs that differ in settings, paired by seed.
///
/// The first arm's `plan_name` is the baseline with which the others are compared.
#[derive(Clone, Debug)]
pub struct Study {
    /// The heading of the report.
    pub title: String,
    /// The arms in plan order; with a grid, one for each arm of the plan and each point of the grid.
    pub arms: Vec<Arm>,
}

/// Runs that differ in their seed alone.
#[derive(Clone, Debug)]
pub struct Arm {
    /// The unique name, such as `adamw` or, with a grid, `adamw,learning-rate=3e-4`.
    pub name: String,
    /// The name in the plan, such as `adamw`; equal to `name` without a grid.
    pub plan_name: String,
    /// The grid's keys and this arm's values, in plan order; empty without a grid.
    pub grid: Vec<(String, String)>,
    /// The settings worth showing: those that differ from the base.
    pub settings: Vec<(String, String)>,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// The seeds of the plan.
    pub planned_seeds: Vec<u64>,
    /// The runs that have begun, at most one for each seed.
    pub runs: Vec<Run>,
}

/// A point of the grid: keys and values.
pub(crate) type GridPoint = [(String, String)];

impl Study {
    /// The names of the plan's arms, without the grid's values.
    pub(crate) fn plan_names(&self) -> Vec<&str> {
        distinct(self.arms.iter().map(|arm| arm.plan_name.as_str()))
    }

    /// The points of the grid; a single empty one without a grid.
    pub(crate) fn grid_points(&self) -> Vec<&GridPoint> {
        distinct(self.arms.iter().map(|arm| arm.grid.as_slice()))
    }

    /// The keys of the grid.
    pub(crate) fn grid_keys(&self) -> Vec<&str> {
        distinct(self.arms.iter().flat_map(|arm| &arm.grid).map(|(key, _)| key.as_str()))
    }

    /// The arm of a plan at a point of the grid.
    pub(crate) fn arm(&self, plan_name: &str, point: &GridPoint) -> Option<&Arm> {
        self.arms.iter().find(|arm| arm.plan_name == plan_name && arm.grid == point)
    }

    /// The position of an arm's name in the plan: its colour and marker in the figures.
    pub(crate) fn position(&self, plan_name: &str) -> usize {
        self.plan_names().iter().position(|name| *name == plan_name).unwrap_or(0)
    }

    /// The main metric, if a run has ended.
    pub(crate) fn metric(&self) -> Option<Metric> {
        self.arms.iter().flat_map(Arm::ended).find_map(|run| run.metric)
    }

    /// The metric of the majority class. The task decides it, so all runs that recorded it agree; if they do not, there
    /// is none for the study.
    pub(crate) fn majority(&self) -> Option<f64> {
        let recorded = self.arms.iter().flat_map(Arm::ended).filter_map(|run| run.majority);
        match distinct(recorded)[..] {
            [majority] => Some(majority),
            _ => None,
        }
    }
}

impl Arm {
    /// The runs that finished or diverged.
    pub(crate) fn ended(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.has_ended())
    }

    /// The final metrics of the ended runs, ascending: the order of the runs decides nothing.
    pub(crate) fn final_metrics(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.ended().filter_map(|run| run.final_metric).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The number of failed runs.
    pub(crate) fn failed(&self) -> usize {
        self.ended().filter(|run| run.failed == Some(true)).count()
    }

    /// The number of planned runs that have not ended.
    pub(crate) fn left(&self) -> usize {
        let ended = |seed| self.ended().any(|run| run.seed == seed);
        self.planned_seeds.iter().filter(|&&seed| !ended(seed)).count()
    }

    /// The runs of this arm and of `other` with the same seed, where both have ended.
    pub(crate) fn pairs<'a>(&'a self, other: &'a Arm) -> impl Iterator<Item = (&'a Run, &'a Run)> {
        self.ended().filter_map(|run| {
            let partner = other.ended().find(|partner| partner.seed == run.seed)?;
            Some((run, partner))
        })
    }
}

/// The distinct values, in the order of their first occurrence.
pub(crate) fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

/// A point of the grid as a reader writes it, such as `learning-rate=3e-4`; empty without a grid.
pub(crate) fn describe(point: &GridPoint) -> String {
    let values: Vec<String> = point.iter().map(|(key, value)| format!("{key}={value}")).collect();
    values.join(", ")
}
