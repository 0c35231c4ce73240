//! Tasks other than RTE, the user's own data, and labels: matched by name, whatever their order.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;

use albert::ModelConfig;
use serde_json::Value;
use tests::world::{ENTAILED, NOT_ENTAILED, World, of_type};

/// The built program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_l2sp");

/// Fine-tune the small model, with small sizes.
const SIZES: [&str; 6] = ["--batch-size", "8", "--max-length", "40", "--learning-rate", "5e-3"];

fn finetune<'a>(model: &'a str, data: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let base = ["finetune", "--model", model, "--data", data, "--output", output];
    [&base[..], &SIZES, more].concat()
}

fn evaluated(world: &World, args: &[&str]) -> Value {
    let run = world.run(&[&["evaluate", "--json"][..], args].concat()).succeeds();
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// Exchange the two labels in a saved model: its names, and the rows of its classifier.
fn exchange_labels(world: &World, model: &str) {
    let path = world.path(model).join("config.json");
    let text = fs::read_to_string(&path).expect("read");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    let (first, second) = (config["id2label"]["0"].clone(), config["id2label"]["1"].clone());
    config["id2label"] = serde_json::json!({"0": second, "1": first});
    for index in config["label2id"].as_object_mut().expect("an object").values_mut() {
        *index = (1 - index.as_u64().expect("0 or 1")).into();
    }
    fs::write(&path, config.to_string()).expect("written");

    let path = world.path(model).join("model.safetensors");
    let mut bytes = fs::read(&path).expect("read");
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let names: Value = serde_json::from_slice(&bytes[8..8 + header]).expect("a header");
    for name in ["classifier.weight", "classifier.bias"] {
        let offsets = &names[name]["data_offsets"];
        let [start, end] =
            [0, 1].map(|i| 8 + header + offsets[i].as_u64().expect("an offset") as usize);
        let middle = (start + end) / 2;
        let (first, second) = bytes[start..end].split_at(middle - start);
        let exchanged = [second, first].concat();
        bytes[start..end].copy_from_slice(&exchanged);
    }
    fs::write(&path, bytes).expect("written");
}

#[test]
fn a_checkpoint_keeps_the_order_of_its_labels() {
    let world = World::new(PROGRAM);
    world.run(&finetune("model", "data", "first", &["--epochs", "6"])).succeeds();
    let expected = evaluated(&world, &["--model", "first", "--data", "data"]);
    exchange_labels(&world, "first/model");
    let exchanged = evaluated(&world, &["--model", "first", "--data", "data"]);
    assert_eq!(exchanged, expected, "evaluate goes by the names");
    let path = world.path("first/model/config.json");
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("entailment", "ENTAILMENT")).expect("written");
    let upper_case = evaluated(&world, &["--model", "first", "--data", "data"]);
    assert_eq!(upper_case, expected, "whatever their case");
    assert_ne!(expected["eval_accuracy"], 0.5, "which of the two is which makes a difference");

    // A learning rate of zero leaves the model as it is.
    let still = ["--learning-rate", "0", "--epochs", "1"];
    let args = ["finetune", "--model", "first", "--data", "data", "--max-length", "40"];
    world.run(&[&args[..], &still, &["--output", "upper"]].concat()).succeeds();
    let predictions = fs::read_to_string(world.path("upper/predictions.jsonl")).expect("read");
    assert!(predictions.contains("\"true_label\":\"not_ENTAILMENT\""), "{predictions}");
    world.run(&["report", "upper", "--output", "upper.html"]).succeeds();
    fs::write(&path, text).expect("written");
    world.run(&[&args[..], &still, &["--output", "second"]].concat()).succeeds();
    let accuracy = &world.json("second/summary.json")["eval_accuracy"];
    assert_eq!(accuracy, &expected["eval_accuracy"]);
    let config = world.json("second/model/config.json");
    assert_eq!(config["id2label"]["0"], "not_entailment", "the names stay with their weights");
    assert_eq!(evaluated(&world, &["--model", "second", "--data", "data"]), expected);
}

#[test]
fn the_score_of_a_class_does_not_depend_on_the_order_of_the_labels() {
    let world = World::new(PROGRAM);
    for split in ["train", "dev"] {
        let path = world.path("data").join(format!("{split}.tsv"));
        let text = fs::read_to_string(&path).expect("read");
        fs::write(path, text.replace("entailment", "equivalent")).expect("written");
    }
    let mrpc = ["--task", "mrpc"];
    // Not enough to learn all examples, so that F1 of the two classes differs.
    let more = [&mrpc[..], &["--epochs", "1"]].concat();
    world.run(&finetune("model", "data", "first", &more)).succeeds();
    exchange_labels(&world, "first/model");
    let expected =
        evaluated(&world, &[&mrpc[..], &["--model", "first", "--data", "data"]].concat());
    let still = ["--learning-rate", "0", "--epochs", "1", "--output", "second"];
    let args = ["finetune", "--model", "first", "--data", "data", "--max-length", "40"];
    world.run(&[&args[..], &mrpc, &still].concat()).succeeds();
    let summary = world.json("second/summary.json");
    assert_eq!(summary["eval_f1"], expected["eval_f1"]);
    let right = &expected["confusion_matrix"];
    assert_ne!(right[0][0], right[1][1], "the class makes a difference");
}

#[test]
fn another_task_gets_a_new_classifier() {
    let world = World::new(PROGRAM);
    write_csv(&world, "nli", &["yes", "no", "maybe"]);
    let columns = ["--text-column", "premise", "--text-pair-column", "hypothesis"];
    let more = [&columns[..], &["--label-column", "verdict", "--epochs", "1"]].concat();
    let run = world.run(&finetune("model", "nli", "source", &more)).succeeds();
    assert!(run.stderr.contains("classifier.bias, classifier.weight"), "{}", run.stderr);

    // Three labels, then two others.
    let run = world.run(&finetune("source", "data", "target", &["--epochs", "1"])).succeeds();
    assert!(run.stderr.contains("classifier.bias, classifier.weight"), "{}", run.stderr);
    assert_eq!(world.json("target/model/config.json")["id2label"]["0"], "entailment");
    // The same two: the classifier is kept, unless a new one is asked for.
    let run = world.run(&finetune("target", "data", "kept", &["--epochs", "1"])).succeeds();
    assert!(run.stderr.contains("0 new parameters"), "{}", run.stderr);
    let more = ["--epochs", "1", "--new-classifier"];
    let run = world.run(&finetune("target", "data", "new", &more)).succeeds();
    assert!(run.stderr.contains("classifier.bias, classifier.weight"), "{}", run.stderr);

    world
        .run(&["evaluate", "--model", "target", "--data", "nli", "--task", "snli"])
        .fails(1, &["the model has 2 labels (entailment, not_entailment)", "has 3"]);
}

/// Pairs with alternating labels, quoted as in CSV: `train.csv` and `validation.csv`.
fn write_csv(world: &World, folder: &str, labels: &[&str]) {
    fs::create_dir(world.path(folder)).expect("created");
    let pairs: Vec<_> = ENTAILED.iter().chain(&NOT_ENTAILED).collect();
    for (split, rows) in [("train", 24), ("validation", 9)] {
        let mut text = "id,premise,hypothesis,verdict\n".to_owned();
        for row in 0..rows {
            let (premise, hypothesis) = pairs[row % pairs.len()];
            let [premise, hypothesis] = [premise, hypothesis].map(|it| it.replace('"', "\"\""));
            let label = labels[row % labels.len()];
            text += &format!("{row},\"{premise}\",\"{hypothesis}\",{label}\n");
        }
        fs::write(world.path(folder).join(format!("{split}.csv")), text).expect("written");
    }
}

#[test]
fn pairs_of_ones_own_with_three_labels_from_training_to_predictions() {
    let world = World::new(PROGRAM);
    write_csv(&world, "own", &["yes", "no", "maybe"]);
    let columns = ["--text-column", "premise", "--text-pair-column", "hypothesis"];
    let more = [&columns[..], &["--label-column", "verdict", "--epochs", "2"]].concat();
    world.run(&finetune("model", "own", "out", &more)).succeeds();
    let config = world.json("out/model/config.json");
    let names = ["0", "1", "2"].map(|id| config["id2label"][id].clone());
    assert_eq!(names, ["maybe", "no", "yes"], "sorted");

    // The model's folder knows columns and labels.
    let result = evaluated(&world, &["--model", "out", "--data", "own"]);
    assert_eq!(result["eval_accuracy"], world.json("out/summary.json")["eval_accuracy"]);
    assert_eq!(result["confusion_matrix"].as_array().map(Vec::len), Some(3));
    let predict = ["predict", "--model", "out", "--input", "own/validation.csv"];
    world.run(&[&predict[..], &["--output", "rows.jsonl"]].concat()).succeeds();
    let rows = fs::read_to_string(world.path("rows.jsonl")).expect("read");
    assert_eq!(rows.lines().count(), 9);
    let row: Value = serde_json::from_str(rows.lines().next().expect("a row")).expect("JSON");
    assert!(["maybe", "no", "yes"].contains(&row["label"].as_str().expect("a name")));
    let refused = world.run(&[&predict[..], &["--format", "glue"]].concat());
    refused.fails(2, &["not part of GLUE's leaderboard"]);

    // In an order that is given, and with a label that the training split lacks.
    let ordered = [&more[..], &["--labels", "yes,no,maybe"]].concat();
    world.run(&finetune("model", "own", "ordered", &ordered)).succeeds();
    assert_eq!(world.json("ordered/model/config.json")["id2label"]["0"], "yes");
    let text = fs::read_to_string(world.path("own/validation.csv")).expect("read");
    let other = text.replacen(",no\n", ",never\n", 1);
    fs::write(world.path("own/validation.csv"), other).expect("written");
    world
        .run(&finetune("model", "own", "unknown", &more))
        .fails(1, &["own/validation.csv, line 3", "never"]);
    assert!(!world.path("unknown").exists());
}

#[test]
fn single_texts_of_ones_own_without_a_validation_split() {
    let world = World::new(PROGRAM);
    let mut text = "text,label\n".to_owned();
    for row in 0..40 {
        let (premise, _) = if row % 2 == 0 { ENTAILED[row % 4] } else { NOT_ENTAILED[row % 4] };
        let premise = premise.replace('"', "\"\"");
        text += &format!("\"{premise}\",{}\n", ["good", "bad"][row % 2]);
    }
    fs::create_dir(world.path("own")).expect("created");
    fs::write(world.path("own/reviews.csv"), text).expect("written");
    let columns = ["--text-column", "text", "--epochs", "1"];
    let args = finetune("model", "own/reviews.csv", "out", &columns);
    world.run(&args).fails(1, &["no validation split", "--validation-share"]);
    let share = [&columns[..], &["--validation-share", "0.25"]].concat();
    let run = world.run(&finetune("model", "own/reviews.csv", "out", &share)).succeeds();
    assert!(run.stderr.contains("30 training and 10 validation examples"), "{}", run.stderr);
    let predict = ["predict", "--model", "out"];
    world.run(&[&predict[..], &["--text", "The ferry sailed."]].concat()).succeeds();
    world
        .run(&[&predict[..], &["--premise", "a", "--hypothesis", "b"]].concat())
        .fails(2, &["this model is for single texts"]);
    // The same split again, and another one with another seed.
    world.run(&finetune("model", "own/reviews.csv", "again", &share)).succeeds();
    assert_eq!(world.metrics("again"), world.metrics("out"));
    let other = [&share[..], &["--sample-seed", "1"]].concat();
    world.run(&finetune("model", "own/reviews.csv", "other", &other)).succeeds();
    assert_ne!(world.metrics("other"), world.metrics("out"));
}

/// Runs the README's three commands unchanged; a small RoBERTa in a folder of that name replaces the download.
#[test]
fn the_readme_goes_from_a_csv_to_predictions() {
    let readme = include_str!("../README.md");
    let (_, after) = readme.split_once("Your own data, from training to predictions:").expect("it");
    let (_, after) = after.split_once("```sh\n").expect("commands");
    let (commands, _) = after.split_once("```").expect("their end");
    let world = World::empty(PROGRAM);
    let model = of_type(ModelConfig::roberta_base());
    // Its 128 tokens, after two reserved positions.
    let model = ModelConfig { max_position_embeddings: 130, ..model };
    world.write_model("FacebookAI/roberta-base", &model);
    let table = |header: &str, rows: usize| {
        let row = |row: usize| {
            let (text, verdict) =
                [("Warm, \"\"kind\"\".", "good"), ("Cold, dull.", "bad")][row % 2];
            if header == "text" {
                format!("\"{text}\"\n")
            } else {
                format!("{verdict},\"{text}\"\n")
            }
        };
        format!("{header}\n{}", (0..rows).map(row).collect::<String>())
    };
    for (file, header, rows) in
        [("reviews", "verdict,text", 40), ("held-out", "verdict,text", 6), ("new", "text", 5)]
    {
        fs::write(world.path(&format!("{file}.csv")), table(header, rows)).expect("written");
    }

    let runs: Vec<_> = commands
        .lines()
        .map(|line| world.run(&line.split_whitespace().skip(1).collect::<Vec<_>>()).succeeds())
        .collect();
    assert_eq!(runs.len(), 3);
    assert!(runs[0].stderr.contains("36 training and 4 validation examples"), "{}", runs[0].stderr);
    assert!(runs[1].stdout.contains("of 6)"), "{}", runs[1].stdout);
    let predictions = fs::read_to_string(world.path("predictions.jsonl")).expect("read");
    let labels: Vec<Value> = predictions
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["label"].take())
        .collect();
    assert_eq!(labels.len(), 5);
    assert!(labels.iter().all(|label| label == "good" || label == "bad"), "{labels:?}");
}

/// Runs the two commands at the start of the recipe unchanged; a small BERT in a folder of that name replaces the download.
#[test]
fn the_recipe_for_own_data_goes_from_a_csv_to_predictions() {
    let recipe = include_str!("../recipes/own-data.toml");
    let world = World::empty(PROGRAM);
    let model = of_type(ModelConfig::bert_base());
    let model = ModelConfig { max_position_embeddings: 128, ..model };
    world.write_model("google-bert/bert-base-uncased", &model);
    fs::create_dir(world.path("recipes")).expect("created");
    fs::write(world.path("recipes/own-data.toml"), recipe).expect("written");
    let reviews = "good,Warm and kind.\nbad,\"Cold, dull.\"\n".repeat(20);
    fs::write(world.path("reviews.csv"), format!("verdict,text\n{reviews}")).expect("written");
    fs::write(world.path("new-reviews.csv"), "text\nKind.\nDull.\n").expect("written");
    let runs: Vec<_> = recipe
        .lines()
        .filter_map(|line| line.strip_prefix("#     l2sp "))
        .map(|line| world.run(&line.split_whitespace().collect::<Vec<_>>()).succeeds())
        .collect();
    assert_eq!(runs.len(), 2);
    assert!(runs[0].stderr.contains("36 training and 4 validation examples"), "{}", runs[0].stderr);
    assert!(world.path("runs/reviews/tensorboard").is_dir());
    let summary = world.json("runs/reviews/summary.json");
    assert_eq!(summary["finished"], true);
    let predictions = fs::read_to_string(world.path("predictions.jsonl")).expect("read");
    assert_eq!(predictions.lines().count(), 2);
}

/// CoLA as GLUE publishes it: no header, a score that is Matthews' correlation.
#[test]
fn cola_is_scored_by_its_own_metric() {
    let world = World::new(PROGRAM);
    fs::create_dir(world.path("CoLA")).expect("created");
    for split in ["train", "dev"] {
        let rows: String = ENTAILED
            .iter()
            .map(|(text, _)| format!("gj04\t1\t\t{text}\n"))
            .chain(NOT_ENTAILED.iter().map(|(text, _)| format!("gj04\t0\t*\t{text}\n")))
            .collect();
        fs::write(world.path(&format!("CoLA/{split}.tsv")), rows).expect("written");
    }
    let more = ["--task", "cola", "--epochs", "8", "--dashboard", "plain"];
    let run = world.run(&finetune("model", "CoLA", "out", &more)).succeeds();
    assert!(run.stderr.contains("Matthews correlation"), "{}", run.stderr);
    let summary = world.json("out/summary.json");
    let correlation = summary["eval_matthews_correlation"].as_f64().expect("a number");
    assert!((-1.0..=1.0).contains(&correlation));
    assert_eq!(summary["failed"], correlation <= 0.0);
    let metrics = world.metrics("out");
    let best = metrics.iter().filter_map(|line| line["eval_matthews_correlation"].as_f64());
    let best = best.fold(f64::MIN, f64::max);
    assert!(best >= correlation);
    assert_eq!(summary["best_eval_matthews_correlation"], best);
    let result = evaluated(&world, &["--model", "out", "--data", "CoLA"]);
    assert_eq!(result["eval_matthews_correlation"], correlation);
    world.run(&finetune("model", "CoLA", "x", &["--task", "stsb"])).fails(1, &["stsb"]);
    world.run(&finetune("model", "CoLA", "x", &["--task", "glue"])).fails(1, &["rte, mnli"]);
}

#[test]
fn a_model_is_evaluated_on_the_mismatched_split_of_mnli() {
    let world = World::new(PROGRAM);
    fs::create_dir(world.path("MNLI")).expect("created");
    let pairs: Vec<_> = ENTAILED.iter().chain(&NOT_ENTAILED).collect();
    for (split, rows) in [("train", 24), ("dev_matched", 8), ("dev_mismatched", 5)] {
        let mut text = "index\tsentence1\tsentence2\tgold_label\n".to_owned();
        for row in 0..rows {
            let (premise, hypothesis) = pairs[row % pairs.len()];
            let label = ["entailment", "neutral", "contradiction"][row % 3];
            text += &format!("{row}\t{premise}\t{hypothesis}\t{label}\n");
        }
        fs::write(world.path(&format!("MNLI/{split}.tsv")), text).expect("written");
    }
    let more = ["--task", "mnli", "--max-steps", "2"];
    world.run(&finetune("model", "MNLI", "out", &more)).succeeds();
    let evaluate = |more: &[&str]| {
        evaluated(&world, &[&["--model", "out", "--data", "MNLI"][..], more].concat())
    };
    let matched = evaluate(&[]);
    assert_eq!(matched["examples"], 8);
    assert_eq!(matched["eval_accuracy"], world.json("out/summary.json")["eval_accuracy"]);
    assert_eq!(evaluate(&["--split", "validation_mismatched"])["examples"], 5);
    for split in ["dev_matched", "dev_mismatched"] {
        world
            .run(&finetune("model", &format!("MNLI/{split}.tsv"), "x", &more))
            .fails(1, &["--validation-data", &format!("MNLI/{split}.tsv is the validation")]);
    }
}

#[test]
fn the_bundled_task_has_a_name() {
    let world = World::new(PROGRAM);
    let sizes = ["--max-steps", "1", "--max-length", "40", "--task", "embedded"];
    let base = ["finetune", "--model", "model", "--output"];
    world.run(&[&base[..], &["out"], &sizes].concat()).succeeds();
    world.run(&[&base[..], &["same"], &sizes[..4]].concat()).succeeds();
    assert_eq!(world.metrics("out"), world.metrics("same"));
    let evaluate = ["--model", "out", "--data", "embedded"];
    let result = evaluated(&world, &[&evaluate[..], &["--task", "embedded"]].concat());
    assert_eq!(result, evaluated(&world, &evaluate));
    world
        .run(&finetune("model", "data", "x", &["--task", "embedded"]))
        .fails(2, &["--task embedded is the task of --data embedded"]);
}

#[test]
fn a_validation_split_is_not_trained_on_by_mistake() {
    let world = World::new(PROGRAM);
    world
        .run(&finetune("model", "data/dev.tsv", "out", &[]))
        .fails(1, &["data/dev.tsv is the validation split", "--validation-data"]);
    assert!(!world.path("out").exists());
    let more = ["--validation-data", "data/train.tsv", "--max-steps", "1"];
    world.run(&finetune("model", "data/dev.tsv", "out", &more)).succeeds();
    let file = ["evaluate", "--model", "out", "--data", "data/dev.tsv", "--split", "test"];
    world.run(&file).fails(2, &["--split has no effect"]);
}

/// A pipe blocks whoever opens it, and a device may never end.
#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_at_once() {
    use std::os::unix::fs::symlink;

    let world = World::new(PROGRAM);
    let pipe = world.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let zero = std::path::PathBuf::from("/dev/zero");
    for file in ["model/config.json", "model/tokenizer.json", "data/train.tsv"] {
        let (path, kept) = (world.path(file), world.path("kept"));
        fs::rename(&path, &kept).expect("moved");
        for instead in [&pipe, &zero] {
            symlink(instead, &path).expect("linked");
            let name = file.split('/').next_back().expect("a name");
            world
                .run(&finetune("model", "data", "out", &[]))
                .fails(1, &[name, "only regular files are read"]);
            fs::remove_file(&path).expect("removed");
        }
        fs::rename(&kept, &path).expect("moved");
    }
    world.run(&["finetune", "--config", "pipe"]).fails(1, &["pipe", "only regular files are read"]);
    // The weights are looked for as a regular file.
    fs::remove_file(world.path("model/model.safetensors")).expect("removed");
    symlink(&pipe, world.path("model/model.safetensors")).expect("linked");
    world.run(&finetune("model", "data", "out", &[])).fails(1, &["model.safetensors"]);
}
