//! `runs.csv`: a row for each run that has begun.

use crate::run::{Run, RunState};
use crate::study::{Arm, Study};

/// The columns `arm, seed,` the grid's keys, `state, steps, metric, best, eval_loss, distance, seconds, failed`. What a
/// run does not have is empty: for an unfinished one, all that would describe its end.
pub(crate) fn runs_csv(study: &Study) -> Result<String, Box<dyn std::error::Error>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let keys = study.grid_keys();
    let results =
        ["state", "steps", "metric", "best", "eval_loss", "distance", "seconds", "failed"];
    writer.write_record(["arm", "seed"].iter().chain(&keys).chain(&results))?;
    for arm in &study.arms {
        let mut runs: Vec<&Run> = arm.runs.iter().collect();
        runs.sort_by_key(|run| run.seed);
        for run in runs {
            writer.write_record(row(arm, &keys, run))?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn row(arm: &Arm, keys: &[&str], run: &Run) -> Vec<String> {
    let of_grid = |key: &&str| {
        let value = arm.grid.iter().find(|(name, _)| name == key);
        value.map_or_else(String::new, |(_, value)| value.clone())
    };
    let state = match run.state {
        RunState::Unfinished => "unfinished",
        RunState::Finished => "finished",
        RunState::Diverged => "diverged",
    };
    let at_end = |value: Option<f64>| {
        let value = value.filter(|value| run.has_ended() && value.is_finite());
        value.map_or_else(String::new, |value| value.to_string())
    };
    let mut cells = vec![arm.plan_name.clone(), run.seed.to_string()];
    cells.extend(keys.iter().map(of_grid));
    cells.extend([
        state.to_owned(),
        run.steps_taken.to_string(),
        at_end(run.final_metric),
        at_end(run.best_metric()),
        at_end(run.evaluations.last().map(|last| last.loss)),
        at_end(run.steps.last().map(|last| last.distance)),
        at_end(run.train_seconds),
        run.failed.map_or_else(String::new, |failed| failed.to_string()),
    ]);
    cells
}
