//! Runs that are stopped, killed or cannot write to the disk resume as if they had never been interrupted.
#![cfg(unix)]
#![allow(clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::world::{ProgramOutput, World, wait_for_a_step};

/// The built program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_l2sp");

/// The number of times that a run is killed. `KILLS=1000` makes the test longer.
const KILLS: usize = 50;

/// A small run: 8 epochs of 3 steps, each with a checkpoint.
const SETTINGS: [&str; 6] = ["--epochs", "8", "--checkpoint-every", "1", "--dashboard", "off"];

/// The command line of a small run.
fn command_line<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let base = ["finetune", "--model", "model", "--data", "data", "--batch-size", "8"];
    let sizes = ["--max-length", "40", "--learning-rate", "5e-3", "--output", output];
    [&base[..], &sizes, more].concat()
}

/// Start the program without waiting for it, and discard its output.
fn start(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started")
}

fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
}

/// Assert that two runs have the same metrics, predictions and weights, bit for bit.
#[track_caller]
fn assert_same(world: &World, one: &str, other: &str) {
    for file in ["metrics.jsonl", "predictions.jsonl", "model/model.safetensors"] {
        let read = |output: &str| fs::read(world.path(output).join(file)).expect("read");
        assert!(read(one) == read(other), "{file} of {one} and {other} differ");
    }
    let keys =
        ["eval_accuracy", "best_eval_accuracy", "best_step", "eval_loss", "steps", "finished"];
    for key in keys {
        let summary = |output: &str| world.json(&format!("{output}/summary.json"))[key].clone();
        assert_eq!(summary(one), summary(other), "{key}");
    }
}

/// A run that was stopped by SIGINT somewhere after its fourth step, in the folder `output`.
fn stopped(world: &World, output: &str) {
    let more = ["--epochs", "8", "--checkpoint-every", "1", "--dashboard", "off"];
    let mut child = world.command(&command_line(output, &more)).spawn().expect("started");
    let metrics = world.path(output).join("metrics.jsonl");
    wait_for_a_step(&mut child, &metrics);
    while fs::read_to_string(&metrics).expect("metrics").lines().count() < 5 {
        assert!(child.try_wait().expect("a child").is_none(), "ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(&child, "-INT");
    let run = ProgramOutput::of(child);
    let hint = format!("resume with l2sp finetune --resume {output}");
    run.fails(130, &["stopped after step", &hint]);
}

/// The steps of a run's checkpoints, the latest first. Other files are ignored.
fn checkpoints(output: &Path) -> Vec<usize> {
    let entries = fs::read_dir(output.join("checkpoints")).into_iter().flatten().flatten();
    let step = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix("step-")?.strip_suffix(".checkpoint")?.parse().ok()
    };
    let mut steps: Vec<usize> = entries.filter_map(step).collect();
    steps.sort_unstable_by(|one, other| other.cmp(one));
    steps
}

fn checkpoint(output: &Path, step: usize) -> PathBuf {
    output.join(format!("checkpoints/step-{step}.checkpoint"))
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written");
}

/// Whether a checkpoint, a model or another file was being written when the run ended.
fn was_writing(output: &Path) -> bool {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    entries(output).chain(entries(&output.join("checkpoints"))).any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(".write-") || name.starts_with(".model-")
    })
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    let world = World::new(PROGRAM);
    let kills = std::env::var("KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let begun = Instant::now();
    world.run(&command_line("reference", &SETTINGS)).succeeds();
    // Long enough to reach any point of the run, short enough to be killed many times.
    let longest = begun.elapsed();

    let mut random = StdRng::seed_from_u64(20003);
    let (mut killed, mut while_writing, mut runs) = (0, 0, 0);
    let mut resumed_after = BTreeSet::new();
    while killed < kills {
        runs += 1;
        let output = format!("killed-{runs}");
        let folder = world.path(&output);
        let mut args = command_line(&output, &SETTINGS);
        loop {
            let mut child = start(&world, &args);
            std::thread::sleep(longest.mul_f64(random.random_range(0.0..1.0)));
            child.kill().ok();
            let status = child.wait().expect("a child");
            match status.code() {
                Some(code) => {
                    assert_eq!(code, 0, "{args:?}");
                    break;
                }
                None => killed += 1,
            }
            while_writing += usize::from(was_writing(&folder));
            args = match folder.join("config.toml").exists() {
                true => vec!["finetune", "--resume", &output],
                // Killed before the run was created.
                false => [command_line(&output, &SETTINGS), vec!["--overwrite"]].concat(),
            };
            resumed_after.extend(checkpoints(&folder).first().copied());
        }
        assert_same(&world, "reference", &output);
        assert!(!was_writing(&folder), "nothing half-written is left");
        fs::remove_dir_all(&folder).expect("removed");
    }
    println!(
        "{killed} kills in {runs} runs of 24 steps, {while_writing} while a file was being written; \
         resumed after the steps {resumed_after:?}; no difference"
    );
}

#[test]
fn a_stopped_run_resumes_after_its_folder_was_moved() {
    let world = World::new(PROGRAM);
    world.run(&command_line("reference", &SETTINGS)).succeeds();
    stopped(&world, "out");
    assert_eq!(world.json("out/summary.json")["finished"], false);
    fs::rename(world.path("out"), world.path("moved")).expect("moved");
    let run = world.run(&["finetune", "--resume", "moved", "--dashboard", "plain"]).succeeds();
    assert!(run.stderr.starts_with("resuming moved after step "), "{}", run.stderr);
    assert!(run.stderr.contains("step 24/24"), "{}", run.stderr);
    assert_same(&world, "reference", "moved");
    assert_eq!(checkpoints(&world.path("moved")), [24, 23], "the last two");

    // A finished run has nothing left to do, and cannot be resumed with other settings.
    let before = fs::read(world.path("moved/summary.json")).expect("read");
    let run = world.run(&["finetune", "--resume", "moved"]).succeeds();
    assert!(run.stdout.starts_with("nothing left to do: the run in moved"), "{}", run.stdout);
    assert_eq!(fs::read(world.path("moved/summary.json")).expect("read"), before);
    world
        .run(&["finetune", "--resume", "moved", "--epochs", "9"])
        .fails(2, &["epochs: 8 then, 9 now"]);
    // A finished run without its model writes it again.
    fs::remove_dir_all(world.path("moved/model")).expect("removed");
    world.run(&["finetune", "--resume", "moved"]).succeeds();
    assert_same(&world, "reference", "moved");
}

#[test]
fn other_logs_are_resumed_with_the_metrics() {
    let world = World::new(PROGRAM);
    let csv = |run: &str| {
        ["metrics.csv", "evaluations.csv"]
            .map(|name| fs::read_to_string(world.path(run).join(name)).expect("read"))
    };
    let settings = [&SETTINGS[..], &["--log", "csv,tensorboard"]].concat();
    world.run(&command_line("reference", &settings)).succeeds();
    // Asked for only when it was resumed: the steps before are in the files as well.
    stopped(&world, "out");
    assert!(!world.path("out/metrics.csv").exists());
    world.run(&["finetune", "--resume", "out", "--log", "csv,tensorboard"]).succeeds();
    assert_same(&world, "reference", "out");
    assert_eq!(csv("out"), csv("reference"));
    let events = |run: &str| {
        let path = world.path(run).join("tensorboard/events.out.tfevents.l2sp");
        fs::metadata(path).expect("an event file").len()
    };
    assert_eq!(events("out"), events("reference"));
}

/// Kill a run with these settings after the checkpoint of each step, and resume it.
fn assert_resumes_from_every_step(settings: &[&str], steps: usize) {
    let world = World::new(PROGRAM);
    let settings = [settings, &["--checkpoint-every", "1", "--dashboard", "off"]].concat();
    world.run(&command_line("reference", &settings)).succeeds();
    for step in 1..=steps {
        let output = format!("from-{step}");
        let folder = world.path(&output);
        let mut child = start(&world, &command_line(&output, &settings));
        while checkpoints(&folder).first().is_none_or(|&last| last < step)
            && child.try_wait().expect("a child").is_none()
        {}
        child.kill().ok();
        child.wait().expect("a child");
        world.run(&["finetune", "--resume", &output]).succeeds();
        assert_same(&world, "reference", &output);
    }
}

#[test]
fn a_run_resumes_from_every_step() {
    assert_resumes_from_every_step(&["--epochs", "3"], 9);
}

#[test]
fn a_shortened_run_with_another_optimizer_resumes_from_every_step() {
    let optimizer = ["--optimizer", "adamw", "--weight-decay", "0.1", "--amsgrad"];
    let length = ["--epochs", "9", "--gradient-accumulation", "2", "--max-steps", "5"];
    let rest = ["--schedule", "cosine", "--padding", "max-length"];
    assert_resumes_from_every_step(&[&optimizer[..], &length, &rest].concat(), 5);
}

#[test]
fn a_run_that_keeps_its_best_weights_resumes_from_every_step() {
    assert_resumes_from_every_step(&["--epochs", "4", "--keep", "best"], 12);
}

#[test]
fn a_diverged_run_that_is_resumed_keeps_the_last_good_weights() {
    let world = World::new(PROGRAM);
    let wild = ["--learning-rate", "1e30", "--warmup-ratio", "0", "--checkpoint-every", "1"];
    world.finetune("out", &wild).fails(1, &["holds the last weights whose loss was finite"]);
    let weights = || fs::read(world.path("out/model/model.safetensors")).expect("read");
    let good = weights();
    // The checkpoint has the weights after the last update, which was too large.
    world.run(&["finetune", "--resume", "out"]).fails(1, &["holds the last weights"]);
    assert!(weights() == good, "the model was replaced");
    // As if the run had been killed before it saved its model.
    fs::remove_dir_all(world.path("out/model")).expect("removed");
    world.run(&["finetune", "--resume", "out"]).fails(1, &["no model was saved"]);
    assert!(!world.path("out/model").exists());
}

#[test]
fn weights_whose_validation_loss_is_not_finite_are_not_saved() {
    let world = World::new(PROGRAM);
    let constant = ["--warmup-ratio", "0", "--schedule", "constant"];
    let wild = [&constant[..], &["--learning-rate", "1e30"]].concat();
    // The update of the only step is too large, which no further step can see.
    let once = [&wild[..], &["--max-steps", "1"]].concat();
    let problems = ["step 1: the validation loss is NaN", "holds the last weights"];
    world.finetune("once", &once).fails(1, &problems);
    let still = [&constant[..], &["--learning-rate", "0", "--max-steps", "1"]].concat();
    world.finetune("before", &still).succeeds();
    let weights = |run: &str| fs::read(world.path(run).join("model/model.safetensors"));
    assert!(weights("once").expect("read") == weights("before").expect("read"), "another model");
    let summary = world.json("once/summary.json");
    assert_eq!((&summary["diverged_at"], &summary["failed"]), (&1.into(), &true.into()));
    assert!(world.metrics("once").last().expect("an evaluation")["eval_loss"].is_null());

    let best = [&wild[..], &["--max-steps", "3", "--eval-every", "1", "--keep", "best"]].concat();
    world.finetune("best", &best).fails(1, &["step 1: the validation loss is NaN"]);
    assert!(weights("best").expect("read") == weights("before").expect("read"), "another model");
}

#[test]
fn a_signal_during_an_evaluation_loses_no_step() {
    let world = World::new(PROGRAM);
    // An evaluation takes longer than all steps before it, so that the signal comes during one.
    let validation = tests::world::tsv(200, true);
    fs::write(world.path("data/dev.tsv"), validation).expect("written");
    let more = ["--epochs", "40", "--eval-every", "2", "--checkpoint-every", "1000"];
    let args = command_line("out", &[&more[..], &["--dashboard", "off"]].concat());
    let mut child = start(&world, &args);
    wait_for_a_step(&mut child, &world.path("out").join("metrics.jsonl"));
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "-INT");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    let steps = world.metrics("out").iter().filter_map(|line| line["loss"].as_f64()).count();
    assert_eq!(checkpoints(&world.path("out")).first(), Some(&steps));
}

/// With an ε this large the weights hardly change and the metric does not improve, so the run ends after the fourth evaluation, at its eighth step.
#[test]
fn a_run_that_stops_early_resumes_from_every_step() {
    let still = ["--epsilon", "1e9", "--eval-every", "2", "--patience", "3"];
    let settings = [&still[..], &["--keep", "best", "--epochs", "9"]].concat();
    assert_resumes_from_every_step(&settings, 8);
}

#[test]
fn a_run_with_frozen_and_slowed_parameters_resumes_from_every_step() {
    let frozen = ["--freeze", "encoder.embeddings", "--head-learning-rate", "0.02"];
    let loss = ["--label-smoothing", "0.1", "--no-bias-correction", "--total-pull", "0.1"];
    let rest = ["--log-every", "2", "--epochs", "2"];
    assert_resumes_from_every_step(&[&frozen[..], &loss, &rest].concat(), 6);
}

#[test]
fn a_run_on_several_devices_resumes_from_every_step() {
    assert_resumes_from_every_step(&["--epochs", "2", "--device", "cpu,cpu"], 6);
}

#[test]
fn a_run_is_resumed_on_another_number_of_devices() {
    let world = World::new(PROGRAM);
    let settings = ["--epochs", "4", "--checkpoint-every", "1", "--dashboard", "off"];
    let mut child = start(&world, &command_line("run", &settings));
    let folder = world.path("run");
    while checkpoints(&folder).first().is_none_or(|&last| last < 2)
        && child.try_wait().expect("a child").is_none()
    {}
    child.kill().ok();
    child.wait().expect("a child");
    let resumed = world.run(&["finetune", "--resume", "run", "--device", "cpu,cpu,cpu"]).succeeds();
    assert!(resumed.stderr.contains("resuming on other devices"), "{}", resumed.stderr);
    assert_eq!(world.json("run/summary.json")["steps"], 12);
}

#[test]
fn a_run_evaluated_within_its_epochs_resumes_from_every_step() {
    assert_resumes_from_every_step(&["--epochs", "3", "--eval-every", "2", "--keep", "best"], 9);
}

#[test]
fn a_signal_prints_how_to_resume() {
    let world = World::new(PROGRAM);
    world.run(&command_line("reference", &SETTINGS)).succeeds();
    // The interval is too long for any other checkpoint than that of the signal.
    let more = ["--epochs", "8", "--checkpoint-every", "1000", "--dashboard", "off"];
    for (name, code, output) in
        [("-INT", 130, "interrupted"), ("-TERM", 143, "terminated"), ("-HUP", 129, "hung-up")]
    {
        let mut child = world.command(&command_line(output, &more)).spawn().expect("started");
        wait_for_a_step(&mut child, &world.path(output).join("metrics.jsonl"));
        signal(&child, name);
        let run = ProgramOutput::of(child);
        let hint = format!("resume with l2sp finetune --resume {output}");
        let run = run.fails(code, &["stopped after step", &hint]);
        let steps: usize = world.json(&format!("{output}/summary.json"))["steps"]
            .as_u64()
            .expect("steps") as usize;
        assert_eq!(checkpoints(&world.path(output))[0], steps, "no step is lost: {}", run.stderr);
        world.run(&["finetune", "--resume", output]).succeeds();
        assert_same(&world, "reference", output);
    }
}

/// Two signals during a step that takes far longer than the test.
#[test]
fn a_second_signal_ends_the_run_at_once() {
    let world = World::new(PROGRAM);
    let more = ["--model", "embedded", "--data", "embedded", "--batch-size", "2490"];
    let args = [&["finetune", "--output", "out"][..], &more].concat();
    let mut child = world.command(&args).spawn().expect("started");
    let patience = Instant::now() + Duration::from_secs(60);
    while !world.path("out/metrics.jsonl").exists() {
        assert!(Instant::now() < patience, "no run within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().expect("a child").is_none(), "the step is finished first");
    signal(&child, "-INT");
    let second = Instant::now();
    let run = ProgramOutput::of(child);
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(!run.stderr.contains("stopped after"), "{}", run.stderr);
}

#[test]
fn a_run_without_a_checkpoint_starts_again() {
    let world = World::new(PROGRAM);
    let more = ["--epochs", "8", "--checkpoint-every", "1000", "--dashboard", "off"];
    world.run(&command_line("reference", &SETTINGS)).succeeds();
    let mut child = start(&world, &command_line("out", &more));
    wait_for_a_step(&mut child, &world.path("out/metrics.jsonl"));
    child.kill().expect("killed");
    child.wait().expect("a child");
    fs::remove_dir_all(world.path("out/checkpoints")).ok();
    let run = world.run(&["finetune", "--resume", "out"]).succeeds();
    assert!(run.stderr.contains("no checkpoint yet"), "{}", run.stderr);
    assert_same(&world, "reference", "out");
}

#[test]
fn a_damaged_checkpoint_is_reported_and_the_one_before_is_used() {
    let world = World::new(PROGRAM);
    world.run(&command_line("reference", &SETTINGS)).succeeds();
    stopped(&world, "out");
    let steps = checkpoints(&world.path("out"));
    let newest = checkpoint(&world.path("out"), steps[0]);
    damage(&newest);
    let run = world.run(&["finetune", "--resume", "out"]).succeeds();
    let name = format!("step-{}.checkpoint cannot be used: its checksum is wrong", steps[0]);
    assert!(run.stderr.contains(&name), "{}", run.stderr);
    assert!(
        run.stderr.contains(&format!("resuming out after step {}", steps[1])),
        "{}",
        run.stderr
    );
    assert_same(&world, "reference", "out");

    stopped(&world, "lost");
    for step in checkpoints(&world.path("lost")) {
        damage(&checkpoint(&world.path("lost"), step));
    }
    world
        .run(&["finetune", "--resume", "lost"])
        .fails(1, &["lost/checkpoints", "--config lost/config.toml"]);
}

#[test]
fn another_configuration_is_refused_with_the_differing_keys() {
    let world = World::new(PROGRAM);
    world.run(&command_line("reference", &SETTINGS)).succeeds();
    stopped(&world, "out");
    let resume = |more: &[&str]| world.run(&[&["finetune", "--resume", "out"][..], more].concat());
    resume(&["--epochs", "9", "--seed", "4"])
        .fails(2, &["epochs: 8 then, 9 now", "seed: 10013 then, 4 now"]);
    resume(&["--max-steps", "30"]).fails(2, &["max-steps: not set then, 30 now"]);
    resume(&["--output", "elsewhere"]).fails(2, &["--output", "--resume"]);
    resume(&["--config", "out/config.toml"]).fails(2, &["--config", "--resume"]);
    world.run(&["finetune", "--resume", "data"]).fails(1, &["no run to resume in data"]);

    // Changes that no flag shows: to the settings file, the data and the weights.
    let config = fs::read_to_string(world.path("out/config.toml")).expect("read");
    let other = config.replace("batch-size = 8", "batch-size = 4");
    fs::write(world.path("out/config.toml"), other).expect("written");
    resume(&[]).fails(2, &["batch-size: 8 then, 4 now"]);
    fs::write(world.path("out/config.toml"), config).expect("written");
    let data = fs::read_to_string(world.path("data/train.tsv")).expect("read");
    fs::write(world.path("data/train.tsv"), data.replacen("Rain", "Snow", 1)).expect("written");
    resume(&[]).fails(2, &["data: "]);
    fs::write(world.path("data/train.tsv"), data).expect("written");
    let weights = world.path("model/model.safetensors");
    let bytes = fs::read(&weights).expect("read");
    let mut other = bytes.clone();
    *other.last_mut().expect("a byte") ^= 1;
    fs::write(&weights, other).expect("written");
    resume(&[]).fails(2, &["model: "]);
    fs::write(&weights, bytes).expect("written");

    // The same settings, and those that do not affect results, are accepted.
    resume(&["--epochs", "8", "--checkpoint-every", "5", "--dashboard", "plain"]).succeeds();
    assert_same(&world, "reference", "out");
}

/// `RLIMIT_FSIZE` simulates a full disk: the metrics fit, a checkpoint does not.
#[test]
fn a_full_disk_leaves_the_last_checkpoint_intact() {
    let world = World::new(PROGRAM);
    world.run(&command_line("reference", &SETTINGS)).succeeds();
    stopped(&world, "out");
    let before = checkpoints(&world.path("out"));
    let limited = |args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -f 64; exec \"$0\" \"$@\"", PROGRAM]).args(args);
        ProgramOutput::new(command.current_dir(world.path("")).output().expect("run"))
    };
    let run = limited(&["finetune", "--resume", "out"]);
    run.fails(1, &["cannot write", "checkpoints/step-", "resume with l2sp finetune --resume out"]);
    assert_eq!(checkpoints(&world.path("out")), before);
    assert!(!was_writing(&world.path("out")), "nothing half-written is left");
    world.run(&["finetune", "--resume", "out"]).succeeds();
    assert_same(&world, "reference", "out");

    let run = limited(&command_line("new", &SETTINGS));
    run.fails(1, &["checkpoints/step-1.checkpoint", "--resume new"]);
    world.run(&["finetune", "--resume", "new"]).succeeds();
    assert_same(&world, "reference", "new");
}

#[test]
fn a_folder_that_disappears_is_named() {
    let world = World::new(PROGRAM);
    let more = ["--epochs", "100000", "--dashboard", "off"];
    let mut child = world.command(&command_line("out", &more)).spawn().expect("started");
    wait_for_a_step(&mut child, &world.path("out/metrics.jsonl"));
    fs::rename(world.path("out"), world.path("gone")).expect("renamed");
    let run = ProgramOutput::of(child);
    run.fails(1, &["out/checkpoints", "--resume out"]);
    assert!(!world.path("out").exists());
    // The moved folder contains everything written so far.
    let run = world.run(&["finetune", "--resume", "gone", "--epochs", "7"]);
    run.fails(2, &["epochs: 100000 then, 7 now"]);
}

#[test]
fn a_second_run_into_the_same_folder_is_refused() {
    let world = World::new(PROGRAM);
    let more = ["--epochs", "100000", "--dashboard", "off"];
    let mut first = world.command(&command_line("out", &more)).spawn().expect("started");
    wait_for_a_step(&mut first, &world.path("out/metrics.jsonl"));
    for args in [
        command_line("out", &SETTINGS),
        command_line("out", &["--overwrite"]),
        vec!["finetune", "--resume", "out"],
    ] {
        world.run(&args).fails(1, &["another process is writing into out"]);
    }
    signal(&first, "-TERM");
    let run = ProgramOutput::of(first);
    run.fails(143, &["stopped after step"]);
}

#[test]
fn resume_without_a_folder_takes_the_latest_run() {
    let world = World::new(PROGRAM);
    let more = ["--epochs", "1", "--dashboard", "off"];
    let base = ["finetune", "--model", "model", "--data", "data", "--max-length", "40"];
    let finetune = [&base[..], &more].concat();
    world.run(&["finetune", "--resume"]).fails(1, &["no run to resume in runs"]);
    for folder in ["runs/0001", "runs/0002"] {
        let run = world.run(&finetune).succeeds();
        assert!(run.stdout.contains(&format!("model in {folder}/model")), "{}", run.stdout);
    }
    fs::remove_file(world.path("runs/0002/summary.json")).expect("removed");
    world.run(&["finetune", "--resume"]).succeeds();
    assert_eq!(world.json("runs/0002/summary.json")["finished"], true);
    assert!(!world.path("runs/0003").exists());
}
