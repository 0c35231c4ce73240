//! The report of single runs, side by side: results, curves and settings.

use std::path::Path;

use metrics::Metric;

use crate::document::{Block, Document, Table};
use crate::error::ReportError;
use crate::figures;
use crate::run::{Evaluation, Run, RunState};
use crate::study::{Arm, Study, distinct};

/// A run to be reported.
#[derive(Clone, Debug)]
pub struct NamedRun {
    /// The name in tables and legends, such as its folder; different for each run.
    pub name: String,
    /// The settings, by key.
    pub settings: Vec<(String, String)>,
    /// What it recorded.
    pub run: Run,
}

/// Writes one page that needs nothing else to `path`, whose folder exists: results, curves and settings of the runs. Runs
/// that have not ended are shown as far as they have come.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write_runs(runs: Vec<NamedRun>, path: &Path) -> Result<(), ReportError> {
    let html = document(runs)?.html();
    files::write(path, html.as_bytes())
        .map_err(|source| ReportError::Io { path: path.to_owned(), source })
}

fn document(runs: Vec<NamedRun>) -> Result<Document, ReportError> {
    let title = match &runs[..] {
        [run] => run.name.clone(),
        runs => format!("{} runs", runs.len()),
    };
    // Every task has an accuracy.
    let metric = match distinct(runs.iter().map(|it| it.run.metric))[..] {
        [Some(metric)] => metric,
        _ => Metric::Accuracy,
    };
    let mut blocks = vec![Block::Heading("Results".into()), results(&runs, metric)];
    let settings = settings(&runs);
    let study = Study { title: title.clone(), arms: runs.into_iter().map(arm).collect() };
    let curves =
        figures::of_runs(&study, metric).map_err(|error| ReportError::Format(error.to_string()))?;
    if !curves.is_empty() {
        blocks.push(Block::Heading("Curves".into()));
        blocks.extend(curves.into_iter().map(Block::Figure));
    }
    blocks.extend([Block::Heading("Settings".into()), settings]);
    Ok(Document { title, blocks })
}

/// A run as an arm of its own, so that it has a colour and a line of its own.
fn arm(NamedRun { name, settings, run }: NamedRun) -> Arm {
    Arm {
        plan_name: name.clone(),
        name,
        grid: Vec::new(),
        settings,
        learning_rate: f64::NAN,
        planned_seeds: vec![run.seed],
        runs: vec![run],
    }
}

fn results(runs: &[NamedRun], metric: Metric) -> Block {
    let header = [
        "run".to_owned(),
        "state".to_owned(),
        "steps".to_owned(),
        format!("last {}", metric.title()),
        format!("best {}", metric.title()),
        "at step".to_owned(),
        "last loss".to_owned(),
        "training seconds".to_owned(),
    ];
    let row = |NamedRun { name, run, .. }: &NamedRun| {
        let value = |evaluation: &Evaluation| evaluation.metric(metric);
        let last = run.evaluations.last();
        // Of equals the first.
        let best = run.evaluations.iter().reduce(
            |best, it| {
                if value(it) > value(best) { it } else { best }
            },
        );
        let state = match (run.state, run.failed) {
            (RunState::Unfinished, _) => "not finished",
            (RunState::Diverged, _) => "diverged",
            (RunState::Finished, Some(true)) => "failed to learn",
            (RunState::Finished, _) => "finished",
        };
        vec![
            name.clone(),
            state.to_owned(),
            run.steps_taken.to_string(),
            number(last.map(value), 4),
            number(best.map(value), 4),
            best.map_or_else(|| "–".to_owned(), |best| best.step.to_string()),
            number(last.map(|last| last.loss), 4),
            number(run.train_seconds, 1),
        ]
    };
    let rows = runs.iter().map(row).collect();
    Block::Table(Table { header: header.to_vec(), rows, text_columns: 2 })
}

fn number(value: Option<f64>, decimals: usize) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{value:.decimals$}"),
        _ => "–".to_owned(),
    }
}

/// A row for each key that a run has, a column for each run.
fn settings(runs: &[NamedRun]) -> Block {
    let keys = distinct(runs.iter().flat_map(|run| &run.settings).map(|(key, _)| key));
    let value = |run: &NamedRun, key: &String| {
        let found = run.settings.iter().find(|(other, _)| other == key);
        found.map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
    };
    let names = runs.iter().map(|run| run.name.clone());
    let header: Vec<String> = std::iter::once("setting".to_owned()).chain(names).collect();
    let row = |key: &String| {
        std::iter::once(key.clone()).chain(runs.iter().map(|run| value(run, key))).collect()
    };
    let text_columns = header.len();
    Block::Table(Table { rows: keys.into_iter().map(row).collect(), header, text_columns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Step;

    fn run(name: &str, state: RunState, epochs: &str) -> NamedRun {
        let step = |step| Step { step, loss: 1.0 / step as f64, grad_norm: 1.0, distance: 0.1 };
        let evaluation = |step, accuracy| Evaluation {
            step,
            loss: 0.625,
            accuracy,
            f1: f64::NAN,
            matthews_correlation: f64::NAN,
        };
        let run = Run {
            seed: 1,
            state,
            metric: (state == RunState::Finished).then_some(Metric::Accuracy),
            majority: None,
            final_metric: None,
            failed: Some(false),
            steps_taken: 20,
            train_seconds: None,
            steps: (1..=20).map(step).collect(),
            evaluations: vec![evaluation(10, 0.875), evaluation(20, 0.75)],
        };
        NamedRun { name: name.into(), settings: vec![("epochs".into(), epochs.into())], run }
    }

    #[test]
    fn a_page_has_results_curves_and_settings_of_finished_and_unfinished_runs() {
        let mut other = run("<b>", RunState::Unfinished, "5");
        other.settings.push(("keep".into(), "best".into()));
        let runs = vec![run("a", RunState::Finished, "3"), other];
        let page = document(runs).expect("a document").html();
        for part in [
            "<title>2 runs</title>",
            "<td class=\"text\">a</td><td class=\"text\">finished</td><td>20</td><td>0.7500</td><td>0.8750</td><td>10</td>\
             <td>0.6250</td><td>–</td>",
            "<td class=\"text\">&lt;b&gt;</td><td class=\"text\">not finished</td>",
            "<h3>Training loss</h3>",
            "<h3>Validation accuracy</h3>",
            "<td class=\"text\">epochs</td><td class=\"text\">3</td><td class=\"text\">5</td>",
            "<td class=\"text\">keep</td><td class=\"text\">–</td><td class=\"text\">best</td>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("Median of the ended runs") && !page.contains("<script"), "{page}");
        // A line and markers for each of the runs: the unfinished one is drawn as well.
        let figure = page.split("<h3>Training loss</h3>").nth(1).expect("a figure");
        let figure = figure.split("</figure>").next().expect("its end");
        for colour in ["stroke=\"#0072B2\"", "stroke=\"#D55E00\""] {
            assert!(figure.matches(colour).count() >= 2, "{colour} in {figure}");
        }
    }

    #[test]
    fn one_run_is_the_title() {
        let page = document(vec![run("runs/0001", RunState::Finished, "3")]).expect("a document");
        assert_eq!(page.title, "runs/0001");
    }
}
