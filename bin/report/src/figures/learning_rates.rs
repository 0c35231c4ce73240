//! The final metric against the learning rate, for grids that vary it.

use metrics::Metric;

use crate::document::Figure;
use crate::figures::MAJORITY;
use crate::plot::{self, Axis, Drawn, Panel, Pen};
use crate::run::Run;
use crate::statistics::mean;
use crate::study::{Arm, Study, describe, distinct};

/// The key of the grid.
const LEARNING_RATE: &str = "learning-rate";

/// The height of a panel.
const HEIGHT: u32 = 340;

/// The sideways distance between the runs of different arms.
const SHIFT: i32 = 24;

/// The figure, if the grid has at least two learning rates and a run has ended. The other keys of the grid make the
/// panels.
pub(super) fn figure(study: &Study, metric: Metric) -> Drawn<Option<Figure>> {
    let mut rates = distinct(study.arms.iter().map(|arm| arm.learning_rate));
    rates.retain(|rate| *rate > 0.0);
    rates.sort_by(f64::total_cmp);
    let values: Vec<f64> = study.arms.iter().flat_map(Arm::final_metrics).collect();
    let varies = study.grid_keys().contains(&LEARNING_RATE) && rates.len() > 1;
    if !varies || values.is_empty() {
        return Ok(None);
    }
    let rest = |arm: &Arm| -> Vec<(String, String)> {
        arm.grid.iter().filter(|(key, _)| key != LEARNING_RATE).cloned().collect()
    };
    let y = Axis::linear(values.into_iter().chain(study.majority()));
    let panel = |point: Vec<(String, String)>| {
        let arms: Vec<&Arm> = study.arms.iter().filter(|arm| rest(arm) == point).collect();
        Panel {
            title: describe(&point),
            x_title: "learning rate".to_owned(),
            y_title: metric.title().to_owned(),
            x: Axis::log_at(&rates),
            y: y.clone(),
            height: HEIGHT,
            content: Box::new(move |pen| lines(pen, study, &arms)),
        }
    };
    let panels: Vec<Panel> = distinct(study.arms.iter().map(rest)).into_iter().map(panel).collect();
    let title = format!("Final {} against the learning rate", metric.title());
    let svg = plot::draw(&title, &study.plan_names(), &panels)?;
    let caption = "The line joins the means of an arm's ended runs; a dot is a run, a ring a failed or diverged one. \
                   The arms are shifted sideways against one another.";
    Ok(Some(Figure { name: "learning-rate", title, caption: caption.to_owned(), svg }))
}

fn lines(pen: &Pen, study: &Study, arms: &[&Arm]) -> Drawn {
    if let Some(majority) = study.majority() {
        pen.horizontal(majority, MAJORITY)?;
    }
    let names = study.plan_names();
    for (series, name) in names.iter().enumerate() {
        let mut arms: Vec<&&Arm> = arms.iter().filter(|arm| arm.plan_name == *name).collect();
        arms.retain(|arm| !arm.final_metrics().is_empty());
        arms.sort_by(|one, other| one.learning_rate.total_cmp(&other.learning_rate));
        let shift = (2 * series as i32 + 1 - names.len() as i32) * SHIFT / 2;
        for arm in &arms {
            let mut runs: Vec<&Run> = arm.ended().collect();
            runs.sort_by_key(|run| run.seed);
            for run in runs {
                let Some(value) = run.final_metric else { continue };
                let (x, y) = pen.place((arm.learning_rate, value));
                pen.dot((x + shift, y), series, run.failed != Some(true))?;
            }
        }
        let means: Vec<(f64, f64)> =
            arms.iter().map(|arm| (arm.learning_rate, mean(&arm.final_metrics()))).collect();
        pen.line(&means, series)?;
    }
    Ok(())
}
