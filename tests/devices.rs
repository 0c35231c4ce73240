//! The choice of a device by a user, and complete runs on every usable device.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::sync::Mutex;
use std::time::Duration;

use l2sp::device;
use serde_json::Value;
use tests::devices;
use tests::world::{ProgramOutput, World};

/// The built program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_l2sp");

/// Held by the tests that train. Runs at the same time would tune the kernels of a GPU in the same cache, and then not compute
/// with the same kernels as runs after them.
static TRAINING: Mutex<()> = Mutex::new(());

#[test]
fn an_unusable_device_is_refused_with_advice() {
    let world = World::new(PROGRAM);
    world.finetune("out", &["--device", "gpu"]).fails(
        2,
        &["unknown device gpu; the devices are cuda, rocm,", "tch:cuda, tch:mps, cpu, tch,"],
    );
    world
        .finetune("out", &["--device", "cpu,cuda:0"])
        .fails(2, &["cpu and cuda:0 are of different kinds"]);
    let nine = ["cpu"; 9].join(",");
    world.finetune("out", &["--device", &nine]).fails(2, &["--batch-size must be at least 9"]);
    for kind in device::not_compiled_in() {
        let parts =
            [&*format!("this program was built without {}", kind.name()), &*kind.build_command()];
        world.finetune("out", &["--device", kind.name()]).fails(2, &parts);
    }
    for (kind, found) in device::devices() {
        match found {
            Err(reason) => {
                world
                    .finetune("out", &["--device", kind.name()])
                    .fails(1, &[&format!("there is no {}", kind.name()), &reason]);
            }
            Ok(devices) if devices[0].name.to_string().ends_with(":0") => {
                let beyond = format!("{}:{}", kind.name(), devices.len());
                world
                    .finetune("out", &["--device", &beyond])
                    .fails(1, &[&format!("there is no {beyond}: there")]);
            }
            Ok(_) => {}
        }
    }
    assert!(!world.path("out").exists(), "nothing was begun");
}

#[test]
fn all_kinds_of_devices_are_listed() {
    let listed = World::empty(PROGRAM).run(&["devices"]).succeeds().stdout;
    for (kind, ..) in l2sp::device::KINDS {
        let mut lines = listed.lines();
        assert!(lines.any(|line| line.starts_with(kind.name())), "{}: {listed}", kind.name());
    }
    for device in devices() {
        let line = format!("{device}: usable");
        assert!(listed.lines().any(|listed| listed.starts_with(&line)), "{line}: {listed}");
    }
}

#[test]
fn the_device_is_printed_and_recorded() {
    let world = World::new(PROGRAM);
    let best = device::choose(None, albert::Precision::Float32).expect("a device");
    let run = world.finetune("out", &["--dashboard", "plain", "--max-steps", "1"]).succeeds();
    let first = format!("device {best}, fp32; output out\n");
    assert!(run.stderr.starts_with(&first), "{}", run.stderr);
    let config = std::fs::read_to_string(world.path("out/config.toml")).expect("read");
    assert!(config.contains(&format!("device = \"{}\"", best.name)), "{config}");
}

#[test]
fn the_precision_that_auto_stands_for_is_recorded_and_kept() {
    let world = World::new(PROGRAM);
    let best = device::choose(None, albert::Precision::Float32).expect("a device");
    let precision = device::PrecisionName::Auto.on(std::slice::from_ref(&best)).name();
    let auto = ["--precision", "auto"];
    let arguments = [&["--dashboard", "plain", "--max-steps", "1"][..], &auto].concat();
    let run = world.finetune("out", &arguments).succeeds();
    assert!(run.stderr.starts_with(&format!("device {best}, {precision};")), "{}", run.stderr);
    let config = std::fs::read_to_string(world.path("out/config.toml")).expect("read");
    assert!(config.contains(&format!("precision = \"{precision}\"")), "{config}");
    let resume = ["finetune", "--resume", "out", "--precision"];
    world.run(&[&resume[..], &["auto"]].concat()).succeeds();
    world.run(&[&resume[..], &["fp16"]].concat()).fails(2, &["precision"]);
}

/// Losses and predictions on each device agree with those on the first. On the same device they are the same bit for bit,
/// even if the run was killed and resumed.
#[test]
fn a_run_is_the_same_run_on_every_device() {
    let _training = TRAINING.lock();
    let world = World::new(PROGRAM);
    let mut first: Option<(Vec<Value>, Vec<f64>)> = None;
    for device in devices() {
        let name = device.name.to_string();
        let folder = name.replace(':', "-");
        let again = format!("{folder}-again");
        // An emulated GPU takes a second to compile each kernel, and batches of other lengths need other kernels.
        let padding = if device.is_software { "max-length" } else { "longest" };
        // Without dropout, because each backend has a different random number generator.
        let finetune = |output| {
            let all = ["--device", &name, "--model", "model-without-dropout", "--data", "data"];
            let sizes = ["--batch-size", "8", "--max-length", "40", "--learning-rate", "5e-3"];
            let end = ["--checkpoint-every", "1", "--dashboard", "off", "--output", output];
            let padding = ["--padding", padding];
            world.command(&[&["finetune"][..], &all, &sizes, &padding, &end].concat())
        };
        if first.is_none() {
            let config = albert::ModelConfig {
                hidden_dropout_prob: 0.0,
                attention_probs_dropout_prob: 0.0,
                classifier_dropout_prob: Some(0.0),
                ..tests::world::config()
            };
            world.write_model("model-without-dropout", &config);
        }
        ProgramOutput::of(finetune(&folder).spawn().expect("started")).succeeds();
        let metrics = world.metrics(&folder);
        let mut child = finetune(&again).spawn().expect("started");
        let checkpoint = world.path(&again).join("checkpoints/step-2.checkpoint");
        while !checkpoint.exists() && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("killed");
        child.wait().expect("a child");
        world.run(&["finetune", "--resume", &again]).succeeds();
        assert_eq!(world.metrics(&again), metrics, "{device}: the same bits");

        let predict = ["predict", "--device", &name, "--model", &folder, "--input", "data/dev.tsv"];
        let predictions = probabilities(world.run(&predict).succeeds());
        match &first {
            None => first = Some((metrics, predictions)),
            Some((expected, probabilities)) => {
                for (actual, expected) in metrics.iter().zip(expected) {
                    for key in ["loss", "eval_loss", "grad_norm", "distance"] {
                        let Some(expected) = expected[key].as_f64() else { continue };
                        let actual = actual[key].as_f64().expect("a number");
                        let error = (actual - expected).abs() / expected.abs().max(1e-3);
                        assert!(error < 1e-3, "{device}: {key} {actual} instead of {expected}");
                    }
                }
                let worst = predictions.iter().zip(probabilities).map(|(a, b)| (a - b).abs());
                assert!(worst.fold(0.0, f64::max) < 1e-3, "{device}");
            }
        }
    }
}

/// With two devices a batch is cut in two, which is what gradient accumulation does with batches of half the size. Also
/// where the last batch of an epoch is smaller, and with dropout. (Not on an emulated GPU, which is slow.)
#[test]
fn several_devices_give_the_result_of_gradient_accumulation() {
    let _training = TRAINING.lock();
    let world = World::new(PROGRAM);
    for device in devices().into_iter().filter(|device| !device.is_software) {
        let name = device.name.to_string();
        let finetune = |output: &str, device: &str, args: &[&str]| {
            let all = ["--device", device, "--model", "model", "--data", "data"];
            let sizes = ["--max-length", "40", "--learning-rate", "5e-3", "--max-examples", "22"];
            let end = ["--epochs", "2", "--dashboard", "off", "--output", output];
            world.run(&[&["finetune"][..], &all, &sizes, &end, args].concat()).succeeds();
            // Evaluations differ in their last digits, because they have batches of the same size as training.
            let mut steps = world.metrics(output);
            steps.retain(|record| record["loss"].is_f64());
            let model = world.path(output).join("model/model.safetensors");
            (steps, std::fs::read(model).expect("a model"))
        };
        let (folder, several) = (name.replace(':', "-"), format!("{name},{name}"));
        let on_one = ["--batch-size", "4", "--gradient-accumulation", "2"];
        let one = finetune(&format!("{folder}-one"), &name, &on_one);
        let two = finetune(&format!("{folder}-two"), &several, &["--batch-size", "8"]);
        assert_eq!(one.0.len(), 6);
        assert!(one == two, "{device}: two devices and gradient accumulation differ");
        let config = std::fs::read_to_string(world.path(&format!("{folder}-two/config.toml")));
        assert!(config.expect("read").contains(&format!("device = \"{several}\"")));
    }
}

/// On XLA graphs are compiled in the first steps and the first evaluation, and never again: not in a longer run, nor for the
/// smaller last batch of an epoch or of an evaluation.
#[cfg(feature = "xla")]
#[test]
fn the_number_of_graphs_on_xla_depends_on_the_lengths_alone() {
    let _training = TRAINING.lock();
    let world = World::new(PROGRAM);
    let graphs = |output: &str, args: &[&str]| -> usize {
        let all = ["finetune", "--device", "xla", "--model", "model", "--data", "data"];
        // A learning rate that in no step equals ε, 1 − β₂ or another number, not even after multiplication with λ₁.
        let sizes = ["--max-length", "40", "--learning-rate", "3.7e-3", "--dashboard", "plain"];
        let rest = [&sizes[..], &["--output", output]].concat();
        let stderr = world.run(&[&all[..], &rest, args].concat()).succeeds().stderr;
        let count = stderr.lines().find_map(|line| line.strip_prefix("compiled ")?.split_once(' '));
        count.expect("the number of graphs").0.parse().expect("a number")
    };
    let one_length = graphs("short", &["--batch-size", "8", "--max-steps", "3"]);
    assert_eq!(graphs("long", &["--batch-size", "8", "--max-steps", "9"]), one_length);
    assert_eq!(graphs("smaller-last", &["--batch-size", "7"]), one_length);
    // 16, 32 and 40 tokens.
    let three = graphs("multiples", &["--batch-size", "8", "--padding", "multiple-of-16"]);
    assert!((one_length..=3 * one_length).contains(&three), "{three}");
}

fn probabilities(run: ProgramOutput) -> Vec<f64> {
    let rows = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    rows.map(|row| row["probabilities"]["entailment"].as_f64().expect("a number")).collect()
}
