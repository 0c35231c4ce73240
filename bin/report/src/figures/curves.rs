//! Lines: the expected best of k seeds, and what happened over the steps of the runs.

use std::collections::BTreeMap;

use metrics::Metric;

use crate::document::Figure;
use crate::figures::MAJORITY;
use crate::plot::{self, Axis, Drawn, Panel, Pen};
use crate::run::{Run, Step};
use crate::statistics::{expected_best, mean, quantile};
use crate::study::{Arm, Study, describe};

/// The quantiles between which a band lies, as [`BAND_CAPTION`] says.
const BAND: [f64; 2] = [0.1, 0.9];

const BAND_CAPTION: &str =
    "Median of the ended runs, with a band from the 10th to the 90th percentile.";

/// The number of intervals of steps over which a curve is averaged, so that the noise of single batches does not hide it.
const INTERVALS: u64 = 50;

/// The height of a panel.
const HEIGHT: u32 = 290;

/// A line of an arm, with or without a band.
struct Curve {
    /// The position of the arm in the plan.
    series: usize,
    line: Vec<(f64, f64)>,
    band: Vec<(f64, f64, f64)>,
}

/// What the curves of a figure have in common.
struct Frame<'a> {
    name: &'static str,
    title: &'a str,
    caption: &'a str,
    x_title: &'a str,
    y_title: &'a str,
    /// Whether the y axis is logarithmic.
    log: bool,
    /// The metric of the majority class, where the y axis is that metric.
    majority: Option<f64>,
}

/// The expected best of k seeds, over k.
pub(super) fn expected_best_of_k(study: &Study, metric: Metric) -> Drawn<Option<Figure>> {
    let frame = Frame {
        name: "expected-best",
        title: "Expected best of k seeds",
        caption: "What to expect of the best of k runs, drawn from the ended runs of an arm with replacement (Dodge \
                  et al. 2019). For a k close to the number of runs it is an underestimate.",
        x_title: "k",
        y_title: &format!("expected best {}", metric.title()),
        log: false,
        majority: None,
    };
    figure(study, &frame, |arms| arms.iter().map(|arm| best_of_k(study, arm)).collect())
}

fn best_of_k(study: &Study, arm: &Arm) -> Curve {
    let best = expected_best(&arm.final_metrics()).into_iter();
    let line = best.zip(1_u32..).map(|(best, k)| (f64::from(k), best));
    Curve { series: study.position(&arm.plan_name), line: line.collect(), band: Vec::new() }
}

/// Which runs of an arm curves show.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shown {
    /// Those that have ended, together.
    Ended,
    /// The only one, whether it has ended or not.
    Single,
}

/// Training loss, validation metric, distance from the source and gradient norm, over steps.
pub(super) fn over_steps(study: &Study, metric: Metric, shown: Shown) -> Drawn<Vec<Figure>> {
    let band = if shown == Shown::Ended { BAND_CAPTION } else { "" };
    let averaged = format!("{band} Each run is averaged over intervals of steps.");
    let averaged = averaged.trim_start();
    let loss = Frame {
        name: "training-loss",
        title: "Training loss",
        caption: averaged,
        x_title: "step",
        y_title: "loss",
        log: false,
        majority: None,
    };
    let validation = Frame {
        name: "validation-metric",
        title: &format!("Validation {}", metric.title()),
        caption: band,
        y_title: metric.title(),
        // Of the studied metric: runs on different tasks are compared by their accuracy.
        majority: study.majority().filter(|_| study.metric() == Some(metric)),
        ..loss
    };
    let distance = Frame {
        name: "distance",
        title: "Distance from the pretrained parameters",
        y_title: "‖θ − θ⁰‖₂",
        ..loss
    };
    let gradient_norm = Frame {
        name: "gradient-norm",
        title: "Gradient norm",
        caption: &format!("{averaged} The norm is that before clipping; its axis is logarithmic."),
        y_title: "gradient norm",
        log: true,
        ..loss
    };
    let of_steps = |frame: &Frame, value: fn(&Step) -> f64| {
        let values = |run: &Run| run.steps.iter().map(|step| (step.step, value(step))).collect();
        figure(study, frame, |arms| curves(study, arms, shown, values, INTERVALS))
    };
    let evaluations = |run: &Run| -> Vec<(u64, f64)> {
        run.evaluations.iter().map(|at| (at.step, at.metric(metric))).collect()
    };
    let figures = [
        of_steps(&loss, |step| step.loss)?,
        // Evaluations are few: each step that has them is an interval of its own.
        figure(study, &validation, |arms| curves(study, arms, shown, evaluations, u64::MAX))?,
        of_steps(&distance, |step| step.distance)?,
        of_steps(&gradient_norm, |step| step.grad_norm)?,
    ];
    Ok(figures.into_iter().flatten().collect())
}

/// For each arm the median and the band of its runs, over at most this number of intervals of steps.
fn curves(
    study: &Study,
    arms: &[&Arm],
    shown: Shown,
    values: impl Fn(&Run) -> Vec<(u64, f64)>,
    intervals: u64,
) -> Vec<Curve> {
    let is_shown = |run: &&Run| shown == Shown::Single || run.has_ended();
    let of_arm = |arm: &&Arm| arm.runs.iter().filter(is_shown).map(&values).collect();
    let runs: Vec<Vec<Vec<(u64, f64)>>> = arms.iter().map(of_arm).collect();
    let last = runs.iter().flatten().flatten().map(|(step, _)| *step).max();
    let width = last.unwrap_or(0).div_ceil(intervals).max(1);
    let centre = |interval: u64| (interval * width) as f64 + (width + 1) as f64 / 2.0;
    let curve = |(arm, runs): (&&Arm, Vec<Vec<(u64, f64)>>)| {
        let mut all: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for run in runs {
            let mut of_run: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
            for (step, value) in run.into_iter().filter(|(_, value)| value.is_finite()) {
                of_run.entry(step.saturating_sub(1) / width).or_default().push(value);
            }
            for (interval, values) in of_run {
                all.entry(interval).or_default().push(mean(&values));
            }
        }
        let line = all.iter().map(|(at, values)| (centre(*at), quantile(values, 0.5)));
        let band = all.iter().map(|(at, values)| {
            (centre(*at), quantile(values, BAND[0]), quantile(values, BAND[1]))
        });
        let series = study.position(&arm.plan_name);
        Curve { series, line: line.collect(), band: band.collect() }
    };
    arms.iter().zip(runs).map(curve).collect()
}

/// A figure with a panel for each point of the grid, if there are any curves. The panels have the same axes.
fn figure(
    study: &Study,
    frame: &Frame,
    curves: impl Fn(&[&Arm]) -> Vec<Curve>,
) -> Drawn<Option<Figure>> {
    let facet = |point| {
        let arms: Vec<&Arm> = study.arms.iter().filter(|arm| arm.grid == point).collect();
        let mut curves = curves(&arms);
        curves.retain(|curve| !curve.line.is_empty());
        (describe(point), curves)
    };
    let mut facets: Vec<(String, Vec<Curve>)> =
        study.grid_points().into_iter().map(facet).collect();
    facets.retain(|(_, curves)| !curves.is_empty());
    if facets.is_empty() {
        return Ok(None);
    }
    let all = || facets.iter().flat_map(|(_, curves)| curves);
    let y = || {
        let lines = all().flat_map(|curve| &curve.line).map(|(_, y)| *y);
        let bands = all().flat_map(|curve| &curve.band).flat_map(|(_, low, high)| [*low, *high]);
        lines.chain(bands).chain(frame.majority)
    };
    let x = Axis::counts(all().flat_map(|curve| &curve.line).map(|(x, _)| *x));
    let y = if frame.log { Axis::log(y()) } else { Axis::linear(y()) };
    let panels = facets.iter().map(|(title, curves)| Panel {
        title: title.clone(),
        x_title: frame.x_title.to_owned(),
        y_title: frame.y_title.to_owned(),
        x: x.clone(),
        y: y.clone(),
        height: HEIGHT,
        content: Box::new(|pen| draw(pen, curves, frame.majority)),
    });
    let panels: Vec<Panel> = panels.collect();
    let svg = plot::draw(frame.title, &study.plan_names(), &panels)?;
    let (title, caption) = (frame.title.to_owned(), frame.caption.to_owned());
    Ok(Some(Figure { name: frame.name, title, caption, svg }))
}

fn draw(pen: &Pen, curves: &[Curve], majority: Option<f64>) -> Drawn {
    if let Some(majority) = majority {
        pen.horizontal(majority, MAJORITY)?;
    }
    // Fainter for many arms, so that overlapping bands stay distinguishable.
    let opacity = (0.4 / curves.len() as f64).min(0.16);
    for curve in curves.iter().filter(|curve| curve.band.len() > 1) {
        pen.band(&curve.band, curve.series, opacity)?;
    }
    curves.iter().try_for_each(|curve| pen.line(&curve.line, curve.series))
}
