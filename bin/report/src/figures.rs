//! The figures of a study. With a grid, a figure has a panel for each of its points; an arm has the same colour and
//! marker in all of them.

use std::collections::BTreeMap;

use crate::document::Figure;
use crate::plot::{self, Axis, Canvas, Drawn, LINE, Panel, Pen, legend_height};
use crate::run::{Metric, Run, RunState};
use crate::statistics::{expected_best, mean, quantile};
use crate::study::{Arm, Study, describe, distinct};

/// The quantiles between which a band lies.
const BAND: [f64; 2] = [0.1, 0.9];

/// The number of intervals of steps over which a curve is averaged, so that the noise of single batches does not hide it.
const INTERVALS: u64 = 50;

/// The height of the panels of curves.
const HEIGHT: u32 = 400;

/// The grid's key that has a figure of its own.
const LEARNING_RATE: &str = "learning-rate";

/// All figures for which there are data.
pub(crate) fn figures(study: &Study) -> Drawn<Vec<Figure>> {
    let Some(metric) = study.metric() else { return Ok(Vec::new()) };
    let name = metric.name();
    let steps = |value: fn(&crate::run::Step) -> f64| {
        move |run: &Run| run.steps.iter().map(|step| (step.step, value(step))).collect()
    };
    let evaluations =
        move |run: &Run| run.evaluations.iter().map(|at| (at.step, at.metric(metric))).collect();
    let band = "Median of the ended runs, and the band from their 10 % to their 90 % quantile.";
    let averaged = format!("{band} Each run is averaged over intervals of steps.");
    let curve =
        |name, title: &str, caption: &str, y_title: &str, log, series: &dyn Fn(&Run) -> Series| {
            let facets = facets(study, |arms| curves(arms, series, true));
            let axes = Axes { x_title: "step", y_title, log };
            lines_figure(study, name, title, caption, axes, facets, None)
        };
    let validation = lines_figure(
        study,
        "validation-metric",
        &format!("Validation {name}"),
        band,
        Axes { x_title: "step", y_title: name, log: false },
        facets(study, |arms| curves(arms, &evaluations, false)),
        study.majority(),
    )?;
    let figures = [
        final_metrics(study, metric)?,
        learning_rates(study, metric)?,
        best_of_k(study, metric)?,
        curve(
            "training-loss",
            "Training loss",
            &averaged,
            "loss",
            false,
            &steps(|step| step.loss),
        )?,
        validation,
        curve(
            "distance",
            "Distance from the pretrained parameters",
            &averaged,
            "‖θ − θ⁰‖₂",
            false,
            &steps(|step| step.distance),
        )?,
        curve(
            "gradient-norm",
            "Gradient norm",
            &format!("{averaged} The norm is that before clipping; its axis is logarithmic."),
            "gradient norm",
            true,
            &steps(|step| step.grad_norm),
        )?,
    ];
    Ok(figures.into_iter().flatten().collect())
}

/// The values of a run over its steps.
type Series = Vec<(u64, f64)>;

/// What a panel of curves shows of an arm.
struct Curve {
    /// The position of the arm in the plan.
    series: usize,
    line: Vec<(f64, f64)>,
    band: Vec<(f64, f64, f64)>,
}

/// A point of the grid and its curves.
struct Facet {
    title: String,
    curves: Vec<Curve>,
}

struct Axes<'a> {
    x_title: &'a str,
    y_title: &'a str,
    log: bool,
}

/// The curves of each point of the grid that has any.
fn facets(study: &Study, curves: impl Fn(&[(usize, &Arm)]) -> Vec<Curve>) -> Vec<Facet> {
    let facet = |point| {
        let arms: Vec<_> = study.arms.iter().filter(|arm| arm.grid == point).collect();
        let arms: Vec<_> =
            arms.into_iter().map(|arm| (study.position(&arm.plan_name), arm)).collect();
        Facet { title: describe(point), curves: curves(&arms) }
    };
    let points = study.grid_points().into_iter();
    points.map(facet).filter(|facet| !facet.curves.is_empty()).collect()
}

/// For each arm the median and the band of its ended runs, over steps.
fn curves(arms: &[(usize, &Arm)], series: &dyn Fn(&Run) -> Series, intervals: bool) -> Vec<Curve> {
    let runs = |arm: &Arm| -> Vec<Series> { arm.ended().map(series).collect() };
    let all: Vec<(usize, Vec<Series>)> =
        arms.iter().map(|(index, arm)| (*index, runs(arm))).collect();
    let last = all.iter().flat_map(|(_, runs)| runs.iter().flatten()).map(|(step, _)| *step).max();
    let width = if intervals { last.unwrap_or(0).div_ceil(INTERVALS).max(1) } else { 1 };
    let curve = |(series, runs): &(usize, Vec<Series>)| {
        let mut intervals: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for run in runs {
            let mut of_run: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
            for (step, value) in run.iter().filter(|(_, value)| value.is_finite()) {
                of_run.entry(step.saturating_sub(1) / width).or_default().push(*value);
            }
            for (interval, values) in of_run {
                intervals.entry(interval).or_default().push(mean(&values));
            }
        }
        let centre = |interval: u64| (interval * width) as f64 + (width + 1) as f64 / 2.0;
        let line = intervals.iter().map(|(at, values)| (centre(*at), quantile(values, 0.5)));
        let band = intervals.iter().map(|(at, values)| {
            (centre(*at), quantile(values, BAND[0]), quantile(values, BAND[1]))
        });
        Curve { series: *series, line: line.collect(), band: band.collect() }
    };
    all.iter().map(curve).filter(|curve| !curve.line.is_empty()).collect()
}

/// A figure of curves, if there are any, with the majority class's value as a line.
fn lines_figure(
    study: &Study,
    name: &'static str,
    title: &str,
    caption: &str,
    axes: Axes,
    facets: Vec<Facet>,
    majority: Option<f64>,
) -> Drawn<Option<Figure>> {
    if facets.is_empty() {
        return Ok(None);
    }
    let names = study.plan_names();
    let header = legend_height(&names);
    let heights: Vec<u32> =
        facets.iter().map(|facet| HEIGHT + title_height(&facet.title)).collect();
    let svg = plot::draw(header + heights.iter().sum::<u32>(), title, |canvas| {
        canvas.legend(&names)?;
        let mut top = header;
        for (facet, height) in facets.iter().zip(&heights) {
            let lines = || facet.curves.iter().flat_map(|curve| &curve.line);
            let bands = || facet.curves.iter().flat_map(|curve| &curve.band);
            let y =
                lines().map(|(_, y)| *y).chain(bands().flat_map(|(_, low, high)| [*low, *high]));
            let y = y.chain(majority);
            let panel = Panel {
                top,
                height: *height,
                title: &facet.title,
                y_title: axes.y_title,
                x_title: axes.x_title,
                x: Axis::linear(lines().map(|(x, _)| *x)),
                y: if axes.log { Axis::log(y) } else { Axis::linear(y) },
                y_ticks: true,
            };
            canvas.panel(&panel, |pen| draw_curves(pen, &facet.curves, majority))?;
            top += height;
        }
        Ok(())
    })?;
    Ok(Some(Figure { name, title: title.to_owned(), caption: caption.to_owned(), svg }))
}

fn draw_curves(pen: &Pen, curves: &[Curve], majority: Option<f64>) -> Drawn {
    if let Some(majority) = majority {
        pen.horizontal(majority, MAJORITY)?;
    }
    for curve in curves.iter().filter(|curve| curve.band.len() > 1) {
        pen.band(&curve.band, curve.series)?;
    }
    curves.iter().try_for_each(|curve| pen.line(&curve.line, curve.series))
}

const MAJORITY: &str = "majority class";

fn title_height(title: &str) -> u32 {
    if title.is_empty() { 0 } else { LINE }
}

/// The expected best of k seeds, over k.
fn best_of_k(study: &Study, metric: Metric) -> Drawn<Option<Figure>> {
    let curve = |(series, arm): &(usize, &Arm)| {
        let best = expected_best(&arm.final_metrics());
        let line: Vec<_> =
            best.iter().enumerate().map(|(k, best)| ((k + 1) as f64, *best)).collect();
        (!line.is_empty()).then_some(Curve { series: *series, line, band: Vec::new() })
    };
    let facets = facets(study, |arms| arms.iter().filter_map(curve).collect());
    let caption = "What to expect of the best of k runs, drawn from the ended runs of an arm with replacement \
                   (Dodge et al. 2019). Towards the number of runs it is an underestimate.";
    let y_title = format!("expected best {}", metric.name());
    let axes = Axes { x_title: "k, runs", y_title: &y_title, log: false };
    lines_figure(study, "expected-best", "Expected best of k seeds", caption, axes, facets, None)
}

/// The distance between the rows of the strips.
const ROW: u32 = 124;

/// The final metric of every run: a strip and a box for each arm.
fn final_metrics(study: &Study, metric: Metric) -> Drawn<Option<Figure>> {
    let points = study.grid_points().into_iter();
    let arms_at =
        |point| study.arms.iter().filter(move |arm| arm.grid == point).collect::<Vec<_>>();
    let facets: Vec<(String, Vec<&Arm>)> =
        points.map(|point| (describe(point), arms_at(point))).collect();
    let height = |(title, arms): &(String, Vec<&Arm>)| {
        title_height(title) + LINE * 3 + ROW * arms.len() as u32
    };
    let values = || study.arms.iter().flat_map(Arm::final_metrics).chain(study.majority());
    if study.arms.iter().all(|arm| arm.final_metrics().is_empty()) {
        return Ok(None);
    }
    let title = format!("Final {} of every run", metric.name());
    let svg = plot::draw(facets.iter().map(height).sum(), &title, |canvas: &Canvas| {
        let mut top = 0;
        for facet in &facets {
            let (title, arms) = facet;
            let panel = Panel {
                top,
                height: height(facet),
                title,
                y_title: "",
                x_title: metric.name(),
                x: Axis::linear(values()),
                y: Axis::linear([0.0, 1.0].into_iter()),
                y_ticks: false,
            };
            canvas.panel(&panel, |pen| {
                if let Some(majority) = study.majority() {
                    pen.vertical(majority, MAJORITY)?;
                }
                let first = top + title_height(title) + LINE + 10;
                let rows = arms.iter().zip((first..).step_by(ROW as usize));
                rows.into_iter().try_for_each(|(arm, row)| strip(pen, study, arm, row as i32))
            })?;
            top += height(facet);
        }
        Ok(())
    })?;
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

/// The row of an arm: its name, and below it the box and the dots, which evade one another.
fn strip(pen: &Pen, study: &Study, arm: &Arm, top: i32) -> Drawn {
    let series = study.position(&arm.plan_name);
    let values = arm.final_metrics();
    let name = match values.is_empty() {
        true => format!("{} (no run has ended)", arm.plan_name),
        false => arm.plan_name.clone(),
    };
    pen.text(&name, (20, top + LINE as i32 / 2))?;
    if values.is_empty() {
        return Ok(());
    }
    let centre = top + LINE as i32 + 36;
    pen.horizontal_box(centre, [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| quantile(&values, q)), series)?;
    let mut runs: Vec<(i32, &Run)> =
        arm.ended().filter_map(|run| Some((pen.place((run.final_metric?, 0.0)).0, run))).collect();
    runs.sort_by_key(|(x, run)| (*x, run.seed));
    // The last x of each lane; a dot takes the first lane that has room.
    let mut lanes = [i32::MIN / 2; 5];
    for (x, run) in runs {
        let free = lanes.iter().position(|last| x - last > 17);
        let lane = free.unwrap_or(run.seed as usize % lanes.len());
        lanes[lane] = x;
        let place = (x, centre + [0, -16, 16, -32, 32][lane]);
        match run {
            Run { state: RunState::Diverged, .. } => pen.cross(place, series)?,
            Run { failed, .. } => pen.dot(place, series, *failed != Some(true))?,
        }
    }
    Ok(())
}

/// The final metric against the learning rate, if the grid varies it; the other keys of the grid make the panels.
fn learning_rates(study: &Study, metric: Metric) -> Drawn<Option<Figure>> {
    let mut rates = distinct(study.arms.iter().map(|arm| arm.learning_rate));
    rates.retain(|rate| *rate > 0.0);
    rates.sort_by(f64::total_cmp);
    if !study.grid_keys().contains(&LEARNING_RATE) || rates.len() < 2 {
        return Ok(None);
    }
    let rest = |arm: &Arm| -> Vec<(String, String)> {
        arm.grid.iter().filter(|(key, _)| key != LEARNING_RATE).cloned().collect()
    };
    let facets = distinct(study.arms.iter().map(rest));
    let names = study.plan_names();
    let header = legend_height(&names);
    let heights: Vec<u32> =
        facets.iter().map(|rest| HEIGHT + 60 + title_height(&describe(rest))).collect();
    let title = format!("Final {} against the learning rate", metric.name());
    let svg = plot::draw(header + heights.iter().sum::<u32>(), &title, |canvas| {
        canvas.legend(&names)?;
        let mut top = header;
        for (facet, height) in facets.iter().zip(&heights) {
            let arms: Vec<&Arm> = study.arms.iter().filter(|arm| rest(arm) == *facet).collect();
            let values = arms.iter().flat_map(|arm| arm.final_metrics());
            let panel = Panel {
                top,
                height: *height,
                title: &describe(facet),
                y_title: metric.name(),
                x_title: "learning rate",
                x: Axis::log_at(&rates),
                y: Axis::linear(values.chain(study.majority())),
                y_ticks: true,
            };
            canvas.panel(&panel, |pen| {
                if let Some(majority) = study.majority() {
                    pen.horizontal(majority, MAJORITY)?;
                }
                names.iter().enumerate().try_for_each(|(series, name)| {
                    let arms = arms.iter().filter(|arm| arm.plan_name == *name);
                    rate_line(pen, arms.copied().collect(), series, names.len())
                })
            })?;
            top += height;
        }
        Ok(())
    })?;
    let caption = "The line joins the means of an arm's ended runs; a dot is a run, a ring a failed or diverged one. \
                   The arms are shifted sideways against one another.";
    Ok(Some(Figure { name: "learning-rate", title, caption: caption.to_owned(), svg }))
}

fn rate_line(pen: &Pen, mut arms: Vec<&Arm>, series: usize, of: usize) -> Drawn {
    arms.sort_by(|one, other| one.learning_rate.total_cmp(&other.learning_rate));
    let shift = (2 * series as i32 + 1 - of as i32) * 12;
    let mut means = Vec::new();
    for arm in arms {
        for run in arm.ended() {
            let Some(value) = run.final_metric else { continue };
            let (x, y) = pen.place((arm.learning_rate, value));
            pen.dot((x + shift, y), series, run.failed != Some(true))?;
        }
        means.push((arm.learning_rate, mean(&arm.final_metrics())));
    }
    means.retain(|(_, mean)| mean.is_finite());
    pen.line(&means, series)
}
