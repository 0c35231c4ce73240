//! The final metric of every run: a strip and a box for each arm, as in figure 1 of Mosbach et al. (2021, arXiv
//! 2006.04884).

use metrics::Metric;

use crate::document::Figure;
use crate::figures::MAJORITY;
use crate::plot::{self, Axis, Drawn, LINE, Panel, Pen};
use crate::run::{Run, RunState};
use crate::statistics::quantile;
use crate::study::{Arm, Study, describe};

/// The height of an arm's row: a line for its name, and below it the box and the dots.
const ROW: u32 = 124;

/// The centre of the box below the top of its row.
const CENTRE: f64 = 74.0;

/// The vertical distance between dots that would overlap.
const LANE: i32 = 16;

/// The figure, if a run has ended.
pub(super) fn figure(study: &Study, metric: Metric) -> Drawn<Option<Figure>> {
    let values: Vec<f64> = study.arms.iter().flat_map(Arm::final_metrics).collect();
    if values.is_empty() {
        return Ok(None);
    }
    let x = Axis::linear(values.into_iter().chain(study.majority()));
    let panel = |point| {
        let arms: Vec<&Arm> = study.arms.iter().filter(|arm| arm.grid == point).collect();
        let height = LINE + ROW * arms.len() as u32;
        Panel {
            title: describe(point),
            x_title: metric.title().to_owned(),
            y_title: String::new(),
            x: x.clone(),
            y: Axis::rows(height),
            height,
            content: Box::new(move |pen| rows(pen, study, &arms)),
        }
    };
    let panels: Vec<Panel> = study.grid_points().into_iter().map(panel).collect();
    let title = format!("Final {} of every run", metric.title());
    let svg = plot::draw(&title, &[], &panels)?;
    let caption = "A dot is a run, a ring a failed one and a cross a diverged one. A box spans the middle half of an \
                   arm's runs, the thick line in it is the median, the whiskers reach to the extremes.";
    let caption = match study.majority() {
        Some(_) => {
            format!("{caption} The dashed line is what always predicting the majority class gives.")
        }
        None => caption.to_owned(),
    };
    Ok(Some(Figure { name: "final-metric", title, caption, svg }))
}

fn rows(pen: &Pen, study: &Study, arms: &[&Arm]) -> Drawn {
    if let Some(majority) = study.majority() {
        pen.label(MAJORITY, (majority, f64::from(LINE) / 2.0))?;
    }
    for (arm, top) in arms.iter().zip((LINE..).step_by(ROW as usize)) {
        let top = f64::from(top);
        if let Some(majority) = study.majority() {
            // Not through the names.
            pen.vertical(majority, top + f64::from(LINE), top + f64::from(ROW))?;
        }
        row(pen, study, arm, top)?;
    }
    Ok(())
}

/// The row of an arm.
fn row(pen: &Pen, study: &Study, arm: &Arm, top: f64) -> Drawn {
    let values = arm.final_metrics();
    let name = match values.is_empty() {
        true => format!("{} (no run has ended)", arm.plan_name),
        false => arm.plan_name.clone(),
    };
    pen.row_name(&name, top + f64::from(LINE) / 2.0)?;
    if values.is_empty() {
        return Ok(());
    }
    let (series, centre) = (study.position(&arm.plan_name), top + CENTRE);
    let quantiles = [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| quantile(&values, q));
    pen.horizontal_box(quantiles, centre, series)?;
    let placed = arm.ended().filter_map(|run| Some((pen.place((run.final_metric?, centre)), run)));
    let mut dots: Vec<((i32, i32), &Run)> = placed.collect();
    dots.sort_by_key(|((x, _), run)| (*x, run.seed));
    // The last x of each lane; a dot takes the first lane that has room.
    let mut lanes = [i32::MIN / 2; 5];
    for ((x, y), run) in dots {
        let free = lanes.iter().position(|last| x - last > LANE);
        let lane = free.unwrap_or(run.seed as usize % lanes.len());
        lanes[lane] = x;
        let place = (x, y + LANE * [0, -1, 1, -2, 2][lane]);
        match run.state {
            RunState::Diverged => pen.cross(place, series)?,
            _ => pen.dot(place, series, run.failed != Some(true))?,
        }
    }
    Ok(())
}
