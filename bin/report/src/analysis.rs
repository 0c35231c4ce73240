//! The numbers of a report: what each arm reached, and how the arms compare. Serialized, they are `report.json`.

use std::collections::BTreeMap;

use metrics::Metric;
use serde::Serialize;

use crate::by_name;
use crate::run::RunState;
use crate::statistics::{
    bootstrap_interval, fisher_test, holm, interquartile_mean, mcnemar_test, mean,
    minimum_detectable_difference, quantile, sign_flip_test, smallest_p, standard_deviation,
    wilson_interval,
};
use crate::study::{Arm, GridPoint, Study, distinct};

/// Everything that is computed from a study.
#[derive(Debug, Serialize)]
pub(crate) struct Analysis {
    pub(crate) title: String,
    /// The main metric; `None` if no run has ended.
    pub(crate) metric: Option<Metric>,
    /// The main metric of always predicting the majority class.
    pub(crate) majority: Option<f64>,
    /// Planned runs.
    pub(crate) planned: usize,
    /// Planned runs that have not ended.
    pub(crate) left: usize,
    #[serde(serialize_with = "by_name::serialize")]
    pub(crate) arms: Vec<(String, ArmSummary)>,
    pub(crate) comparisons: Vec<Comparison>,
}

/// What the ended runs of an arm reached. Metrics are those at the end of each run.
#[derive(Debug, Serialize)]
pub(crate) struct ArmSummary {
    pub(crate) plan_name: String,
    #[serde(serialize_with = "by_name::serialize")]
    pub(crate) grid: Vec<(String, String)>,
    #[serde(serialize_with = "by_name::serialize")]
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) learning_rate: f64,
    /// Ended runs.
    pub(crate) n: usize,
    /// Planned runs that have not ended.
    pub(crate) left: usize,
    /// Ended runs that diverged.
    pub(crate) diverged: usize,
    pub(crate) mean: f64,
    pub(crate) sd: f64,
    pub(crate) median: f64,
    pub(crate) iqm: f64,
    /// The bootstrap interval of the interquartile mean.
    pub(crate) iqm_interval: [f64; 2],
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) failed: usize,
    /// The Wilson interval of the share of failed runs.
    pub(crate) failed_interval: [f64; 2],
}

/// The comparisons that are made together: the p-values of a family are adjusted for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Family {
    /// The baseline and another arm of the plan, at the same point of the grid.
    SameSettings,
    /// The mean over the grid of the baseline and of another arm of the plan.
    OverGrid,
    /// Each at the point of the grid where its mean is highest. The choice favours both.
    OwnBest,
}

impl Family {
    pub(crate) const ALL: [Self; 3] = [Self::SameSettings, Self::OverGrid, Self::OwnBest];
}

/// An arm against the baseline. Differences are arm − baseline.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) family: Family,
    pub(crate) baseline: String,
    pub(crate) arm: String,
    /// Seeds with which both have ended.
    pub(crate) pairs: usize,
    /// The mean paired difference of the final metric.
    pub(crate) difference: f64,
    /// Its bootstrap interval.
    pub(crate) interval: [f64; 2],
    /// The permutation test of the paired differences.
    pub(crate) p: f64,
    /// [`Self::p`], Holm-adjusted in its family.
    pub(crate) p_holm: f64,
    /// The smallest [`Self::p`] that this number of pairs can give.
    pub(crate) smallest_p: f64,
    /// The smallest [`Self::p_holm`] that it can give, with the other p-values of the family as they are.
    pub(crate) smallest_p_holm: f64,
    /// The true difference that would be found with a probability of 80%.
    pub(crate) detectable_difference: f64,
    /// Pairs in which only the baseline's run failed.
    pub(crate) baseline_only_failed: usize,
    /// Pairs in which only the arm's run failed.
    pub(crate) arm_only_failed: usize,
    /// McNemar's exact test of the failed runs.
    pub(crate) failed_p: f64,
    /// [`Self::failed_p`], Holm-adjusted in its family.
    pub(crate) failed_p_holm: f64,
    /// Fisher's exact test of the failed runs: of all ended runs, as if they were not paired.
    pub(crate) failed_p_fisher: f64,
}

/// The grid's keys that change what is learned. Runs of different tasks are treated as independent even if they
/// share a seed, so tasks are the strata of the bootstrap. Runs of one task with the same seed are correlated.
const TASK_KEYS: [&str; 3] = ["task", "data", "model"];

impl Analysis {
    /// Computes everything. The study's runs must have the same main metric.
    pub(crate) fn new(study: &Study) -> Self {
        let mut comparisons = compare_all(study);
        for family in Family::ALL {
            adjust(comparisons.iter_mut().filter(|comparison| comparison.family == family));
        }
        let summaries = study.arms.iter().map(|arm| (arm.name.clone(), ArmSummary::new(arm)));
        Self {
            title: study.title.clone(),
            metric: study.metric(),
            majority: study.majority(),
            planned: study.arms.iter().map(|arm| arm.planned_seeds.len()).sum(),
            left: study.arms.iter().map(Arm::left).sum(),
            arms: summaries.collect(),
            comparisons,
        }
    }
}

impl ArmSummary {
    fn new(arm: &Arm) -> Self {
        let values = arm.final_metrics();
        let n = arm.ended().count();
        Self {
            plan_name: arm.plan_name.clone(),
            grid: arm.grid.clone(),
            settings: arm.settings.clone(),
            learning_rate: arm.learning_rate,
            n,
            left: arm.left(),
            diverged: arm.ended().filter(|run| run.state == RunState::Diverged).count(),
            mean: mean(&values),
            sd: standard_deviation(&values),
            median: quantile(&values, 0.5),
            iqm: interquartile_mean(&values),
            iqm_interval: bootstrap_interval(std::slice::from_ref(&values), |strata| {
                interquartile_mean(&strata[0])
            }),
            min: quantile(&values, 0.0),
            max: quantile(&values, 1.0),
            failed: arm.failed(),
            failed_interval: wilson_interval(arm.failed(), n),
        }
    }
}

/// Adjusts the p-values of a family for one another.
fn adjust<'a>(family: impl Iterator<Item = &'a mut Comparison>) {
    let mut family: Vec<&mut Comparison> = family.collect();
    let metric: Vec<f64> = family.iter().map(|comparison| comparison.p).collect();
    let failed: Vec<f64> = family.iter().map(|comparison| comparison.failed_p).collect();
    let (metric_holm, failed_holm) = (holm(&metric), holm(&failed));
    for (index, comparison) in family.iter_mut().enumerate() {
        comparison.p_holm = metric_holm[index];
        comparison.failed_p_holm = failed_holm[index];
        let mut at_best = metric.clone();
        at_best[index] = comparison.smallest_p;
        comparison.smallest_p_holm = holm(&at_best)[index];
    }
}

/// The comparisons of all families, not yet adjusted.
fn compare_all(study: &Study) -> Vec<Comparison> {
    let plan_names = study.plan_names();
    let Some((baseline, others)) = plan_names.split_first() else { return Vec::new() };
    let points = study.grid_points();
    let mut comparisons = Vec::new();
    for point in &points {
        let Some(baseline) = study.arm(baseline, point) else { continue };
        let arms = others.iter().filter_map(|other| study.arm(other, point));
        comparisons.extend(arms.map(|arm| compare_arms(Family::SameSettings, baseline, arm)));
    }
    if points.len() > 1 {
        comparisons.extend(others.iter().map(|other| compare_over_grid(study, baseline, other)));
        // The means of different tasks are not comparable.
        let has_one_task = distinct(points.iter().map(|point| task(point))).len() == 1;
        if has_one_task && let Some(baseline) = best_arm(study, baseline) {
            let arms = others.iter().filter_map(|other| best_arm(study, other));
            comparisons.extend(arms.map(|arm| compare_arms(Family::OwnBest, baseline, arm)));
        }
    }
    comparisons
}

/// The arm of the plan at the point of the grid where the mean of its final metrics is highest.
pub(crate) fn best_arm<'a>(study: &'a Study, plan_name: &str) -> Option<&'a Arm> {
    let mean_of = |arm: &Arm| mean(&arm.final_metrics());
    let arms = study.arms.iter().filter(|arm| arm.plan_name == plan_name);
    let arms = arms.filter(|arm| !mean_of(arm).is_nan());
    // Of equal means the first.
    arms.reduce(|best, arm| if mean_of(arm) > mean_of(best) { arm } else { best })
}

fn compare_arms(family: Family, baseline: &Arm, arm: &Arm) -> Comparison {
    let differences: Vec<f64> = differences(baseline, arm).into_values().collect();
    let failed = |first: bool, second: bool| {
        let outcomes = baseline.pairs(arm).map(|(b, a)| (b.failed, a.failed));
        outcomes.filter(|outcome| *outcome == (Some(first), Some(second))).count()
    };
    let (baseline_only_failed, arm_only_failed) = (failed(true, false), failed(false, true));
    let has_pairs = baseline.pairs(arm).next().is_some();
    let counts = |arm: &Arm| [arm.failed(), arm.ended().count()];
    let has_runs = counts(baseline)[1] > 0 && counts(arm)[1] > 0;
    let when = |defined: bool, value: f64| if defined { value } else { f64::NAN };
    Comparison {
        baseline_only_failed,
        arm_only_failed,
        failed_p: when(has_pairs, mcnemar_test(baseline_only_failed, arm_only_failed)),
        failed_p_fisher: when(has_runs, fisher_test(counts(baseline), counts(arm))),
        ..compare(family, &baseline.name, &arm.name, vec![differences])
    }
}

/// The mean difference over the grid. Within a task, the differences of a seed are averaged over the points first, because they are
/// correlated; only seeds that have ended at all points of the task count. The tasks are the strata.
fn compare_over_grid(study: &Study, baseline: &str, other: &str) -> Comparison {
    let mut tasks: BTreeMap<Vec<&str>, Vec<BTreeMap<u64, f64>>> = BTreeMap::new();
    for point in study.grid_points() {
        if let (Some(baseline), Some(arm)) = (study.arm(baseline, point), study.arm(other, point)) {
            tasks.entry(task(point)).or_default().push(differences(baseline, arm));
        }
    }
    let seed_means = |points: Vec<BTreeMap<u64, f64>>| -> Vec<f64> {
        let seeds = points.first().into_iter().flat_map(BTreeMap::keys);
        let everywhere = |seed| {
            let values: Option<Vec<f64>> =
                points.iter().map(|point| point.get(seed).copied()).collect();
            values.map(|values| mean(&values))
        };
        seeds.filter_map(everywhere).collect()
    };
    compare(Family::OverGrid, baseline, other, tasks.into_values().map(seed_means).collect())
}

/// What a point of the grid says about the task.
fn task(point: &GridPoint) -> Vec<&str> {
    let values = point.iter().filter(|(key, _)| TASK_KEYS.contains(&key.as_str()));
    values.map(|(_, value)| value.as_str()).collect()
}

/// Arm − baseline for each seed with which both ended with a metric.
fn differences(baseline: &Arm, arm: &Arm) -> BTreeMap<u64, f64> {
    let pairs = baseline.pairs(arm);
    pairs.filter_map(|(b, a)| Some((b.seed, a.final_metric? - b.final_metric?))).collect()
}

/// A comparison of the metric alone, from the paired differences of each stratum.
fn compare(family: Family, baseline: &str, arm: &str, strata: Vec<Vec<f64>>) -> Comparison {
    let mean_of_strata =
        |strata: &[Vec<f64>]| mean(&strata.iter().map(|stratum| mean(stratum)).collect::<Vec<_>>());
    // The terms of that mean, whose signs the permutation test flips.
    let complete = strata.iter().all(|stratum| !stratum.is_empty());
    let weighted = |stratum: &Vec<f64>| -> Vec<f64> {
        let weight = (strata.len() * stratum.len()) as f64;
        stratum.iter().map(|difference| difference / weight).collect()
    };
    let terms: Vec<f64> = match complete {
        true => strata.iter().flat_map(weighted).collect(),
        false => Vec::new(),
    };
    Comparison {
        family,
        baseline: baseline.to_owned(),
        arm: arm.to_owned(),
        pairs: terms.len(),
        difference: mean_of_strata(&strata),
        interval: bootstrap_interval(&strata, mean_of_strata),
        p: sign_flip_test(&terms),
        p_holm: f64::NAN,
        smallest_p: smallest_p(terms.len()),
        smallest_p_holm: f64::NAN,
        detectable_difference: match &strata[..] {
            [differences] => minimum_detectable_difference(differences),
            _ => f64::NAN,
        },
        baseline_only_failed: 0,
        arm_only_failed: 0,
        failed_p: f64::NAN,
        failed_p_holm: f64::NAN,
        failed_p_fisher: f64::NAN,
    }
}
