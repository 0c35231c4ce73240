//! Whole reports, of run folders as the program writes them.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use report::{Arm, ReportError, Run, Study};
use serde_json::{Value, json};

/// A run folder with 60 steps and three evaluations, the last of which is `accuracy`.
fn write_run(folder: &Path, seed: u64, accuracy: f64, pull: f64) {
    fs::create_dir_all(folder).unwrap();
    let mut lines = String::new();
    for step in 1..=60_u64 {
        let noise = ((step * 7 + seed * 13) % 11) as f64 / 50.0;
        let progress = step as f64 / 60.0;
        let record = json!({
            "step": step, "epoch": 1, "loss": 0.7 - 0.3 * progress * accuracy + noise, "learning_rate": 1e-4,
            "grad_norm": 2.0 + 10.0 * noise, "distance": progress * (3.0 + noise) / (1.0 + pull),
        });
        lines += &format!("{record}\n");
        if step % 20 == 0 {
            let accuracy = 0.5 + (accuracy - 0.5) * progress;
            let record = json!({
                "step": step, "epoch": step / 20, "eval_loss": 0.6, "eval_accuracy": accuracy,
            });
            lines += &format!("{record}\n");
        }
    }
    fs::write(folder.join("metrics.jsonl"), lines).unwrap();
    let summary = json!({
        "metric": "eval_accuracy", "majority": 0.527, "eval_accuracy": accuracy, "eval_loss": 0.6, "steps": 60,
        "train_seconds": 12.5, "finished": true, "failed": accuracy <= 0.527,
    });
    fs::write(folder.join("summary.json"), summary.to_string()).unwrap();
}

/// A run that diverged at its first step.
fn write_diverged(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let step =
        r#"{"step":1,"epoch":1,"loss":null,"learning_rate":0.1,"grad_norm":null,"distance":0.0}"#;
    fs::write(folder.join("metrics.jsonl"), format!("{step}\n")).unwrap();
    let summary = json!({
        "eval_accuracy": null, "steps": 1, "train_seconds": 0.5, "finished": false, "failed": null,
        "majority": 0.527, "diverged_at": 1,
    });
    fs::write(folder.join("summary.json"), summary.to_string()).unwrap();
}

/// An arm without a grid, its runs read from `FOLDER/NAME/SEED`.
fn arm(folder: &Path, name: &str, seeds: u64) -> Arm {
    let planned_seeds: Vec<u64> = (1..=seeds).collect();
    let run = |seed: &u64| Run::read(&folder.join(format!("{name}/{seed}")), *seed).unwrap();
    Arm {
        name: name.to_owned(),
        plan_name: name.to_owned(),
        grid: vec![],
        settings: vec![("optimizer".into(), name.to_owned())],
        learning_rate: 3e-4,
        runs: planned_seeds.iter().filter_map(run).collect(),
        planned_seeds,
    }
}

/// The six paired seeds of two optimizers at the edge of stability.
fn edge(folder: &Path, seeds: u64) -> Study {
    let runs = [
        ("adamw", [0.592, 0.538, 0.473, 0.668, 0.527, 0.578]),
        ("pulled-50", [0.607, 0.646, 0.628, 0.664, 0.664, 0.672]),
    ];
    for (name, accuracies) in runs {
        for (seed, accuracy) in (1..).zip(accuracies) {
            write_run(&folder.join(format!("{name}/{seed}")), seed, accuracy, 1.0);
        }
    }
    let arms = runs.map(|(name, _)| arm(folder, name, seeds));
    Study { title: "The edge".into(), arms: arms.into() }
}

/// Two arms over three learning rates, four seeds; the pulled arm is better at high rates.
fn grid(folder: &Path) -> Study {
    let mut arms = Vec::new();
    for (index, rate) in ["0.0001", "0.0003", "0.001"].into_iter().enumerate() {
        for (name, drop) in [("adamw", 0.06), ("pulled", 0.01)] {
            let mut arm = Arm {
                name: format!("{name},learning-rate={rate}"),
                plan_name: name.to_owned(),
                grid: vec![("learning-rate".into(), rate.to_owned())],
                settings: vec![],
                learning_rate: rate.parse().unwrap(),
                planned_seeds: vec![1, 2, 3, 4],
                runs: vec![],
            };
            for seed in 1..=4 {
                let run = folder.join(&arm.name).join(seed.to_string());
                let accuracy =
                    0.66 - drop * index as f64 + seed as f64 * 0.004 * (index + 1) as f64;
                write_run(&run, seed, accuracy, drop);
                arm.runs.extend(Run::read(&run, seed).unwrap());
            }
            arms.push(arm);
        }
    }
    Study { title: "Learning rates".into(), arms }
}

/// The files of a report by name.
fn written(study: &Study) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let page = report::write(study, folder.path()).unwrap();
    assert_eq!(page, folder.path().join("report.html"));
    let entries = |name: &str| fs::read_dir(folder.path().join(name)).into_iter().flatten();
    let paths = entries("").chain(entries("figures")).map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
    let files = paths.filter(|path| path.is_file());
    files.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn json_of(files: &BTreeMap<String, String>) -> Value {
    serde_json::from_str(&files["report.json"]).unwrap()
}

fn rows(files: &BTreeMap<String, String>) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(files["runs.csv"].as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect()
}

#[track_caller]
fn assert_close(value: &Value, expected: f64) {
    let value = value.as_f64().unwrap();
    assert!((value - expected).abs() < 5e-4, "{value}, not {expected}");
}

#[test]
fn the_statistics_of_two_arms() {
    let folder = tempfile::tempdir().unwrap();
    let report = json_of(&written(&edge(folder.path(), 6)));
    assert_eq!((&report["metric"], &report["majority"]), (&json!("eval_accuracy"), &json!(0.527)));
    let adamw = &report["arms"]["adamw"];
    for (key, expected) in [
        ("n", 6.0),
        ("mean", 0.5627),
        ("sd", 0.0665),
        ("median", 0.558),
        ("iqm", 0.5588),
        ("min", 0.473),
        ("max", 0.668),
        ("failed", 2.0),
    ] {
        assert_close(&adamw[key], expected);
    }
    assert_close(&adamw["failed_interval"][0], 0.0968);
    assert_close(&adamw["failed_interval"][1], 0.7000);
    assert_eq!(adamw["settings"], json!({"optimizer": "adamw"}));
    assert_eq!(report["arms"]["pulled-50"]["failed"], 0);

    let [comparison] = &report["comparisons"].as_array().unwrap()[..] else { panic!("one") };
    assert_eq!(
        (&comparison["baseline"], &comparison["arm"]),
        (&json!("adamw"), &json!("pulled-50"))
    );
    assert_eq!(comparison["pairs"], 6);
    assert_close(&comparison["difference"], 0.0842);
    // Only one of the six differences is negative, and it is the smallest: 4 of the 64 sign patterns are as extreme.
    assert_eq!((&comparison["p"], &comparison["p_holm"]), (&json!(0.0625), &json!(0.0625)));
    assert_eq!(comparison["smallest_p"], 0.03125);
    assert_eq!(
        (&comparison["baseline_only_failed"], &comparison["arm_only_failed"]),
        (&json!(2), &json!(0))
    );
    assert_close(&comparison["failed_p"], 0.5);
    assert_close(&comparison["failed_p_fisher"], 0.4545);
}

#[test]
fn a_report_claims_nothing_that_is_not_significant() {
    let folder = tempfile::tempdir().unwrap();
    let study = edge(folder.path(), 6);
    let report = &written(&study)["report.md"];
    for part in [
        "12 runs planned, and all have ended.",
        "| pulled-50 | 6 | 0.647 ± 0.025 |",
        "pulled-50 and adamw: no difference is shown (95% interval +0.035 to +0.130, p = 0.062). The interval excludes 0,",
        "no failure in 6 runs is compatible with a failure rate of up to 39%",
        "![Final accuracy of every run](figures/final-metric.svg)",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert!(!report.contains("NaN"), "{report}");

    // Three pairs cannot give a p below 0.25, whatever the differences are.
    let mut short = study;
    for arm in &mut short.arms {
        arm.runs.truncate(3);
        arm.planned_seeds.truncate(3);
    }
    let report = &written(&short)["report.md"];
    assert!(
        report.contains(
            "With 3 pairs the smallest possible p is 0.250: no difference, however large"
        ),
        "{report}"
    );

    // A difference that is there is named, with its direction.
    let mut clear = edge(folder.path(), 6);
    for (index, run) in clear.arms[1].runs.iter_mut().enumerate() {
        run.final_metric = Some(0.75 + 0.01 * index as f64);
    }
    let report = &written(&clear)["report.md"];
    assert!(
        report.contains(
            "pulled-50 ends with a higher accuracy than adamw, by 0.212 on average over 6 pairs"
        ),
        "{report}"
    );
    assert!(report.contains("p = 0.031)"), "{report}");
}

#[test]
fn the_rows_of_runs_csv() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = edge(folder.path(), 6);
    write_diverged(&folder.path().join("adamw/7"));
    fs::create_dir_all(folder.path().join("adamw/8")).unwrap();
    fs::write(folder.path().join("adamw/8/metrics.jsonl"), "{\"step\":1,\"loss\":0.7}\n{\"st")
        .unwrap();
    study.arms[0] = arm(folder.path(), "adamw", 9);
    let files = written(&study);
    assert_eq!(
        files["runs.csv"].lines().next(),
        Some("arm,seed,state,steps,metric,best,eval_loss,distance,seconds,failed")
    );
    let rows = rows(&files);
    assert_eq!(rows.len(), 14, "a run that has not begun has no row");
    let cells = |row: &BTreeMap<String, String>| {
        let columns =
            ["arm", "seed", "state", "steps", "metric", "best", "eval_loss", "seconds", "failed"];
        columns.map(|column| row[column].clone()).join(" ")
    };
    assert_eq!(cells(&rows[0]), "adamw 1 finished 60 0.592 0.592 0.6 12.5 false");
    assert_eq!(rows[0]["distance"].parse::<f64>().unwrap(), (3.0 + 4.0 / 50.0) / 2.0);
    assert_eq!(cells(&rows[6]), "adamw 7 diverged 1 0.527 0.527  0.5 true");
    assert_eq!(cells(&rows[7]), "adamw 8 unfinished 1     ");

    let report = json_of(&files);
    assert_eq!((&report["planned"], &report["left"]), (&json!(15), &json!(2)));
    let adamw = &report["arms"]["adamw"];
    assert_eq!([&adamw["n"], &adamw["diverged"], &adamw["failed"], &adamw["left"]], [7, 1, 3, 2]);
    assert_eq!(
        report["comparisons"][0]["pairs"], 6,
        "seeds that ended in one arm only are left out"
    );
    let text = &files["report.md"];
    assert!(
        text.contains("13 of 15 planned runs have ended, 1 of them by diverging. 2 are left"),
        "{text}"
    );
}

#[test]
fn a_grid_is_compared_at_each_point_over_all_and_at_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let files = written(&grid(folder.path()));
    let report = json_of(&files);
    let comparisons = report["comparisons"].as_array().unwrap();
    let families: Vec<_> = comparisons.iter().map(|c| c["family"].as_str().unwrap()).collect();
    assert_eq!(
        families,
        ["same_settings", "same_settings", "same_settings", "over_grid", "own_best"]
    );
    let names =
        |c: &Value| format!("{} {}", c["arm"].as_str().unwrap(), c["baseline"].as_str().unwrap());
    assert_eq!(names(&comparisons[1]), "pulled,learning-rate=0.0003 adamw,learning-rate=0.0003");
    assert_close(&comparisons[1]["difference"], 0.05);
    // 2/2⁴, times the three rows of the family but for the first, whose differences are all zero.
    assert_eq!((&comparisons[1]["p"], &comparisons[1]["p_holm"]), (&json!(0.125), &json!(0.375)));
    assert_eq!(comparisons[0]["p"], 1.0);
    // The mean over the rates, with the seed as the unit: 0, 0.05 and 0.1.
    assert_eq!(names(&comparisons[3]), "pulled adamw");
    assert_eq!((&comparisons[3]["pairs"], &comparisons[3]["p"]), (&json!(4), &json!(0.125)));
    assert_close(&comparisons[3]["difference"], 0.05);
    // AdamW is at its best at the lowest rate, the pulled arm where its seeds vary most.
    assert_eq!(names(&comparisons[4]), "pulled,learning-rate=0.0001 adamw,learning-rate=0.0001");

    let row = &rows(&files)[4];
    assert_eq!([&row["arm"], &row["seed"], &row["learning-rate"]], ["pulled", "1", "0.0001"]);
    assert!(files.contains_key("figures/learning-rate.svg"));
    let text = &files["report.md"];
    assert!(text.contains("makes every arm look better than it is"), "{text}");
    let smallest =
        "With 4 pairs the smallest possible p after Holm's correction over 3 comparisons is 0.375";
    assert!(text.contains(smallest), "{text}");
}

#[test]
fn the_smallest_possible_p_depends_on_the_other_comparisons() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = edge(folder.path(), 6);
    // Six pairs of which all are better by far, p = 2/2⁶; and the same with one pair fewer.
    let mut fewer = study.arms[1].clone();
    (fewer.name, fewer.plan_name) = ("fewer".into(), "fewer".into());
    fewer.runs.truncate(5);
    for run in study.arms[1].runs.iter_mut() {
        run.final_metric = Some(0.8);
    }
    study.arms.push(fewer);
    let report = json_of(&written(&study));
    let of = |index: usize, key: &str| report["comparisons"][index][key].as_f64().unwrap();
    assert_eq!((of(0, "p"), of(0, "p_holm"), of(0, "smallest_p_holm")), (0.03125, 0.0625, 0.0625));
    // The other p is smaller than any that five pairs can give, so Holm's factor is 1.
    assert_eq!((of(1, "smallest_p"), of(1, "smallest_p_holm")), (0.0625, 0.0625));
}

#[test]
fn tasks_are_the_strata_of_a_comparison_over_the_grid() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = grid(folder.path());
    for arm in &mut study.arms {
        arm.grid[0].0 = "task".into();
    }
    let report = json_of(&written(&study));
    let comparisons = report["comparisons"].as_array().unwrap();
    assert_eq!(comparisons.len(), 4, "no comparison of different tasks, each arm's best");
    let over_grid = &comparisons[3];
    assert_eq!((&over_grid["family"], &over_grid["pairs"]), (&json!("over_grid"), &json!(12)));
    assert_close(&over_grid["difference"], 0.05);
    // Within a task all differences are equal, so the stratified resamples are too; unstratified ones would vary.
    assert_close(&over_grid["interval"][0], 0.05);
    assert_close(&over_grid["interval"][1], 0.05);

    // One seed for each task leaves nothing to resample.
    for arm in &mut study.arms {
        arm.runs.truncate(1);
    }
    let files = written(&study);
    let report = json_of(&files);
    let over_grid = &report["comparisons"][3];
    assert_eq!((&over_grid["pairs"], &over_grid["interval"]), (&json!(3), &json!([null, null])));
    let text = &files["report.md"];
    assert!(text.contains("pulled and adamw: no difference is shown (p = 0."), "{text}");
}

#[test]
fn figures_are_well_formed_for_light_and_dark_pages_and_in_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let files = written(&edge(folder.path(), 6));
    let page = &files["report.html"];
    let figures: Vec<_> = files.iter().filter(|(name, _)| name.ends_with(".svg")).collect();
    let names: Vec<&str> = figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "figures/distance.svg",
            "figures/expected-best.svg",
            "figures/final-metric.svg",
            "figures/gradient-norm.svg",
            "figures/training-loss.svg",
            "figures/validation-metric.svg",
        ]
    );
    for (name, svg) in figures {
        assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"), "{name}");
        assert!(svg.contains("prefers-color-scheme:dark"), "{name}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}");
        assert!(page.contains(svg.as_str()), "{name} is in the page");
        assert!(files["report.md"].contains(&format!("]({name})")), "{name} is in the Markdown");
    }
    for arm in ["adamw", "pulled-50"] {
        assert!(files["figures/training-loss.svg"].contains(arm), "the legend names {arm}");
    }
    // Twelve runs: ten dots and the two rings of failed ones.
    let strip = &files["figures/final-metric.svg"];
    let circles =
        |kind: &str| strip.lines().filter(|l| l.starts_with("<circle") && l.contains(kind)).count();
    assert_eq!((circles("stroke=\"none\""), circles("fill=\"none\"")), (10, 2));
    assert!(strip.contains("majority class"));
    for outside in ["<script", "<link", "src=", "href=", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn the_same_runs_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let study = grid(folder.path());
    let first = written(&study);
    let mut reversed = study.clone();
    for arm in &mut reversed.arms {
        arm.runs.reverse();
    }
    for again in [written(&study), written(&reversed)] {
        assert!(first.keys().eq(again.keys()));
        for (name, content) in &first {
            assert!(again[name] == *content, "{name}");
        }
    }
}

#[test]
fn an_unstarted_study_has_a_report_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let arms = vec![arm(folder.path(), "adamw", 3), arm(folder.path(), "pulled-50", 3)];
    let files = written(&Study { title: "Not yet".into(), arms });
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["report.html", "report.json", "report.md", "runs.csv"]
    );
    assert!(files["report.md"].contains("None of the 6 planned runs has ended yet"));
    assert_eq!(rows(&files).len(), 0);
    let report = json_of(&files);
    assert_eq!((&report["metric"], &report["arms"]["adamw"]["mean"]), (&Value::Null, &Value::Null));

    let files = written(&Study { title: "Empty".into(), arms: vec![] });
    assert!(files["report.md"].contains("The plan has no runs."));
}

#[test]
fn one_arm_is_described_and_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = edge(folder.path(), 6);
    study.arms.truncate(1);
    let files = written(&study);
    assert_eq!(json_of(&files)["comparisons"], json!([]));
    assert!(!files["report.md"].contains("## Comparison"));
    assert!(files["report.md"].contains("the plan has one arm only"));
    // A single run has no spread.
    study.arms[0].runs.truncate(1);
    let files = written(&study);
    assert!(files["report.md"].contains("| adamw | 1 | 0.592 ± – |"), "{}", files["report.md"]);
    assert!(!files["report.md"].contains("0.592 \\["), "nor an interval: {}", files["report.md"]);
    assert_eq!(json_of(&files)["arms"]["adamw"]["iqm_interval"], json!([null, null]));
    assert!(!files["report.html"].contains("NaN"));
}

#[test]
fn different_metrics_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut study = edge(folder.path(), 6);
    let summary = json!({"metric": "eval_f1", "eval_f1": 0.8, "steps": 60, "finished": true});
    fs::write(folder.path().join("pulled-50/1/summary.json"), summary.to_string()).unwrap();
    study.arms[1] = arm(folder.path(), "pulled-50", 6);
    let target = tempfile::tempdir().unwrap();
    let error = report::write(&study, target.path()).unwrap_err();
    assert!(matches!(error, ReportError::MixedMetrics { .. }), "{error}");
    assert!(error.to_string().contains("accuracy in arm adamw, F1 in arm pulled-50"), "{error}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "nothing is written");
}
