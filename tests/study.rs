//! Studies: every run is computed once, whatever happens meanwhile, and is the run that `finetune` would compute.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tests::world::{ProgramOutput, World};

/// The built program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_l2sp");

/// The settings of small runs: three steps an epoch.
const BASE: &str = "[base]\nmodel = \"model\"\ndata = \"data\"\nbatch-size = 8\nmax-length = 40\n\
                    learning-rate = 5e-3\ncheckpoint-every = 2\n";

const ARMS: &str = "[arms.adamw]\noptimizer = \"adamw\"\nweight-decay = 0.01\n\
                    [arms.pulled]\nsource-decay = 5.0\n";

/// A world with `plan.toml`, whose study goes to the folder `study`.
fn world_with(plan: &str) -> World {
    let world = World::new(PROGRAM);
    write_plan(&world, plan);
    world
}

fn write_plan(world: &World, plan: &str) {
    let text = format!("output = \"study\"\n{plan}");
    fs::write(world.path("plan.toml"), text).expect("written");
}

fn plan(seeds: usize, epochs: usize) -> String {
    format!("seeds = {seeds}\n{BASE}epochs = {epochs}\n{ARMS}")
}

/// The metrics of all runs of a study, by `ARM/SEED`.
fn runs(study: &Path) -> BTreeMap<String, String> {
    let mut runs = BTreeMap::new();
    for arm in fs::read_dir(study.join("runs")).expect("runs").flatten() {
        for seed in fs::read_dir(arm.path()).expect("an arm").flatten() {
            let [arm, name] = [&arm, &seed].map(|it| it.file_name().into_string().expect("UTF-8"));
            let metrics = fs::read_to_string(seed.path().join("metrics.jsonl"));
            runs.insert(format!("{arm}/{name}"), metrics.unwrap_or_default());
        }
    }
    runs
}

fn start(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started")
}

/// Wait until a condition holds.
#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < patience, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_of_a_study_is_that_of_finetune() {
    let world = world_with(&format!("{}[grid]\nmax-examples = [16]\n", plan(2, 2)));
    world.run(&["study", "run", "plan.toml"]).succeeds();
    let runs = runs(&world.path("study"));
    assert_eq!(
        runs.keys().collect::<Vec<_>>(),
        [
            "adamw,max-examples=16/1",
            "adamw,max-examples=16/2",
            "pulled,max-examples=16/1",
            "pulled,max-examples=16/2"
        ]
    );
    for seed in ["1", "2"] {
        let seeds = ["--seed", seed, "--data-seed", seed, "--epochs", "2"];
        let settings = ["--max-examples", "16", "--source-decay", "5", "--dashboard", "off"];
        world.finetune(seed, &[&seeds[..], &settings].concat()).succeeds();
        let alone = fs::read_to_string(world.path(seed).join("metrics.jsonl")).expect("metrics");
        assert!(alone == runs[&format!("pulled,max-examples=16/{seed}")], "seed {seed} differs");
    }
    assert_ne!(runs["adamw,max-examples=16/1"], runs["adamw,max-examples=16/2"]);
}

#[test]
fn a_study_that_is_killed_continues_bit_for_bit() {
    let world = world_with(&plan(2, 40));
    world.run(&["study", "run", "plan.toml"]).succeeds();
    let expected = runs(&world.path("study"));
    fs::rename(world.path("study"), world.path("expected")).expect("renamed");

    for (kill, signal) in ["-KILL", "-TERM", "-INT"].into_iter().enumerate() {
        let before = runs_or_none(&world.path("study"));
        let mut study = start(&world, &["study", "run", "plan.toml", "--jobs", "2"]);
        wait_until("progress", || {
            let now = runs_or_none(&world.path("study"));
            now.values().map(|metrics| metrics.len()).sum::<usize>()
                > before.values().map(|metrics| metrics.len()).sum::<usize>() + 2000
        });
        let id = study.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
        let status = study.wait().expect("ended");
        assert_eq!(status.code(), [None, Some(143), Some(130)][kill], "{signal}");
        // Workers do not survive their parent. Their runs are locked until they have ended.
        wait_until("the end of the workers", || {
            !Command::new("pgrep")
                .args(["-f", &format!("study work.*{}", "study")])
                .current_dir(world.path(""))
                .output()
                .is_ok_and(|output| belongs_to(&output.stdout, &world))
        });
    }
    world.run(&["study", "run", "plan.toml", "--jobs", "2"]).succeeds();
    assert!(runs(&world.path("study")) == expected, "the runs differ");
}

fn runs_or_none(study: &Path) -> BTreeMap<String, String> {
    if study.join("runs").is_dir() { runs(study) } else { BTreeMap::new() }
}

/// Whether one of these processes runs in the world's folder.
fn belongs_to(ids: &[u8], world: &World) -> bool {
    let folder = world.path("").canonicalize().expect("a folder");
    String::from_utf8_lossy(ids)
        .lines()
        .any(|id| fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|path| path == folder))
}

#[test]
fn runs_that_are_done_are_not_repeated_and_a_plan_may_grow() {
    let world = world_with(&plan(1, 1));
    let first = world.run(&["study", "run", "plan.toml"]).succeeds();
    assert!(first.stderr.contains("2 runs; 0 done, 2 left"), "{}", first.stderr);
    let summary = world.path("study/runs/adamw/1/summary.json");
    let written = fs::metadata(&summary).expect("a summary").modified().expect("a time");

    let again = world.run(&["study", "run", "study"]).succeeds();
    assert!(again.stderr.contains("2 done, 0 left"), "{}", again.stderr);

    write_plan(&world, &format!("{}[arms.more]\nsource-decay = 9.0\n", plan(2, 1)));
    let grown = world.run(&["study", "run", "plan.toml"]).succeeds();
    assert!(grown.stderr.contains("6 runs; 2 done, 4 left"), "{}", grown.stderr);
    assert_eq!(fs::metadata(&summary).expect("a summary").modified().expect("a time"), written);

    let kept = fs::read_to_string(world.path("study/plan.toml")).expect("a plan");
    for (changed, difference) in [
        (plan(2, 2), "arm adamw: epochs: 1 then, 2 now"),
        (plan(1, 1), "seed 2 is no longer there"),
        (plan(2, 1).replace("pulled", "other"), "arm pulled is no longer there"),
    ] {
        write_plan(&world, &changed);
        world.run(&["study", "run", "plan.toml"]).fails(2, &[difference, "another plan"]);
        assert_eq!(fs::read_to_string(world.path("study/plan.toml")).expect("a plan"), kept);
    }
}

#[test]
fn a_run_that_diverges_has_failed_and_stops_nothing() {
    let text = format!(
        "seeds = 2\n{BASE}epochs = 2\nmax-grad-norm = 0.0\n[arms.wild]\nlearning-rate = 1e30\n[arms.tame]\n"
    )
    .replace("learning-rate = 5e-3\n", "");
    let world = world_with(&text);
    let study = world.run(&["study", "run", "plan.toml"]).succeeds();
    assert!(study.stderr.contains("wild, seed 1: diverged at step"), "{}", study.stderr);
    assert!(study.stderr.contains("4/4 runs done"), "{}", study.stderr);
    let summary = world.json("study/runs/wild/2/summary.json");
    assert_eq!((&summary["failed"], &summary["finished"]), (&true.into(), &false.into()));
    assert!(summary["diverged_at"].as_u64().is_some_and(|step| step > 0), "{summary}");
    let again = world.run(&["study", "run", "plan.toml"]).succeeds();
    assert!(again.stderr.contains("4 done, 0 left"), "{}", again.stderr);
}

#[test]
fn a_run_with_an_error_is_tried_again_and_stops_nothing() {
    let world = world_with(&plan(2, 1));
    let obstacle = world.path("study/runs/adamw/1");
    world.run(&["study", "run", "plan.toml", "--shard", "4/4"]).succeeds();
    fs::create_dir_all(obstacle.parent().expect("a parent")).expect("made");
    fs::write(&obstacle, "not a folder").expect("written");
    let study = world.run(&["study", "run", "plan.toml"]);
    let study = study.fails(1, &["adamw, seed 1: error: ", "the study is incomplete (errors: 1)"]);
    assert!(study.stderr.contains("3/4 runs done"), "{}", study.stderr);
    fs::remove_file(&obstacle).expect("removed");
    world.run(&["study", "run", "plan.toml"]).succeeds();
    assert_eq!(runs(&world.path("study")).len(), 4);
}

#[test]
fn a_run_whose_worker_alone_is_stopped_is_an_error_and_stops_nothing() {
    let (long, short) = ("[arms.long]\nepochs = 1000\n", "[arms.short]\nepochs = 1\n");
    for [first, last] in [[long, short], [short, long]] {
        let world = world_with(&format!("seeds = 1\n{BASE}{first}{last}"));
        let study = world.command(&["study", "run", "plan.toml"]).spawn().expect("started");
        let metrics = world.path("study/runs/long/1/metrics.jsonl");
        wait_until("a step", || fs::metadata(&metrics).is_ok_and(|file| file.len() > 0));
        let id = study.id().to_string();
        let pkill = Command::new("pkill").args(["-TERM", "-P", &id]).status();
        assert!(pkill.expect("pkill").success());
        let error = "long, seed 1: error: its process was stopped by a signal";
        let study = ProgramOutput::of(study).fails(1, &[error, "incomplete (errors: 1)"]);
        assert!(study.stderr.contains("short, seed 1: eval_accuracy"), "{}", study.stderr);
    }
}

#[test]
fn a_run_that_another_process_has_done_is_left_alone() {
    let world = world_with(&plan(1, 1));
    world.run(&["study", "run", "plan.toml"]).succeeds();
    let written = || {
        let run = world.path("study/runs/adamw/1");
        let files = ["metrics.jsonl", "summary.json"].map(|file| fs::metadata(run.join(file)));
        files.map(|file| file.expect("a file").modified().expect("a time"))
    };
    let before = written();

    // As a worker whose parent read the study before that.
    let args = ["study", "work", "study", "--keep-models", "none"];
    let mut worker = world.command(&args).spawn().expect("started");
    let mut input = worker.stdin.take().expect("piped");
    input.write_all(b"{\"arm\":\"adamw\",\"seed\":1}\n").expect("written");
    let output = BufReader::new(worker.stdout.take().expect("piped"));
    let mut messages = output.lines().map(|line| line.expect("UTF-8"));
    let is_end = |line: &String| !["{\"ready", "{\"step"].iter().any(|it| line.starts_with(it));
    assert_eq!(messages.find(is_end).as_deref(), Some("\"done\""));
    drop(input);
    assert!(worker.wait().expect("ended").success());
    assert_eq!(written(), before);
}

#[test]
fn a_study_that_cannot_begin_says_why_once() {
    let world = world_with(&plan(20, 1).replace("\"data\"", "\"nothing\""));
    let study = world.run(&["study", "run", "plan.toml"]).fails(1, &["nothing"]);
    assert!(study.stderr.lines().count() < 8, "{}", study.stderr);
    let world = world_with(&plan(2, 1));
    world.run(&["study", "run", "plan.toml", "--devices", "cuda:7"]).fails(1, &["cuda"]);
    world.run(&["study", "run", "nowhere.toml"]).fails(1, &["nowhere.toml"]);
    world.run(&["study", "run", "plan.toml", "--shard", "3/2"]).fails(2, &["3/2"]);
    fs::create_dir(world.path("full")).expect("made");
    fs::write(world.path("full/file"), "").expect("written");
    let elsewhere = plan(2, 1);
    fs::write(world.path("full.toml"), format!("output = \"full\"\n{elsewhere}")).expect("written");
    world.run(&["study", "run", "full.toml"]).fails(1, &["full contains files, but no study"]);
}

#[test]
fn a_study_ends_with_its_report_and_an_unfinished_one_has_one_too() {
    let world = world_with(
        &format!("{}[grid]\nlearning-rate = [5e-3, 1e-4]\n", plan(3, 1))
            .replace("learning-rate = 5e-3\n", ""),
    );
    world.run(&["study", "run", "plan.toml", "--shard", "1/2"]).succeeds();
    let unfinished = world.run(&["study", "report", "study"]).succeeds();
    assert_eq!(unfinished.stdout, "report in study/report.html\n");
    let rows = || fs::read_to_string(world.path("study/runs.csv")).expect("rows");
    assert_eq!(rows().lines().count(), 1 + 6);

    let study = world.run(&["study", "run", "plan.toml", "--jobs", "2"]).succeeds();
    assert_eq!(study.stdout, "report in study/report.html\n");
    let header = "arm,seed,learning-rate,state,steps,metric,best,eval_loss,distance,seconds,failed";
    assert_eq!(rows().lines().next(), Some(header));
    assert_eq!(rows().lines().count(), 1 + 12);
    let report = world.json("study/report.json");
    let arm = &report["arms"]["pulled,learning-rate=1e-4"];
    assert_eq!(arm["n"], 3);
    for key in ["mean", "sd", "median", "iqm", "min", "max", "failed", "failed_interval"] {
        assert!(!arm[key].is_null(), "{key}: {arm}");
    }
    for name in ["report.md", "report.html"] {
        let text = fs::read_to_string(world.path("study").join(name)).expect("a report");
        assert!(text.contains("adamw") && text.contains("pulled"), "{name}");
    }
}

#[test]
fn shards_share_a_study_without_repeating_a_run() {
    let world = world_with(&plan(3, 2));
    let shards = ["1/2", "2/2"].map(|shard| {
        let args = ["study", "run", "plan.toml", "--shard", shard];
        world.command(&args).spawn().expect("started")
    });
    for shard in shards {
        let shard = ProgramOutput::of(shard).succeeds();
        assert!(shard.stderr.contains("3 left in shard"), "{}", shard.stderr);
        assert!(!shard.stderr.contains("error"), "{}", shard.stderr);
    }
    let status = world.run(&["study", "status", "study"]).succeeds();
    assert!(status.stdout.contains("6 of 6 runs done; complete"), "{}", status.stdout);
}

#[test]
fn only_the_wanted_models_are_kept_and_no_checkpoints() {
    for (keep, count) in [("none", 0), ("best", 2), ("all", 6)] {
        let world = world_with(&plan(3, 2));
        let devices = ["--devices", "cpu,cpu", "--keep-models", keep];
        world.run(&[&["study", "run", "plan.toml"], &devices[..]].concat()).succeeds();
        let runs: Vec<_> = runs(&world.path("study")).into_keys().collect();
        let has = |run: &str, name: &str| world.path("study/runs").join(run).join(name).exists();
        let models: Vec<_> = runs.iter().filter(|run| has(run, "model")).collect();
        assert_eq!(models.len(), count, "{keep}");
        assert!(!runs.iter().any(|run| has(run, "checkpoints")), "{keep}");
        assert!(
            runs.iter().all(|run| has(run, "predictions.jsonl") == has(run, "model")),
            "{keep}"
        );
        if keep == "best" {
            let accuracy = |run: &str| {
                let summary = world.json(&format!("study/runs/{run}/summary.json"));
                summary["eval_accuracy"].as_f64().expect("an accuracy")
            };
            for run in &runs {
                let arm = run.split('/').next().expect("an arm");
                let best = models.iter().find(|model| model.starts_with(arm)).expect("a model");
                assert!(accuracy(best) >= accuracy(run), "{best} {run}");
            }
        }
    }
}

#[test]
fn models_that_were_kept_stay_where_later_none_are_kept() {
    let world = world_with(&plan(1, 1));
    world.run(&["study", "run", "plan.toml", "--keep-models", "all"]).succeeds();
    let model = |run: &str| {
        fs::read(world.path("study/runs").join(run).join("model/model.safetensors")).ok()
    };
    let kept = ["adamw/1", "pulled/1"].map(model);
    assert!(kept.iter().all(Option::is_some));
    // As if a run had been interrupted, which saves the model so far.
    fs::remove_file(world.path("study/runs/pulled/1/summary.json")).expect("removed");
    fs::write(world.path("study/runs/pulled/1/model/model.safetensors"), "early").expect("written");

    write_plan(&world, &plan(2, 1));
    world.run(&["study", "run", "plan.toml"]).succeeds();
    assert!(["adamw/1", "pulled/1"].map(model) == kept, "the models differ");
    assert_eq!(["adamw/2", "pulled/2"].map(model), [None, None]);
}

#[test]
fn the_status_of_an_unfinished_study_says_what_is_left() {
    let world = world_with(&plan(2, 1));
    world.run(&["study", "run", "plan.toml", "--shard", "1/2"]).succeeds();
    let status = world.run(&["study", "status", "plan.toml"]).succeeds().stdout;
    let [_, adamw, pulled, total] = status.lines().collect::<Vec<_>>()[..] else {
        panic!("{status}");
    };
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(columns(adamw)[..2], ["adamw", "2"]);
    assert_eq!(columns(pulled)[..2], ["pulled", "0"]);
    assert!(total.starts_with("study: 2 of 4 runs done; 2 runs left: "), "{total}");
}

#[test]
fn a_study_is_reported_once_it_was_started_and_with_the_settings_of_its_runs() {
    let world = world_with(&plan(1, 1));
    world
        .run(&["study", "report", "plan.toml"])
        .fails(2, &["study: the study has not been started"]);
    world.run(&["study", "run", "plan.toml"]).succeeds();
    let path = world.path("study/plan.toml");
    let kept = fs::read_to_string(&path).expect("the plan");
    let edited = kept.replace("weight-decay = 0.01", "weight-decay = 0.5");
    assert_ne!(edited, kept);
    fs::write(&path, &edited).expect("written");
    for command in ["run", "report"] {
        let problems = ["arm adamw: weight-decay: 0.01 then, 0.5 now", "another plan"];
        world.run(&["study", command, "study"]).fails(2, &problems);
    }
    fs::write(&path, &kept).expect("written");
    world.run(&["study", "run", "study"]).succeeds();

    fs::create_dir(world.path("other")).expect("created");
    fs::write(world.path("other/plan.toml"), kept).expect("written");
    let problems = ["other: no study has been started", "other/plan.toml"];
    world.run(&["study", "run", "other"]).fails(2, &problems);
    assert_eq!(fs::read_dir(world.path("other")).expect("read").count(), 1);
    fs::write(&path, "output = \"\"\nseeds = 1\n[arms.a]\n").expect("written");
    world.run(&["study", "run", "study/plan.toml"]).fails(2, &["output is empty"]);
}

#[test]
fn a_run_becomes_a_plan() {
    let world = World::new(PROGRAM);
    // Long enough for a total pull of 10; in the folder that `finetune` chooses by itself.
    let run = ["--epochs", "8", "--learning-rate", "1e-3"];
    world.finetune("runs/0001", &run).succeeds();
    let written = world.run(&["study", "init", "runs/0001"]).succeeds();
    assert!(written.stdout.contains("54 runs planned in plan.toml"), "{}", written.stdout);
    world.run(&["study", "init", "runs/0001"]).fails(2, &["plan.toml exists"]);
    world.run(&["study", "init", "nowhere"]).fails(1, &["cannot read nowhere"]);

    let text = fs::read_to_string(world.path("plan.toml")).expect("the plan");
    assert!(text.contains("learning-rate = [1e-3, 3e-3, 1e-2]"), "{text}");
    let text = text.replace("seeds = 6", "seeds = 1");
    fs::write(world.path("plan.toml"), &text).expect("written");
    world.run(&["study", "run", "plan.toml"]).succeeds();
    let runs = runs(&world.path("studies/plan"));
    assert_eq!(runs.len(), 9);
    assert!(runs.values().all(|metrics| metrics.contains("\"eval_accuracy\"")));
    for plan in ["plan.toml", "studies/plan", "studies/plan/plan.toml"] {
        let status = world.run(&["study", "status", plan]).succeeds().stdout;
        assert!(status.contains("studies/plan: 9 of 9 runs done"), "{status}");
    }
    let plan = fs::read_to_string(world.path("plan.toml")).expect("the plan");
    assert_eq!(plan, text, "the user's plan is only read");
    assert_eq!(fs::read_dir(world.path("runs")).expect("runs").count(), 1);
}
