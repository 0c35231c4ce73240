//! The command line: the program run on a generated model folder and data.
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::process::Command;

use albert::ModelConfig;
use safetensors::SafeTensors;
use serde_json::Value;
use tests::world::{
    ENTAILED, NOT_ENTAILED, ProgramOutput, World, config, of_type, tsv, wait_for_a_step,
};
use tests::{Arrays, own_cases};

/// The built program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_l2sp");

#[test]
fn the_help_matches_its_snapshot() {
    let world = World::empty(PROGRAM);
    for command in [
        "",
        "finetune",
        "evaluate",
        "predict",
        "study",
        "study init",
        "study run",
        "fetch",
        "devices",
        "completions",
        "man",
        "schema",
        "report",
        "pretrain",
    ] {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let name = if command.is_empty() { "help".to_owned() } else { command.replace(' ', "-") };
        insta::assert_snapshot!(name, world.run(&args).succeeds().stdout);
    }
}

/// docs/from-trainer.md names flags of `finetune` and, in the last column of its tables, commands as well.
#[test]
fn the_flags_in_the_page_for_users_of_trainer_exist() {
    let world = World::empty(PROGRAM);
    let help = world.run(&["finetune", "--help"]).succeeds().stdout;
    // A flag stands at the start of its line; its name ends at a space, at [=<BOOL>] or at the end of the line.
    let flags: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("      --"))
        .map(|line| line.split([' ', '[']).next().unwrap_or(line))
        .collect();
    let page = include_str!("../docs/from-trainer.md");
    let code = |text: &'static str| text.split('`').skip(1).step_by(2);
    let mut count = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let here = row.trim_end_matches(" |").rsplit(" | ").next().expect("a column");
        for words in code(here).map(|code| code.split_whitespace().collect::<Vec<_>>()) {
            if let ["l2sp", command @ ..] = words.as_slice() {
                let command = command.iter().filter(|word| !word.starts_with("--"));
                let args: Vec<&str> = command.copied().chain(["--help"]).collect();
                world.run(&args).succeeds();
            }
            for flag in words.iter().filter_map(|word| word.strip_prefix("--")) {
                assert!(flags.contains(&flag), "--{flag} in: {row}");
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count} flags");
    // In running text as well.
    for flag in code(page).flat_map(str::split_whitespace).filter_map(|it| it.strip_prefix("--")) {
        assert!(flags.contains(&flag), "--{flag}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let world = World::empty(PROGRAM);
    world.run(&["finetun"]).fails(2, &["finetun"]);
    world.run(&["finetune", "--epoch", "x"]).fails(2, &["--epoch"]);
    world.run(&["pretrain"]).fails(2, &["--output"]);
    world.run(&["pretrain", "--output", "p", "--steps", "0"]).fails(2, &["--steps"]);
    world.run(&["predict", "--model", "m"]).fails(2, &["--text, or --premise"]);
    world.run(&["predict", "--model", "m", "--premise", "p"]).fails(2, &["--hypothesis"]);
    fs::write(world.path("new.csv"), "sentence1,sentence2\na,b\n").expect("written");
    world
        .run(&["predict", "--model", "m", "--input", "new.csv", "--output", "./new.csv"])
        .fails(2, &["--output would replace --input"]);
    world.run(&["finetune", "--seed", "18446744073709551615"]).fails(2, &["--seed <NUMBER>"]);
    world
        .run(&["finetune", "--model", "m", "--data", "d", "--beta-2", "1", "--epsilon", "-1"])
        .fails(2, &["--beta-2 is 1", "--epsilon is -1"]);
    world
        .run(&["finetune", "--model", "m", "--data", "d", "--dashboard", "tui"])
        .fails(2, &["--dashboard tui needs a terminal"]);
}

#[test]
fn a_run_writes_all_files_of_its_folder() {
    let world = World::new(PROGRAM);
    let run = world.finetune("out", &["--dashboard", "plain"]).succeeds();
    assert!(run.stdout.starts_with("accuracy "), "{}", run.stdout);
    assert!(run.stderr.contains("classifier.bias, classifier.weight"), "{}", run.stderr);
    assert!(run.stderr.contains("step 9/9") && run.stderr.contains("ETA"), "{}", run.stderr);

    // Three steps and an evaluation, three times.
    let metrics = world.metrics("out");
    assert_eq!(metrics.len(), 12);
    for (index, line) in metrics.iter().enumerate() {
        let keys: Vec<&str> =
            line.as_object().expect("an object").keys().map(String::as_str).collect();
        if index % 4 == 3 {
            assert_eq!(keys, ["epoch", "eval_accuracy", "eval_loss", "step"]);
            assert_eq!(line["epoch"], index / 4 + 1);
        } else {
            assert_eq!(keys, ["distance", "epoch", "grad_norm", "learning_rate", "loss", "step"]);
            assert_eq!(line["step"], index - index / 4 + 1);
        }
    }
    assert_eq!(metrics[0]["learning_rate"], 0.0);
    assert_eq!(metrics[0]["distance"], 0.0, "the first step's rate is 0");
    assert!(metrics[1]["distance"].as_f64() > Some(0.0));

    let summary = world.json("out/summary.json");
    assert_eq!(summary["eval_accuracy"], metrics[11]["eval_accuracy"]);
    assert_eq!(summary["eval_loss"], metrics[11]["eval_loss"]);
    let accuracy = summary["eval_accuracy"].as_f64().expect("a number");
    assert_eq!(summary["failed"], accuracy <= 0.5);
    assert!(summary["best_eval_accuracy"].as_f64() >= Some(accuracy));
    assert!(summary["train_seconds"].as_f64() > Some(0.0));
    assert!(summary["examples_per_second"].as_f64() > Some(0.0));

    let saved = world.json("out/model/config.json");
    assert_eq!(saved["id2label"]["0"], "entailment");
    assert_eq!(saved["label2id"]["not_entailment"], 1);
    assert_eq!(saved["architectures"][0], "AlbertForSequenceClassification");
    assert_eq!(world.json("out/model/tokenizer_config.json")["model_max_length"], 40);
    let names: Vec<_> = fs::read_dir(world.path("out")).expect("read").flatten().collect();
    assert_eq!(
        names.len(),
        7,
        "nothing but config, metrics, summary, predictions, model, checkpoints and the lock: {names:?}"
    );

    // config.toml makes the same run again.
    let again = ["finetune", "--config", "out/config.toml", "--output", "again"];
    world.run(&again).succeeds();
    assert_eq!(world.metrics("again"), metrics);
}

#[test]
fn a_model_has_a_card() {
    let world = World::new(PROGRAM);
    world.finetune("out", &["--keep", "best", "--eval-every", "1"]).succeeds();
    let card = fs::read_to_string(world.path("out/model/README.md")).expect("a card");
    let summary = world.json("out/summary.json");
    let accuracy = summary["best_eval_accuracy"].as_f64().expect("a number");
    for part in [
        "---\nlibrary_name: transformers\npipeline_tag: text-classification\n".to_owned(),
        format!("    - type: accuracy\n      value: {accuracy}\n"),
        format!("after {} steps", summary["best_step"]),
        "(24 examples)".into(),
        "| `learning-rate` | 0.005 |".into(),
        "| `model` | model |".into(),
    ] {
        assert!(card.contains(&part), "{part}\n{card}");
    }
    assert!(!card.contains(world.path("").to_str().expect("UTF-8")), "{card}");
    // The weights that a diverged run keeps were not evaluated.
    world.finetune("diverged", &["--learning-rate", "1e30", "--warmup-ratio", "0"]).fails(1, &[]);
    let card = fs::read_to_string(world.path("diverged/model/README.md")).expect("a card");
    assert!(!card.contains("model-index"), "{card}");
}

#[test]
fn metrics_are_logged_in_other_formats() {
    let world = World::new(PROGRAM);
    world.finetune("plain", &[]).succeeds();
    assert!(!world.path("plain/tensorboard").exists() && !world.path("plain/metrics.csv").exists());
    world.finetune("out", &["--log", "tensorboard,csv"]).succeeds();
    let metrics = world.metrics("out");
    assert_eq!(metrics, world.metrics("plain"), "a log does not change a run");
    let rows = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(world.path("out").join(name)).expect("read");
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
        let row = |line: &str| {
            let values = line
                .split(',')
                .map(|value| serde_json::from_str::<Value>(value).expect("a number"));
            names.iter().map(|name| (*name).to_owned()).zip(values).collect::<Value>()
        };
        lines.map(row).collect()
    };
    let is_evaluation = |line: &&Value| line.get("eval_loss").is_some();
    let (evaluations, steps): (Vec<&Value>, Vec<&Value>) = metrics.iter().partition(is_evaluation);
    assert_eq!(rows("metrics.csv").iter().collect::<Vec<_>>(), steps);
    assert_eq!(rows("evaluations.csv").iter().collect::<Vec<_>>(), evaluations);
    let events = fs::metadata(world.path("out/tensorboard/events.out.tfevents.l2sp"));
    assert!(events.expect("an event file").len() > 12 * 100);

    // They are those of the run, and replaced with it.
    world.finetune("out", &["--overwrite"]).succeeds();
    for name in ["tensorboard", "metrics.csv", "evaluations.csv"] {
        assert!(!world.path("out").join(name).exists(), "{name}");
    }
    world.finetune("x", &["--log", "wandb"]).fails(2, &["wandb", "tensorboard, csv"]);
}

#[test]
fn every_shell_and_every_command_is_provided_for() {
    let world = World::empty(PROGRAM);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = world.run(&["completions", shell]).succeeds().stdout;
        for word in ["finetune", "learning-rate", "tensorboard"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    fs::write(world.path("l2sp.bash"), world.run(&["completions", "bash"]).succeeds().stdout)
        .expect("written");
    let complete = "source l2sp.bash; COMP_WORDS=(l2sp finetune --sched); COMP_CWORD=2; _l2sp l2sp --sched finetune; \
                    echo \"${COMPREPLY[@]}\"";
    let bash = Command::new("bash").args(["-c", complete]).current_dir(world.path("")).output();
    let completed = String::from_utf8(bash.expect("bash").stdout).expect("UTF-8");
    assert_eq!(completed.trim(), "--schedule");
    world.run(&["completions", "tcsh"]).fails(2, &["tcsh"]);

    let page = world.run(&["man"]).succeeds().stdout;
    let commands = [
        "finetune",
        "evaluate",
        "predict",
        "study",
        "fetch",
        "devices",
        "completions",
        "man",
        "schema",
        "pretrain",
        "report",
    ];
    for command in commands {
        assert!(page.contains(&format!("l2sp\\-{command}(1)")), "{command}\n{page}");
        let page = world.run(&["man", command]).succeeds().stdout;
        assert!(page.starts_with(".") && page.contains(&format!("l2sp\\-{command} ")), "{page}");
    }
    let page = world.run(&["man", "study", "run"]).succeeds().stdout;
    assert!(page.contains("l2sp\\-study\\-run"), "{page}");
    world.run(&["man", "finetun"]).fails(2, &["finetun", "finetune, evaluate"]);
}

#[test]
fn runs_are_reported_side_by_side() {
    let world = World::new(PROGRAM);
    world.finetune("one", &["--epochs", "1"]).succeeds();
    world.finetune("other", &["--optimizer", "adamw"]).succeeds();
    // As if the run were still going on.
    fs::remove_file(world.path("other/summary.json")).expect("removed");
    let run = world.run(&["report", "one", "other", "--output", "page.html"]).succeeds();
    assert_eq!(run.stdout.trim(), "report in page.html");
    let page = fs::read_to_string(world.path("page.html")).expect("a page");
    let summary = world.json("one/summary.json");
    let accuracy = summary["eval_accuracy"].as_f64().expect("a number");
    for part in [
        format!("<td>{}</td><td>{accuracy:.4}</td>", summary["steps"]),
        "<td class=\"text\">other</td><td class=\"text\">not finished</td>".into(),
        "<td class=\"text\">optimizer</td><td class=\"text\">adamw-l2sp</td><td class=\"text\">adamw</td>".into(),
        "<h3>Training loss</h3>\n<svg".into(),
    ] {
        assert!(page.contains(&part), "{part}\n{page}");
    }
    world.run(&["report"]).fails(2, &["<RUN>"]);
    let replacing = ["report", "one", "--output", "one/config.toml"];
    world.run(&replacing).fails(2, &["one/config.toml: give the page a name in .html"]);
    world.run(&["report", "model"]).fails(1, &["config.toml"]);

    // Each run has its predictions, a page of a run without the file says so, and a damaged file is named.
    for part in ["<h2>Predictions of one</h2>", "<h2>Predictions of other</h2>"] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    fs::remove_file(world.path("one/predictions.jsonl")).expect("removed");
    world.run(&["report", "one"]).succeeds();
    let page = fs::read_to_string(world.path("report.html")).expect("a page");
    assert!(page.contains("<p>This run has no predictions.jsonl."), "{page}");
    let file = world.path("other/predictions.jsonl");
    let text = fs::read_to_string(&file).expect("read");
    fs::write(&file, text.replacen("\"idx\":1,", "\"idx\":", 1)).expect("written");
    world.run(&["report", "other"]).fails(1, &["other/predictions.jsonl, line 2: "]);
}

#[test]
fn a_report_shows_the_confusion_matrix_and_the_worst_predictions() {
    let world = World::empty(PROGRAM);
    world.run(&["finetune", "--max-steps", "2"]).succeeds();
    world.run(&["report", "runs/0001"]).succeeds();
    let page = fs::read_to_string(world.path("report.html")).expect("a page");

    let evaluate = ["evaluate", "--model", "runs/0001", "--data", "embedded", "--json"];
    let result: Value =
        serde_json::from_str(&world.run(&evaluate).succeeds().stdout).expect("JSON");
    for (label, counts) in ["entailment", "not_entailment"].iter().zip(rows(&result)) {
        let row = format!(
            "<td class=\"text\">{label}</td><td>{}</td><td>{}</td></tr>",
            counts[0], counts[1]
        );
        assert!(page.contains(&row), "{row}\n{page}");
    }
    let mut lines = world.predictions("runs/0001");
    assert_eq!(lines.len(), 277);
    let of_truth = |line: &Value| {
        let label = line["true_label"].as_str().expect("a name");
        line["probabilities"][label].as_f64().expect("a number")
    };
    lines.sort_by(|one, other| of_truth(one).total_cmp(&of_truth(other)));
    let mut rest = page.as_str();
    for line in &lines[..10] {
        let cells = ["text", "text_pair", "true_label", "label"]
            .map(|key| format!("<td class=\"text\">{}</td>", line[key].as_str().expect("text")));
        let row = format!("<tr>{}<td>{:.4}</td></tr>", cells.concat(), of_truth(line));
        let (_, after) = rest.split_once(&row).unwrap_or_else(|| panic!("{row}\n{rest}"));
        rest = after;
    }
    assert!(!rest.contains(lines[10]["text"].as_str().expect("text")), "{rest}");
}

/// The confusion matrix that `evaluate --json` prints.
fn rows(result: &Value) -> impl Iterator<Item = &Vec<Value>> {
    let rows = result["confusion_matrix"].as_array().expect("rows");
    rows.iter().map(|row| row.as_array().expect("counts"))
}

#[test]
fn the_same_seeds_give_the_same_bits() {
    let world = World::new(PROGRAM);
    let weights = |output: &str| {
        fs::read(world.path(output).join("model/model.safetensors")).expect("weights")
    };
    world.finetune("a", &["--dashboard", "off"]).succeeds();
    world.finetune("b", &["--dashboard", "off"]).succeeds();
    assert_eq!(world.metrics("a"), world.metrics("b"));
    assert_eq!(weights("a"), weights("b"));
    world.finetune("c", &["--seed", "1"]).succeeds();
    world.finetune("d", &["--data-seed", "1"]).succeeds();
    assert_ne!(world.metrics("a"), world.metrics("c"));
    assert_ne!(world.metrics("a"), world.metrics("d"));
}

#[test]
fn accumulated_batches_are_one_large_batch() {
    let world = World::new(PROGRAM);
    let calm =
        ModelConfig { hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0, ..config() };
    let calm = ModelConfig { classifier_dropout_prob: Some(0.0), ..calm };
    world.write_model("calm", &calm);
    // 24 examples in steps of 10: the last step of an epoch has 4.
    let run = |output: &str, extra: &[&str]| {
        let base = ["finetune", "--model", "calm", "--data", "data", "--max-length", "40"];
        let sizes = ["--learning-rate", "5e-3", "--output", output];
        world.run(&[&base[..], &sizes, extra].concat()).succeeds();
        world.metrics(output)
    };
    let single = run("single", &["--batch-size", "10"]);
    let parts = run("parts", &["--batch-size", "5", "--gradient-accumulation", "2"]);
    assert_eq!(parts.len(), single.len());
    for (a, b) in single.iter().zip(&parts) {
        for key in ["loss", "grad_norm", "distance", "learning_rate", "eval_loss"] {
            if let (Some(a), Some(b)) = (a[key].as_f64(), b[key].as_f64()) {
                assert!((a - b).abs() <= 2e-4 * a.abs().max(1e-3), "{key}: {a} {b}");
            }
        }
    }
}

#[test]
fn max_steps_shortens_a_run() {
    let world = World::new(PROGRAM);
    world.finetune("steps", &["--max-steps", "4"]).succeeds();
    let metrics = world.metrics("steps");
    let steps = metrics.iter().filter(|line| line.get("loss").is_some()).count();
    assert_eq!(steps, 4);
    // The schedule ends with the run.
    let rates: Vec<f64> =
        metrics.iter().filter_map(|line| line["learning_rate"].as_f64()).collect();
    assert_eq!(rates[0], 0.0);
    assert!((rates[3] - 5e-3 / 3.0).abs() < 1e-12, "{rates:?}");
    assert!(metrics.last().expect("a line").get("eval_accuracy").is_some());

    world.finetune("examples", &["--max-examples", "9", "--epochs", "1"]).succeeds();
    assert_eq!(world.metrics("examples").len(), 3);
}

#[test]
fn a_run_is_evaluated_at_an_interval_of_steps_and_at_its_end() {
    let world = World::new(PROGRAM);
    let run = world.finetune("out", &["--eval-every", "4", "--dashboard", "plain"]).succeeds();
    let metrics = world.metrics("out");
    let evaluations = metrics.iter().filter(|line| line.get("eval_loss").is_some());
    let number = |line: &Value, key: &str| line[key].as_u64().expect("a number");
    let evaluations: Vec<_> =
        evaluations.map(|line| (number(line, "step"), number(line, "epoch"))).collect();
    assert_eq!(evaluations, [(4, 2), (8, 3), (9, 3)]);
    for line in ["9 steps, evaluated every 4", "epoch 2/3  step 4/9  evaluated 8 examples"] {
        assert!(run.stderr.contains(line), "{line}: {}", run.stderr);
    }
    // Evaluations do not affect training.
    world.finetune("epochs", &[]).succeeds();
    let steps = |output: &str| {
        let metrics = world.metrics(output);
        metrics.into_iter().filter(|line| line.get("loss").is_some()).collect::<Vec<_>>()
    };
    assert_eq!(steps("out"), steps("epochs"));
}

#[test]
fn a_run_ends_when_its_metric_no_longer_improves() {
    let world = World::new(PROGRAM);
    // The weights do not change, so only the first evaluation is an improvement.
    let still = ["--learning-rate", "0", "--epochs", "9", "--patience", "2"];
    let run = world.finetune("out", &still).succeeds();
    assert!(run.stdout.contains("; stopped early, after step 9;"), "{}", run.stdout);
    let summary = world.json("out/summary.json");
    assert_eq!((&summary["finished"], &summary["stopped_early"]), (&true.into(), &true.into()));
    assert_eq!((&summary["steps"], &summary["best_step"]), (&9.into(), &3.into()));
    let run = world.run(&["finetune", "--resume", "out"]).succeeds();
    assert!(run.stdout.starts_with("nothing left to do"), "{}", run.stdout);

    world.finetune("patient", &["--patience", "3"]).succeeds();
    assert_eq!(world.json("patient/summary.json")["stopped_early"], false);
    assert_eq!(world.json("patient/summary.json")["steps"], 9);
    world
        .finetune("x", &["--patience", "0", "--eval-every", "0"])
        .fails(2, &["--patience", "--eval-every"]);
}

#[test]
fn the_best_weights_can_be_kept() {
    let world = World::new(PROGRAM);
    // The accuracy reaches 1 before the last epoch, and the loss still falls afterwards.
    let settings = ["--epochs", "8", "--learning-rate", "0.02"];
    let last = world.finetune("last", &settings).succeeds();
    assert!(last.stdout.contains("; last model in last/model"), "{}", last.stdout);
    let best = world.finetune("best", &[&settings[..], &["--keep", "best"]].concat()).succeeds();
    assert_eq!(world.metrics("best"), world.metrics("last"));

    let summary = world.json("best/summary.json");
    let evaluations = world.metrics("best");
    let evaluations: Vec<_> =
        evaluations.iter().filter(|line| line.get("eval_accuracy").is_some()).collect();
    let accuracy = |line: &Value| line["eval_accuracy"].as_f64().expect("a number");
    let highest = evaluations.iter().map(|line| accuracy(line)).fold(0.0, f64::max);
    let first = evaluations.iter().find(|line| accuracy(line) == highest).expect("one");
    assert_ne!(first["step"], evaluations[evaluations.len() - 1]["step"]);
    assert_eq!(summary["best_step"], first["step"], "of equals the first");
    assert_eq!(summary["best_epoch"], first["epoch"]);
    let saved = format!("; best model (step {}) in best/model", first["step"]);
    assert!(best.stdout.contains(&saved), "{}", best.stdout);
    for (output, expected) in [("best", *first), ("last", evaluations[evaluations.len() - 1])] {
        let evaluate = ["evaluate", "--model", output, "--data", "data", "--json"];
        let result: Value =
            serde_json::from_str(&world.run(&evaluate).succeeds().stdout).expect("JSON");
        assert_eq!(result["eval_accuracy"], expected["eval_accuracy"]);
        let loss = |value: &Value| value["eval_loss"].as_f64().expect("a number");
        assert!((loss(&result) - loss(expected)).abs() < 1e-6);
        // predictions.jsonl is that of the same weights: what predict writes, and the examples.
        let predict = ["predict", "--model", output, "--input", "data/dev.tsv"];
        let predicted = world.run(&predict).succeeds().stdout;
        let predicted: Vec<Value> =
            predicted.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let lines = world.predictions(output);
        assert_eq!(lines.len(), predicted.len());
        let pairs = ENTAILED.map(|pair| (pair, "entailment")).into_iter();
        let pairs = pairs.chain(NOT_ENTAILED.map(|pair| (pair, "not_entailment")));
        for ((line, predicted), ((text, text_pair), label)) in
            lines.iter().zip(&predicted).zip(pairs)
        {
            assert_eq!((&line["idx"], &line["label"]), (&predicted["idx"], &predicted["label"]));
            let of = |line: &Value| line["probabilities"]["entailment"].as_f64().expect("a number");
            assert!((of(line) - of(predicted)).abs() < 1e-6, "{line} {predicted}");
            assert_eq!((&line["text"], &line["text_pair"]), (&text.into(), &text_pair.into()));
            assert_eq!(line["true_label"], label);
        }
        let right = lines.iter().filter(|line| line["label"] == line["true_label"]).count();
        assert_eq!(Some(right as f64 / 8.0), expected["eval_accuracy"].as_f64());
    }
    assert_ne!(world.predictions("best"), world.predictions("last"));
}

#[test]
fn the_validation_split_is_next_to_the_training_file() {
    let world = World::new(PROGRAM);
    world.finetune("folder", &["--max-steps", "1"]).succeeds();
    let base = ["finetune", "--model", "model", "--batch-size", "8", "--max-length", "40"];
    let more = ["--learning-rate", "5e-3", "--data", "data/train.tsv", "--output", "file"];
    world.run(&[&base[..], &more, &["--max-steps", "1"]].concat()).succeeds();
    assert_eq!(world.metrics("file"), world.metrics("folder"));
}

#[test]
fn adamw_pulls_to_zero_and_l2sp_to_the_start() {
    let world = World::new(PROGRAM);
    let distance = |output: &str, args: &[&str]| {
        world.finetune(output, args).succeeds();
        let metrics = world.metrics(output);
        metrics.iter().rev().find_map(|line| line["distance"].as_f64()).expect("a distance")
    };
    let free = distance("free", &["--source-decay", "0"]);
    let held = distance("held", &["--source-decay", "50"]);
    let adamw = distance("adamw", &["--optimizer", "adamw"]);
    let shrunk = distance("shrunk", &["--optimizer", "adamw", "--weight-decay", "50"]);
    assert!(held < 0.9 * free, "{held} {free}");
    assert!((adamw - free).abs() < 1e-9, "without decay they are one: {adamw} {free}");
    assert!(shrunk > 1.1 * free, "{shrunk} {free}");
}

#[test]
fn bias_correction_can_be_left_out() {
    let world = World::new(PROGRAM);
    world.finetune("corrected", &[]).succeeds();
    world.finetune("original", &["--no-bias-correction"]).succeeds();
    let config = |output: &str| {
        fs::read_to_string(world.path(output).join("config.toml")).expect("a configuration")
    };
    assert!(!config("corrected").contains("bias-correction"));
    assert!(config("original").contains("bias-correction = false\n"));
    // At the second step, the first with a rate above 0, the uncorrected m/√v is (1−β₁²)/√(1−β₂²) times as large.
    let distance = |output: &str| world.metrics(output)[1]["distance"].as_f64().expect("a number");
    let ratio = distance("original") / distance("corrected");
    assert!((3.0..5.0).contains(&ratio), "{ratio}");
    let again = ["finetune", "--config", "original/config.toml", "--output", "again"];
    world.run(&again).succeeds();
    assert_eq!(world.metrics("again"), world.metrics("original"));
}

#[test]
fn a_total_pull_stands_for_the_decay_that_adds_up_to_it() {
    let world = World::new(PROGRAM);
    // 9 steps with a mean rate of half the peak, 5e-3, so Ση is 0.0225.
    let run = world.finetune("pulled", &["--total-pull", "0.45", "--dashboard", "plain"]);
    let line = "λ₁ 20, Σηλ₁ 0.45 (weights without a gradient would return 37 % of the way)";
    let run = run.succeeds();
    assert!(run.stderr.contains(line), "{}", run.stderr);
    world.finetune("decayed", &["--source-decay", "20"]).succeeds();
    let last = |output: &str| {
        let metrics = world.metrics(output);
        metrics.iter().rev().find_map(|line| line["distance"].as_f64()).expect("a distance")
    };
    assert!((last("pulled") / last("decayed") - 1.0).abs() < 1e-5);
    world.run(&["finetune", "--resume", "pulled"]).succeeds();
    world
        .finetune("both", &["--total-pull", "0.1", "--source-decay", "1"])
        .fails(2, &["--source-decay", "--total-pull"]);
    world
        .finetune("none", &["--total-pull", "0.1", "--learning-rate", "0"])
        .fails(2, &["--total-pull has no effect"]);
    world
        .finetune("none", &["--total-pull", "10"])
        .fails(2, &["--total-pull 10 is too strong for 9 steps", "use at most 4.5"]);
    assert!(!world.path("none").exists());
}

#[test]
fn the_embedded_model_and_task_need_no_files() {
    let world = World::empty(PROGRAM);
    let run = world.run(&["finetune", "--max-steps", "2"]).succeeds();
    assert!(run.stderr.contains("2490 training and 277 validation examples"), "{}", run.stderr);
    let config = fs::read_to_string(world.path("runs/0001/config.toml")).expect("read");
    assert!(config.contains("model = \"embedded\"\ndata = \"embedded\"\n"), "{config}");
    let evaluate = ["evaluate", "--model", "runs/0001", "--data", "embedded", "--split", "test"];
    let run = world.run(&evaluate).succeeds();
    assert!(run.stdout.contains("of 3000"), "{}", run.stdout);
    let pair = ["--premise", "All dogs slept.", "--hypothesis", "Some dogs slept."];
    world.run(&[&["predict", "--model", "runs/0001"][..], &pair].concat()).succeeds();
}

#[test]
fn the_default_command_is_finetune() {
    let world = World::empty(PROGRAM);
    let mut child = world.command(&[]).spawn().expect("started");
    let metrics = world.path("runs/0001/metrics.jsonl");
    wait_for_a_step(&mut child, &metrics);
    child.kill().expect("killed");
    let run = ProgramOutput::of(child);
    assert!(run.stderr.starts_with("no command given: running `finetune`"), "{}", run.stderr);
}

#[test]
fn the_embedded_model_and_task_combine_with_files() {
    let world = World::new(PROGRAM);
    let steps = ["--max-steps", "1", "--max-length", "40"];
    let finetune = |model: &[&str], output: &str| {
        world.run(&[&["finetune"][..], model, &steps, &["--output", output]].concat())
    };
    finetune(&["--model", "model", "--data", "embedded"], "a").succeeds();
    finetune(&["--model", "embedded", "--data", "data"], "b").succeeds();
    finetune(&["--model", "embedded", "--max-length", "200"], "c").fails(2, &["--max-length"]);
    finetune(&["--model", "embedded", "--max-examples", "40", "--overwrite"], "b").succeeds();
    world
        .run(&["evaluate", "--model", "embedded", "--data", "embedded"])
        .fails(1, &["the bundled model is not fine-tuned: run `l2sp finetune` first"]);
    world
        .run(&["predict", "--model", "a", "--input", "embedded"])
        .fails(1, &["cannot read embedded"]);
}

#[test]
fn pretraining_is_reproducible() {
    let world = World::empty(PROGRAM);
    let pretrain = |output: &str, seed: &str| {
        let sizes = ["--steps", "3", "--batch-size", "8", "--seed", seed];
        world.run(&[&["pretrain", "--output", output][..], &sizes].concat()).succeeds();
        fs::read(world.path(output).join("model.safetensors")).expect("weights")
    };
    let weights = pretrain("a", "1");
    assert_eq!(weights, pretrain("b", "1"));
    assert_ne!(weights, pretrain("c", "2"));
    assert_eq!(world.metrics("a").len(), 1);
    world.run(&["pretrain", "--output", "a"]).fails(1, &["a is not empty", "--overwrite"]);
    let args = ["finetune", "--model", "a", "--max-steps", "1", "--output", "d"];
    world.run(&args).succeeds();
}

#[test]
fn evaluate_and_predict_read_the_output_of_finetune() {
    let world = World::new(PROGRAM);
    world.finetune("out", &["--epochs", "8"]).succeeds();
    let summary = world.json("out/summary.json");

    // The output folder or the model in it; the length is the one of the fine-tuning.
    for model in ["out", "out/model"] {
        let run = world.run(&["evaluate", "--model", model, "--data", "data", "--json"]).succeeds();
        let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
        assert_eq!(result["eval_accuracy"], summary["eval_accuracy"]);
        let (a, b) = (result["eval_loss"].as_f64(), summary["eval_loss"].as_f64());
        assert!((a.expect("a loss") - b.expect("a loss")).abs() < 1e-6);
        assert_eq!(result["examples"], 8);
    }
    let run = world.run(&["evaluate", "--model", "out", "--data", "data/train.tsv"]).succeeds();
    assert!(run.stdout.starts_with("accuracy ") && run.stdout.contains("of 24"), "{}", run.stdout);
    world
        .run(&["evaluate", "--model", "out", "--data", "data", "--split", "test"])
        .fails(1, &["test.tsv", "label"]);

    let (premise, hypothesis) = ENTAILED[0];
    let one = world
        .run(&["predict", "--model", "out", "--premise", premise, "--hypothesis", hypothesis])
        .succeeds();
    let first: Value = serde_json::from_str(&one.stdout).expect("one JSON object");
    let probabilities = first["probabilities"].as_object().expect("by label");
    let sum: f64 = probabilities.values().filter_map(Value::as_f64).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    let label = first["label"].as_str().expect("a name");
    assert!(probabilities.values().all(|other| other.as_f64() <= probabilities[label].as_f64()));

    // A file, standard input in both formats, and a written file agree.
    let predict = ["predict", "--model", "out", "--input"];
    let file = world.run(&[&predict[..], &["data/dev.tsv"]].concat()).succeeds().stdout;
    let rows: Vec<Value> =
        file.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 8);
    assert_eq!(rows[0]["label"], first["label"]);
    assert_eq!((&rows[7]["idx"], &rows[0]["idx"]), (&Value::from(7), &Value::from(0)));
    let stdin = world.run_with_input(&[&predict[..], &["-"]].concat(), &tsv(1, false)).succeeds();
    assert_eq!(stdin.stdout, file);
    let jsonl: String = ENTAILED
        .iter()
        .chain(&NOT_ENTAILED)
        .map(|(premise, hypothesis)| {
            format!("{}\n", serde_json::json!({ "premise": premise, "hypothesis": hypothesis }))
        })
        .collect();
    let stdin = world.run_with_input(&[&predict[..], &["-"]].concat(), &jsonl).succeeds();
    assert_eq!(stdin.stdout, file);
    let written =
        world.run(&[&predict[..], &["data/dev.tsv", "--output", "rows.jsonl"]].concat()).succeeds();
    assert_eq!(written.stdout, "");
    assert_eq!(fs::read_to_string(world.path("rows.jsonl")).expect("read"), file);
    let model_file =
        [&predict[..], &["data/dev.tsv", "--output", "out/model/config.json"]].concat();
    world.run(&model_file).fails(2, &["out/model/config.json is a file of the model"]);
    // The column of the labels does not matter.
    let odd = tsv(1, true).replace("\tentailment\n", "\t?\n");
    fs::write(world.path("odd.tsv"), odd).expect("written");
    assert_eq!(world.run(&[&predict[..], &["odd.tsv"]].concat()).succeeds().stdout, file);

    let glue =
        world.run(&[&predict[..], &["data/test.tsv", "--format", "glue"]].concat()).succeeds();
    let expected: String = std::iter::once("index\tprediction\n".to_string())
        .chain(
            rows.iter()
                .map(|row| format!("{}\t{}\n", row["idx"], row["label"].as_str().expect("a name"))),
        )
        .collect();
    assert_eq!(glue.stdout, expected);
}

#[test]
fn unusable_data_is_named_by_file_and_row() {
    let world = World::new(PROGRAM);
    let break_train =
        |text: String| fs::write(world.path("data/train.tsv"), text).expect("written");

    break_train(tsv(1, true).replacen("not_entailment", "neutral", 1));
    world.finetune("out", &[]).fails(1, &["train.tsv", "neutral", "6"]);
    break_train(tsv(1, true).replacen("\tnot_entailment\n", "\n", 1));
    world.finetune("out", &[]).fails(1, &["train.tsv", "6"]);
    break_train("index\tsentence1\tlabel\n0\ta\tentailment\n".into());
    world.finetune("out", &[]).fails(1, &["train.tsv", "sentence2"]);
    break_train("index\tsentence1\tsentence2\tlabel\n".into());
    world.finetune("out", &[]).fails(1, &["train.tsv"]);
    break_train(String::new());
    world.finetune("out", &[]).fails(1, &["train.tsv"]);
    fs::remove_file(world.path("data/train.tsv")).expect("removed");
    world.finetune("out", &[]).fails(1, &["train"]);
    assert!(!world.path("out").exists(), "nothing half-written");
}

#[test]
fn an_unusable_model_folder_is_named_by_file_and_key() {
    let world = World::new(PROGRAM);
    let finetune = |model: &str, args: &[&str]| {
        let base = ["finetune", "--model", model, "--data", "data", "--output", "out"];
        let sizes: &[&str] =
            if args.contains(&"--max-length") { &[] } else { &["--max-length", "40"] };
        world.run(&[&base[..], sizes, args].concat())
    };

    finetune("nowhere", &[]).fails(1, &["nowhere", "config.json"]);
    finetune("model", &["--max-length", "65"]).fails(1, &["65", "64"]);

    world.write_model("keyless", &config());
    let text = fs::read_to_string(world.path("keyless/config.json")).expect("read");
    let mut keys: Value = serde_json::from_str(&text).expect("JSON");
    keys.as_object_mut().expect("an object").remove("hidden_size");
    fs::write(world.path("keyless/config.json"), keys.to_string()).expect("written");
    finetune("keyless", &[]).fails(1, &["config.json", "hidden_size"]);
    keys["hidden_size"] = 33.into();
    fs::write(world.path("keyless/config.json"), keys.to_string()).expect("written");
    finetune("keyless", &[]).fails(1, &["config.json", "num_attention_heads"]);

    let small = ModelConfig { vocab_size: 100, ..config() };
    world.write_model("small", &small);
    finetune("small", &[]).fails(1, &["tokenizer.json", "100"]);

    let weights = world.path("model/model.safetensors");
    let intact = fs::read(&weights).expect("read");
    for length in [0, 4, 8, 100, intact.len() / 2, intact.len() - 1] {
        fs::write(&weights, &intact[..length]).expect("written");
        finetune("model", &[]).fails(1, &["model.safetensors"]);
    }
    fs::copy(own_cases().join("optim/plain/tensors.safetensors"), &weights).expect("copied");
    finetune("model", &[]).fails(1, &["model.safetensors", "word_embeddings.weight"]);
    fs::remove_file(&weights).expect("removed");
    finetune("model", &[]).fails(1, &["model.safetensors"]);
    fs::write(&weights, &intact).expect("written");

    fs::write(world.path("model/tokenizer.json"), "{}").expect("written");
    finetune("model", &[]).fails(1, &["tokenizer.json"]);
    assert!(!world.path("out").exists(), "nothing half-written");

    // A model that was never fine-tuned is refused.
    world.write_model("pretrained", &config());
    world
        .run(&["evaluate", "--model", "pretrained", "--data", "data", "--max-length", "40"])
        .fails(1, &["classifier.bias", "this model is not fine-tuned"]);
}

#[test]
fn a_non_empty_output_folder_is_left_unchanged() {
    let world = World::new(PROGRAM);
    world.finetune("out", &["--max-steps", "1"]).succeeds();
    let before = world.metrics("out");
    world.finetune("out", &["--max-steps", "2"]).fails(1, &["out", "--overwrite"]);
    assert_eq!(world.metrics("out"), before);
    world.finetune("out", &["--max-steps", "2", "--overwrite"]).succeeds();
    assert_ne!(world.metrics("out"), before);

    // Not a folder, and not writable even by root.
    fs::write(world.path("file"), "").expect("written");
    world.finetune("file", &[]).fails(1, &["file"]);
    world.finetune("file/below", &[]).fails(1, &["file/below"]);
}

#[test]
fn a_nan_stops_the_run_and_keeps_the_last_good_weights() {
    let world = World::new(PROGRAM);
    let run = world.finetune("out", &["--learning-rate", "1e30", "--warmup-ratio", "0"]);
    run.fails(1, &["step ", "smaller --learning-rate", "out/model"]);
    let steps = world.metrics("out");
    assert!(!steps.is_empty() && steps.iter().all(|line| line["loss"].is_f64()), "{steps:?}");
    let weights = world.path("out/model/model.safetensors");
    let arrays = Arrays::read(&weights);
    for name in arrays.names() {
        assert!(arrays.get(name).values.iter().all(|value| value.is_finite()), "{name}");
    }
    world.run(&["evaluate", "--model", "out", "--data", "data"]).succeeds();
    assert!(!world.path("out/predictions.jsonl").exists(), "these weights were not evaluated");
}

#[test]
fn an_interrupted_run_keeps_its_work() {
    let world = World::new(PROGRAM);
    let args = ["finetune", "--model", "model", "--data", "data", "--max-length", "40"];
    let more = ["--epochs", "100000", "--output", "out", "--dashboard", "off"];
    let mut child = world.command(&[&args[..], &more[..]].concat()).spawn().expect("started");
    let metrics = world.path("out/metrics.jsonl");
    wait_for_a_step(&mut child, &metrics);
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
    let run = ProgramOutput::of(child);
    run.fails(130, &["stopped after step", "out/model"]);
    let bytes = fs::read(world.path("out/model/model.safetensors")).expect("weights");
    SafeTensors::deserialize(&bytes).expect("a complete file");
    let summary = world.json("out/summary.json");
    let steps = world.metrics("out").iter().filter(|line| line.get("loss").is_some()).count();
    assert_eq!(summary["steps"], steps);
}

#[test]
fn a_broken_settings_file_is_named_with_its_line() {
    let world = World::new(PROGRAM);
    fs::write(world.path("run.toml"), "epochs = 1\nlearning-rat = 1.0\n").expect("written");
    let run = world.run(&["finetune", "--config", "run.toml"]);
    run.fails(2, &["run.toml", "line 2", "learning-rat"]);
    let run = world.run(&["finetune", "--config", "missing.toml"]);
    run.fails(1, &["missing.toml"]);
}

#[test]
fn a_flag_without_effect_is_refused() {
    let world = World::new(PROGRAM);
    world.finetune("out", &["--weight-decay", "0.1"]).fails(2, &["--weight-decay has no effect"]);
    let adamw = ["--optimizer", "adamw"];
    for flag in ["--source-decay", "--novel-decay"] {
        let refused = format!("{flag} has no effect with --optimizer adamw");
        world.finetune("out", &[&adamw[..], &[flag, "0.1"]].concat()).fails(2, &[&refused]);
    }
    world.finetune("out", &["--recipe", "rte-large"]).fails(2, &["--recipe has no effect"]);
    assert!(!world.path("out").exists());
}

#[test]
fn overwriting_never_deletes_an_input_or_a_foreign_file() {
    let world = World::new(PROGRAM);
    world.finetune("out", &["--max-steps", "1"]).succeeds();
    let again = |model: &str, data: &str| {
        let args = ["finetune", "--model", model, "--data", data, "--output", "out"];
        world.run(&[&args[..], &["--max-length", "40", "--max-steps", "1", "--overwrite"]].concat())
    };
    again("out/model", "data").fails(1, &["out/model is an input", "--output"]);
    again("out", "data").fails(1, &["out is an input"]);
    fs::rename(world.path("data"), world.path("out/data")).expect("moved");
    again("model", "out/data").fails(1, &["out/data is an input"]);
    fs::rename(world.path("out/data"), world.path("data")).expect("moved");
    fs::write(world.path("out/model/notes"), "mine").expect("written");
    again("model", "data").fails(1, &["out/model/notes would be replaced or removed"]);
    assert!(world.path("out/model/model.safetensors").exists(), "nothing was removed");
    fs::remove_file(world.path("out/model/notes")).expect("removed");
    again("model", "data").succeeds();
    let predict = ["predict", "--model", "out", "--input", "data/test.tsv"];
    world.run(&[&predict[..], &["--output", "out/predictions.jsonl"]].concat()).succeeds();
    again("model", "data").fails(1, &["out/predictions.jsonl would be replaced or removed"]);
    fs::remove_file(world.path("out/predictions.jsonl")).expect("removed");
    again("model", "data").succeeds();

    // A folder that is not the output of a run.
    fs::create_dir(world.path("project")).expect("created");
    fs::write(world.path("project/model"), "mine").expect("written");
    world
        .finetune("project", &["--overwrite"])
        .fails(1, &["project contains files that no run wrote"]);
    assert_eq!(fs::read_to_string(world.path("project/model")).expect("read"), "mine");
}

#[test]
fn a_run_starts_from_the_model_of_another_run() {
    let world = World::new(PROGRAM);
    world.finetune("first", &["--max-steps", "2"]).succeeds();
    for (model, output) in [("first", "a"), ("first/model", "b")] {
        let args = ["finetune", "--model", model, "--data", "data", "--output", output];
        world.run(&[&args[..], &["--max-length", "40", "--max-steps", "1"]].concat()).succeeds();
    }
    assert_eq!(world.metrics("a"), world.metrics("b"));
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_the_work() {
    let world = World::new(PROGRAM);
    // The model does not exist either, but the output is checked first.
    let predict = ["predict", "--model", "nowhere", "--input", "data/dev.tsv", "--output"];
    for (output, reason) in [
        ("missing/rows.jsonl", "No such file"),
        ("data", "directory"),
        ("data/dev.tsv/x", "ot a directory"),
    ] {
        let run = world.run(&[&predict[..], &[output]].concat());
        let run = run.fails(1, &[&format!("cannot write {output}"), reason]);
        assert!(!run.stderr.contains(".write-"), "{}", run.stderr);
    }
}

/// A run does not depend on whether its progress can be printed.
#[cfg(target_os = "linux")]
#[test]
fn a_run_continues_if_its_progress_cannot_be_printed() {
    let world = World::new(PROGRAM);
    world.finetune("seen", &["--dashboard", "plain"]).succeeds();
    let unwritable = || fs::File::options().write(true).open("/dev/full").expect("opened");
    let finetune = |output: &str| {
        let base = ["finetune", "--model", "model", "--data", "data", "--batch-size", "8"];
        let sizes = ["--max-length", "40", "--learning-rate", "5e-3", "--dashboard", "plain"];
        world.command(&[&base[..], &sizes, &["--output", output]].concat())
    };
    let status = finetune("full").stderr(unwritable()).status().expect("run");
    assert_eq!(status.code(), Some(0));
    // The reader of standard error is closed before the run starts.
    let mut child = finetune("closed").spawn().expect("started");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("finished").code(), Some(0));
    for output in ["full", "closed"] {
        assert_eq!(world.metrics(output), world.metrics("seen"));
    }
    // An error is still an error.
    let status = finetune("full").stderr(unwritable()).status().expect("run");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn bert_and_roberta_are_fine_tuned_like_albert() {
    for (base, class, inputs, new) in [
        (ModelConfig::bert_base(), "Bert", 3, "2 new parameters"),
        (ModelConfig::roberta_base(), "Roberta", 2, "4 new parameters"),
    ] {
        let world = World::empty(PROGRAM);
        world.write_model("model", &of_type(base));
        world.write_data("data");
        let run = world.finetune("out", &["--epochs", "1"]).succeeds();
        assert!(run.stderr.contains(new), "{}", run.stderr);

        let saved = world.json("out/model/config.json");
        assert_eq!(saved["architectures"][0], format!("{class}ForSequenceClassification"));
        let tokenizer = world.json("out/model/tokenizer_config.json");
        assert_eq!(tokenizer["model_input_names"].as_array().map(Vec::len), Some(inputs));
        assert_eq!(tokenizer["pad_token"], "[PAD]");
        assert_eq!(tokenizer["model_max_length"], 40);

        let evaluated = world.run(&["evaluate", "--model", "out", "--data", "data"]).succeeds();
        let accuracy = world.json("out/summary.json")["eval_accuracy"].as_f64().expect("a number");
        let percent = format!("{:.2} %", 100.0 * accuracy);
        assert!(evaluated.stdout.contains(&percent), "{percent}: {}", evaluated.stdout);
    }
}

#[test]
fn roberta_reserves_the_padding_position() {
    let world = World::empty(PROGRAM);
    world.write_model("model", &of_type(ModelConfig::roberta_base()));
    world.write_data("data");
    let args = ["finetune", "--model", "model", "--data", "data", "--max-length", "64"];
    world.run(&args).fails(1, &["a length of 64 tokens exceeds the 63"]);
}

/// A world whose `model` is a small BERT, which has parameters for each layer.
fn bert() -> World {
    let world = World::empty(PROGRAM);
    world.write_model("model", &of_type(ModelConfig::bert_base()));
    world.write_data("data");
    world
}

/// The saved tensors that differ from those of the pretrained encoder, by name.
fn changed(world: &World, output: &str) -> Vec<String> {
    let encoder = Arrays::read(&world.path("model/model.safetensors"));
    let saved = Arrays::read(&world.path(output).join("model/model.safetensors"));
    let names = encoder
        .names()
        .filter(|name| encoder.get(name).values != saved.get(&format!("bert.{name}")).values);
    names.map(str::to_owned).collect()
}

#[test]
fn the_top_layers_can_be_reinitialized() {
    let world = bert();
    // Nothing is learned, so what differs was drawn.
    let still = ["--learning-rate", "0", "--epochs", "1", "--dashboard", "plain"];
    let run = world.finetune("out", &[&still[..], &["--reinit-layers", "1"]].concat()).succeeds();
    // A layer has 16 parameters, the pooler and the classifier have two each.
    assert!(run.stderr.contains("20 new parameters"), "{}", run.stderr);
    let drawn = changed(&world, "out");
    assert!(drawn.contains(&"pooler.dense.weight".into()), "{drawn:?}");
    assert!(drawn.contains(&"encoder.layer.1.output.dense.weight".into()), "{drawn:?}");
    let expected =
        |name: &String| name.starts_with("pooler.") || name.starts_with("encoder.layer.1.");
    assert!(drawn.iter().all(expected), "{drawn:?}");
    world.run(&["finetune", "--resume", "out"]).succeeds();
    world.finetune("pooler", &[&still[..], &["--reinit-layers", "0"]].concat()).succeeds();
    assert_eq!(changed(&world, "pooler"), ["pooler.dense.weight"]);

    world.finetune("x", &["--reinit-layers", "3"]).fails(1, &["--reinit-layers", "2 layers"]);
    world.write_model("model", &config());
    let shared = "--reinit-layers: the model's layers share their parameters (num_hidden_layers 2, num_hidden_groups 1)";
    world.finetune("x", &["--reinit-layers", "1"]).fails(1, &[shared]);
    world
        .finetune("x", &["--layer-decay", "0.9"])
        .fails(1, &["--layer-decay: the model's layers share"]);
    assert!(!world.path("x").exists());
}

#[test]
fn frozen_parameters_stay_as_they_are_and_keep_no_state() {
    let world = bert();
    let freeze = ["--freeze", "encoder.embeddings,encoder.layer_groups.0", "--epochs", "1"];
    world.finetune("out", &freeze).succeeds();
    let trained = changed(&world, "out");
    assert!(trained.contains(&"encoder.layer.1.output.dense.weight".into()), "{trained:?}");
    let is_frozen =
        |name: &&String| name.starts_with("embeddings.") || name.starts_with("encoder.layer.0.");
    assert_eq!(trained.iter().find(is_frozen), None);
    let checkpoint = fs::read(world.path("out/checkpoints/step-3.checkpoint")).expect("read");
    let checkpoint = String::from_utf8_lossy(&checkpoint);
    assert!(checkpoint.contains("moment_1/model.classifier.weight"));
    for path in ["encoder.embeddings", "encoder.layer_groups.0"] {
        assert!(checkpoint.contains(&format!("parameter/model.{path}")));
        assert!(!checkpoint.contains(&format!("moment_1/model.{path}")));
    }

    // The head alone.
    world.finetune("head", &["--freeze", "encoder", "--epochs", "1"]).succeeds();
    assert_eq!(changed(&world, "head"), [] as [&str; 0]);
    let metrics = world.metrics("head");
    assert!(metrics.iter().all(|line| line["distance"].as_f64().unwrap_or(0.0) == 0.0));
    assert!(metrics[2]["grad_norm"].as_f64() > Some(0.0), "{metrics:?}");

    world.finetune("x", &["--freeze", "embeddings"]).fails(
        2,
        &["--freeze embeddings: no parameter matches", "encoder.embeddings.word_embeddings.weight"],
    );
    assert!(!world.path("x").exists());
}

#[test]
fn layers_and_the_head_have_learning_rates_of_their_own() {
    let world = bert();
    let distance = |output: &str, more: &[&str]| {
        world.finetune(output, &[more, &["--epochs", "1"]].concat()).succeeds();
        world.metrics(output)[2]["distance"].as_f64().expect("a distance")
    };
    let all = distance("all", &[]);
    let decayed = distance("decayed", &["--layer-decay", "0.5"]);
    assert!((0.2 * all..0.8 * all).contains(&decayed), "{decayed} {all}");
    // The pooler and the classifier do not learn.
    distance("head", &["--head-learning-rate", "0"]);
    let trained = changed(&world, "head");
    assert!(trained.iter().all(|name| !name.starts_with("pooler.")), "{trained:?}");
    assert!(changed(&world, "all").contains(&"pooler.dense.weight".into()));
    world
        .finetune("x", &["--head-learning-rate", "1e-3", "--learning-rate", "0"])
        .fails(2, &["--head-learning-rate needs a --learning-rate above 0"]);
}

#[test]
fn labels_are_smoothed_in_training_alone() {
    let world = World::new(PROGRAM);
    let loss = |output: &str, more: &[&str]| {
        let still = ["--learning-rate", "0", "--max-steps", "1"];
        world.finetune(output, &[&still[..], more].concat()).succeeds();
        let metrics = world.metrics(output);
        (metrics[0]["loss"].as_f64().expect("a loss"), metrics[1]["eval_loss"].clone())
    };
    let (plain, evaluated) = loss("plain", &[]);
    let (smoothed, same) = loss("smoothed", &["--label-smoothing", "0.3"]);
    assert!((smoothed - plain).abs() > 1e-4, "{smoothed} {plain}");
    assert_eq!(evaluated, same);
}

#[test]
fn only_some_steps_are_logged_if_asked_for() {
    let world = World::new(PROGRAM);
    world.finetune("all", &[]).succeeds();
    world.finetune("some", &["--log-every", "4"]).succeeds();
    let mut expected = world.metrics("all");
    expected.retain(|line| {
        line.get("eval_loss").is_some() || [4, 8, 9].map(Some).contains(&line["step"].as_u64())
    });
    assert_eq!(world.metrics("some"), expected);
    assert_eq!(expected.len(), 6);
}
