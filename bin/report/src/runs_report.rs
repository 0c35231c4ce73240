//! The report of single runs, side by side: results, curves, predictions and settings.

use std::path::Path;

use metrics::Metric;

use crate::document::{Block, Document, Table};
use crate::error::ReportError;
use crate::figures;
use crate::predictions::{LabelledPrediction, Predictions};
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
    /// What its model predicts for the validation examples, if it has saved that.
    pub predictions: Option<Predictions>,
}

/// The number of predictions that are shown.
const WORST: usize = 10;

/// The number of labels up to which a confusion matrix is shown.
const MOST_LABELS: usize = 200;

/// The number of characters that are shown of a text.
const LONGEST: usize = 300;

/// Writes one self-contained page to `path`, whose folder exists: results, curves, predictions and settings of the
/// runs. Runs that have not ended are shown as far as they have come.
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
    let (predictions, settings) = (predictions(&runs), settings(&runs));
    let study = Study { title: title.clone(), arms: runs.into_iter().map(arm).collect() };
    let curves =
        figures::of_runs(&study, metric).map_err(|error| ReportError::Format(error.to_string()))?;
    if !curves.is_empty() {
        blocks.push(Block::Heading("Curves".into()));
        blocks.extend(curves.into_iter().map(Block::Figure));
    }
    blocks.extend(predictions);
    blocks.extend([Block::Heading("Settings".into()), settings]);
    Ok(Document { title, blocks })
}

/// A run as an arm of its own, so that it has a colour and a line of its own.
fn arm(NamedRun { name, settings, run, .. }: NamedRun) -> Arm {
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
    Block::Table(Table { header: header.to_vec(), rows, text_columns: 2, wrapped: false })
}

fn number(value: Option<f64>, decimals: usize) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{value:.decimals$}"),
        _ => "–".to_owned(),
    }
}

/// The confusion matrix and the worst predictions of each run.
fn predictions(runs: &[NamedRun]) -> Vec<Block> {
    let of_run = |NamedRun { name, predictions, .. }: &NamedRun| {
        let heading = match runs {
            [_] => "Predictions".to_owned(),
            _ => format!("Predictions of {name}"),
        };
        let mut blocks = vec![Block::Heading(heading)];
        let Some(predictions) = predictions else {
            blocks.push(Block::Paragraph(
                "This run has no predictions.jsonl. It is written with the model, if its weights were evaluated; runs of a \
                 study keep neither by default, and earlier versions of l2sp did not write it."
                    .into(),
            ));
            return blocks;
        };
        let worst = predictions.worst(WORST);
        let examples = predictions.lines.len();
        if predictions.labels.len() <= MOST_LABELS {
            blocks.push(Block::Paragraph(format!(
                "Predictions of the saved model for the {examples} validation examples: one row per true label, one column \
                 per predicted label."
            )));
            blocks.push(confusion_matrix(predictions));
        }
        blocks.extend([
            Block::Paragraph(format!(
                "The {} with the highest loss, −log of the probability of the true label:",
                match worst.len() {
                    1 => "prediction".to_owned(),
                    count => format!("{count} predictions"),
                }
            )),
            worst_table(&worst),
        ]);
        blocks
    };
    runs.iter().flat_map(of_run).collect()
}

fn confusion_matrix(predictions: &Predictions) -> Block {
    let (labels, matrix) = (&predictions.labels, predictions.confusion());
    let predicted = labels.iter().map(|label| format!("predicted {label}"));
    let row = |(label, counts): (&String, &[u64])| {
        std::iter::once(label.clone()).chain(counts.iter().map(u64::to_string)).collect()
    };
    Block::Table(Table {
        header: std::iter::once("true label".to_owned()).chain(predicted).collect(),
        rows: labels.iter().zip(matrix.rows()).map(row).collect(),
        text_columns: 1,
        wrapped: false,
    })
}

fn worst_table(worst: &[&LabelledPrediction]) -> Block {
    let is_pair = worst.iter().any(|line| line.text_pair.is_some());
    let texts: &[&str] = if is_pair { &["first text", "second text"] } else { &["text"] };
    let others = ["true label", "predicted label", "probability of the true label"];
    let row = |line: &&LabelledPrediction| {
        let mut row = vec![shortened(&line.text)];
        if is_pair {
            row.push(shortened(line.text_pair.as_deref().unwrap_or_default()));
        }
        row.extend([line.true_label.clone(), line.prediction.label.clone()]);
        row.push(match line.probability_of_truth() {
            tiny if tiny > 0.0 && tiny < 1e-4 => format!("{tiny:.1e}"),
            probability => number(Some(probability), 4),
        });
        row
    };
    Block::Table(Table {
        header: texts.iter().chain(&others).map(|it| (*it).to_owned()).collect(),
        rows: worst.iter().map(row).collect(),
        text_columns: texts.len() + 2,
        wrapped: true,
    })
}

/// The beginning of a text that is too long to be shown.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
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
    let rows = keys.into_iter().map(row).collect();
    Block::Table(Table { header, rows, text_columns, wrapped: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictions::Prediction;
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
        let settings = vec![("epochs".into(), epochs.into())];
        NamedRun { name: name.into(), settings, run, predictions: None }
    }

    fn prediction(text: &str, text_pair: Option<&str>, no: f64) -> LabelledPrediction {
        let label = if no > 0.5 { "no" } else { "yes" };
        LabelledPrediction {
            prediction: Prediction {
                idx: 0,
                label: label.into(),
                probabilities: vec![("yes".into(), 1.0 - no), ("no".into(), no)],
            },
            text: text.into(),
            text_pair: text_pair.map(Into::into),
            true_label: "yes".into(),
        }
    }

    fn predictions(lines: Vec<LabelledPrediction>) -> Predictions {
        Predictions { labels: vec!["yes".into(), "no".into()], lines }
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
    fn a_run_has_its_confusion_matrix_and_its_worst_predictions() {
        let long = "ä".repeat(400);
        let mut lines = vec![
            prediction("A right one.", None, 0.25),
            prediction("A <b>wrong</b> one.", Some(&long), 0.75),
            prediction("A hopeless one.", None, 0.999_99),
        ];
        lines.extend((0..9).map(|index| prediction(&format!("Fine {index}."), None, 0.0)));
        let mut run = run("a", RunState::Finished, "3");
        run.predictions = Some(predictions(lines));
        let page = document(vec![run.clone()]).expect("a document").html();
        let shortened = "ä".repeat(300);
        for part in [
            "<h2>Predictions</h2>",
            "for the 12 validation examples",
            "<th class=\"text\">true label</th><th>predicted yes</th><th>predicted no</th>",
            "<td class=\"text\">yes</td><td>10</td><td>2</td>",
            "<td class=\"text\">no</td><td>0</td><td>0</td>",
            "The 10 predictions with the highest loss",
            "<td class=\"text\">A hopeless one.</td><td class=\"text\"></td><td class=\"text\">yes</td>\
             <td class=\"text\">no</td><td>1.0e-5</td>",
            &format!(
                "<td class=\"text\">A &lt;b&gt;wrong&lt;/b&gt; one.</td><td class=\"text\">{shortened}…</td>\
                 <td class=\"text\">yes</td><td class=\"text\">no</td><td>0.2500</td>"
            ),
            "<td class=\"text\">Fine 6.</td>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let position = |text: &str| page.find(text).expect(text);
        assert!(position("A hopeless") < position("A &lt;b&gt;wrong"));
        assert!(position("A &lt;b&gt;wrong") < position("A right"));
        assert!(!page.contains("Fine 7.") && !page.contains("has no predictions.jsonl"), "{page}");

        // Without a second text there is no column for it.
        let alone = NamedRun {
            predictions: Some(predictions(vec![prediction("Alone.", None, 0.0)])),
            ..run.clone()
        };
        let page = document(vec![alone, NamedRun { name: "b".into(), predictions: None, ..run }]);
        let page = page.expect("a document").html();
        for part in [
            "<h2>Predictions of a</h2>",
            "The prediction with the highest loss",
            "<td class=\"text\">Alone.</td><td class=\"text\">yes</td><td class=\"text\">yes</td><td>1.0000</td>",
            "<h2>Predictions of b</h2>\n<p>This run has no predictions.jsonl.",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn a_confusion_matrix_that_nobody_can_read_is_left_out() {
        let mut run = run("a", RunState::Finished, "3");
        let mut many = predictions(vec![prediction("One.", None, 0.25)]);
        many.labels.extend((0..100_000).map(|label| label.to_string()));
        run.predictions = Some(many);
        let page = document(vec![run]).expect("a document").html();
        assert!(!page.contains("predicted yes") && page.contains("One."), "{page}");
    }

    #[test]
    fn one_run_is_the_title() {
        let page = document(vec![run("runs/0001", RunState::Finished, "3")]).expect("a document");
        assert_eq!(page.title, "runs/0001");
    }
}
