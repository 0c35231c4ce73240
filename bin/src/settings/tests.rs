use std::path::{Path, PathBuf};

use super::resolve::{EMBEDDED_EPOCHS, EMBEDDED_LEARNING_RATE};
use super::table::WRITTEN_IF_CHANGED;
use super::*;

/// The settings that these flags give, on top of a `--config` file.
fn resolve(flags: &[(&str, toml::Value)], file: Option<&Path>) -> Result<Settings, ProgramError> {
    let table: toml::Table =
        flags.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let given = table.keys().cloned().collect();
    let flags: Settings = table.try_into().expect("flags");
    Settings::resolve(&flags, &given, file)
}

/// A model and data other than the bundled ones, whose defaults differ.
fn model_and_data() -> [(&'static str, toml::Value); 2] {
    [("model", "m".into()), ("data", "d".into())]
}

fn with(more: &[(&'static str, toml::Value)]) -> Vec<(&'static str, toml::Value)> {
    [&model_and_data()[..], more].concat()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("written");
    file
}

#[test]
fn flags_override_the_file_and_the_file_the_defaults() {
    let file = file("epochs = 7\nbatch-size = 4\nschedule = \"cosine\"\namsgrad = true\n");
    let flags = with(&[("batch-size", 8.into()), ("amsgrad", false.into())]);
    let settings = resolve(&flags, Some(file.path())).expect("settings");
    let expected = Settings {
        model: "m".into(),
        data: "d".into(),
        epochs: 7,
        batch_size: 8,
        schedule: ScheduleKind::Cosine,
        ..Settings::default()
    };
    assert_eq!(settings, expected);
}

#[test]
fn a_recipe_is_its_model_and_data() {
    let recipe = ("recipe", "rte-large".into());
    let settings = resolve(std::slice::from_ref(&recipe), None).expect("settings");
    let expected = Settings {
        model: "albert/albert-large-v2".into(),
        data: "nyu-mll/glue".into(),
        ..Settings::default()
    };
    assert_eq!(settings, expected);
    let with_model = [recipe.clone(), ("model", "m".into())];
    let settings = resolve(&with_model, None).expect("settings");
    assert_eq!((settings.model, settings.data), ("m".into(), "nyu-mll/glue".into()));

    // Of a file and flags, the flags win.
    let file_of_both = file("model = \"m\"\ndata = \"d\"\n");
    assert_eq!(resolve(&[recipe], Some(file_of_both.path())).expect("settings"), expected);
    let file_of_recipe = file("recipe = \"rte-large\"\n");
    let settings = resolve(&model_and_data(), Some(file_of_recipe.path())).expect("settings");
    assert_eq!((settings.model, settings.data), ("m".into(), "d".into()));
}

#[test]
fn validation_data_replaces_a_share_and_its_seed() {
    let share = "validation-share = 0.1\nsample-seed = 7\n";
    let validation = [("validation-data", "v".into())];
    let settings = resolve(&with(&validation), Some(file(share).path())).expect("settings");
    assert_eq!((settings.validation_share, settings.sample_seed), (None, 20003));
    let sample = file(&format!("{share}max-examples = 10\n"));
    let settings = resolve(&with(&validation), Some(sample.path())).expect("settings");
    assert_eq!((settings.validation_share, settings.sample_seed), (None, 7));
}

#[test]
fn the_bundled_model_has_different_defaults() {
    let defaults = |flags: &[_]| {
        let settings = resolve(flags, None).expect("settings");
        (settings.learning_rate, settings.epochs)
    };
    assert_eq!(defaults(&model_and_data()), (2e-5, 3));
    assert_eq!(defaults(&[]), (EMBEDDED_LEARNING_RATE, EMBEDDED_EPOCHS));
    assert_eq!(defaults(&[("learning-rate", 1e-5.into()), ("epochs", 1.into())]), (1e-5, 1));
}

#[test]
fn a_written_config_can_be_read_again() {
    let optimizers = [
        vec![("optimizer", "adamw".into())],
        vec![("optimizer", "adamw-l2sp".into())],
        vec![("total-pull", 0.25.into())],
        vec![("freeze", vec!["encoder"].into()), ("keep", "best".into())],
        vec![("layer-decay", 0.9.into()), ("head-learning-rate", 1e-3.into())],
    ];
    for optimizer in optimizers {
        let flags = with(&[&optimizer[..], &[("max-steps", 5.into())]].concat());
        let settings = resolve(&flags, None).expect("settings");
        let file = file(&toml::to_string(&settings.to_table()).expect("TOML"));
        assert_eq!(resolve(&[], Some(file.path())).expect("settings"), settings);
    }
}

#[test]
fn settings_at_their_defaults_are_left_out_where_older_runs_do_not_have_them() {
    let table = Settings::default().to_table();
    for key in WRITTEN_IF_CHANGED {
        assert!(!table.contains_key(key), "{key}");
    }
    let file = file("bias-correction = false\n");
    let settings = resolve(&[], Some(file.path())).expect("settings");
    let config = settings.optimizer_config(10).expect("a configuration");
    assert!(!settings.bias_correction && !config.bias_correction);
    assert_eq!(settings.to_table()["bias-correction"], false.into());
}

/// Also with every setting that is commented out, `#like = "this"`, taken in.
#[test]
fn the_recipes_are_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../recipes");
    let recipes: Vec<_> = std::fs::read_dir(folder).expect("recipes").flatten().collect();
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|it| it == "toml");
    let recipes: Vec<_> = recipes.iter().map(|it| it.path()).filter(is_toml).collect();
    assert_eq!(recipes.len(), 4, "{recipes:?}");
    for path in recipes {
        let settings = resolve(&[], Some(&path)).unwrap_or_else(|error| panic!("{error}"));
        settings.task().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(&path).expect("read");
        let schema = text.lines().next().expect("a line");
        assert_eq!(schema, "#:schema ../docs/config.schema.json", "{}", path.display());
        for line in text.lines().skip(1).filter(|line| line.starts_with('#')) {
            if line.starts_with("# ") || line == "#" {
                continue;
            }
            let more: toml::Table = line[1..].parse().unwrap_or_else(|e| panic!("{line}: {e}"));
            let mut table: toml::Table = text.parse().expect("TOML");
            table.extend(more);
            Settings::from_table(table)
                .unwrap_or_else(|e| panic!("{}: {line}: {e}", path.display()));
        }
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let file = file("epochs = 2\nlerning-rate = 1.0\n");
    let error = resolve(&[], Some(file.path())).expect_err("an error");
    let message = error.to_string();
    assert!(message.contains("lerning-rate") && message.contains("line 2"), "{message}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn all_problems_are_reported_at_once() {
    let flags = [
        ("beta-2", 1.0.into()),
        ("epochs", 0.into()),
        ("label-smoothing", 1.0.into()),
        ("layer-decay", 0.0.into()),
        ("log-every", 0.into()),
        ("learning-rate", f64::NAN.into()),
        ("warmup-ratio", 1.5.into()),
    ];
    let message = resolve(&flags, None).expect_err("an error").to_string();
    for part in [
        "--beta-2 is 1",
        "--epochs",
        "--label-smoothing is 1",
        "--layer-decay",
        "--learning-rate is NaN",
        "--log-every",
        "--warmup-ratio",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf8_is_named() {
    use std::os::unix::ffi::OsStringExt;

    let path: PathBuf = std::ffi::OsString::from_vec(b"models/\xff".to_vec()).into();
    let flags = Settings { data: path, ..Settings::default() };
    let error = Settings::resolve(&flags, &["data".to_owned()].into(), None).expect_err("refused");
    assert!(error.to_string().starts_with("--data: models/"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_setting_without_effect_is_refused() {
    let refused = |flags: &[(&'static str, toml::Value)], flag: &str| {
        let error = resolve(&with(flags), None).expect_err(flag);
        assert!(error.to_string().contains(&format!("{flag} has no effect")), "{error}");
        assert_eq!(error.exit_code(), 2);
    };
    refused(&[("weight-decay", 0.1.into())], "--weight-decay");
    let adamw = ("optimizer", toml::Value::from("adamw"));
    refused(&[adamw.clone(), ("source-decay", 0.1.into())], "--source-decay");
    refused(&[adamw.clone(), ("novel-decay", 0.1.into())], "--novel-decay");
    refused(&[adamw, ("total-pull", 0.1.into())], "--total-pull");
    refused(&[("recipe", "rte-large".into())], "--recipe");
    refused(&[("sample-seed", 1.into())], "--sample-seed");
}

#[test]
fn the_dashboard_needs_a_terminal_and_its_feature() {
    use DashboardName::{Auto, Off, Plain, Tui};
    for (on_a_terminal, is_built_in, auto) in
        [(true, true, Tui), (true, false, Plain), (false, true, Plain), (false, false, Plain)]
    {
        let resolve = |name: DashboardName| name.resolve(on_a_terminal, is_built_in);
        assert_eq!(resolve(Auto).expect("auto"), auto);
        assert_eq!(resolve(Plain).expect("plain"), Plain);
        assert_eq!(resolve(Off).expect("off"), Off);
        let missing = match (on_a_terminal, is_built_in) {
            (true, true) => continue,
            (false, true) => "needs a terminal",
            (_, false) => "--features dashboard",
        };
        let error = resolve(Tui).expect_err(missing);
        assert!(error.to_string().contains(missing), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn only_settings_that_affect_results_differ() {
    let then = Settings::default();
    let free = Settings {
        output: Some("elsewhere".into()),
        checkpoint_every: Some(7),
        dashboard: DashboardName::Off,
        log: vec![LogFormat::Csv],
        ..then.clone()
    };
    assert_eq!(differences(&then.to_table(), &free.to_table()), [] as [&str; 0]);
    let other = Settings { epochs: 5, max_steps: Some(9), ..then.clone() };
    assert_eq!(
        differences(&then.to_table(), &other.to_table()),
        ["epochs: 3 then, 5 now", "max-steps: not set then, 9 now"]
    );
}

#[test]
fn the_total_pull_does_not_depend_on_the_learning_rate_or_the_steps() {
    for (learning_rate, steps) in [(2e-5, 468), (1e-3, 30)] {
        let settings = Settings { learning_rate, total_pull: Some(0.25), ..Settings::default() };
        let decay = settings.optimizer_config(steps).expect("a configuration").source_decay;
        let pull = settings.schedule_config(steps).total_pull(decay);
        assert!((pull.sum - 0.25).abs() < 1e-12, "{pull:?}");
    }
    // The first step of a warm-up has a rate of 0.
    let settings = Settings { total_pull: Some(0.25), ..Settings::default() };
    let error = settings.optimizer_config(1).expect_err("no pull");
    assert!(error.to_string().contains("--total-pull has no effect"), "{error}");
    let both = [("total-pull", 0.1.into()), ("source-decay", 0.1.into())];
    let error = resolve(&with(&both), None).expect_err("refused");
    assert!(error.to_string().contains("cannot be used together"), "{error}");
}

#[test]
fn a_total_pull_is_refused_where_a_step_would_overshoot() {
    let settings = |pull| Settings { total_pull: Some(pull), ..Settings::default() };
    let error = settings(10.0).source_decay(10).expect_err("ηλ₁ is 2").to_string();
    assert!(error.ends_with("use at most 5"), "{error}");
    let decay = settings(5.0).source_decay(10).expect("ηλ₁ is 1");
    assert!((settings(5.0).learning_rate * decay - 1.0).abs() < 1e-9);
}

#[test]
fn a_flag_takes_the_place_of_what_it_excludes() {
    let text = |settings: &Settings| toml::to_string(&settings.to_table()).expect("TOML");
    let defaults = resolve(&with(&[]), None).expect("settings");
    let of_a_run = file(&text(&defaults));
    let settings = resolve(&[("total-pull", 3.0.into())], Some(of_a_run.path()));
    assert_eq!(settings.expect("no λ₁").total_pull, Some(3.0));
    let settings = resolve(&[("optimizer", "adamw".into())], Some(of_a_run.path()));
    assert_eq!(settings.expect("no λ₁").optimizer, OptimizerName::AdamW);
    let share = file("model = \"m\"\ndata = \"d\"\nvalidation-share = 0.1\n");
    let settings = resolve(&[("validation-data", "v".into())], Some(share.path()));
    let settings = settings.expect("no share");
    assert_eq!((settings.validation_data, settings.validation_share), (Some("v".into()), None));
    let both = file("validation-share = 0.1\nvalidation-data = \"v\"\n");
    let error = resolve(&with(&[]), Some(both.path())).expect_err("refused").to_string();
    assert!(error.contains("--validation-data and --validation-share cannot"), "{error}");
    let overwriting = file("output = \"o\"\noverwrite = true\n");
    let kept = resolve(&with(&[("overwrite", false.into())]), Some(overwriting.path()));
    assert!(!kept.expect("settings").overwrite);
}

#[test]
fn counts_too_large_to_multiply_are_one_step() {
    let settings = Settings {
        batch_size: 1 << 40,
        gradient_accumulation: 1 << 40,
        epochs: 2,
        ..Settings::default()
    };
    assert_eq!(settings.length(7, 3).total_steps, 2);
}

#[test]
fn values_are_shown_as_people_write_them() {
    for (value, shown) in [
        ("adamw".into(), "adamw"),
        (2e-5.into(), "2e-5"),
        (0.0003.into(), "3e-4"),
        (0.001.into(), "0.001"),
        (0.0.into(), "0.0"),
        (50.0.into(), "50.0"),
        (3.into(), "3"),
        (true.into(), "true"),
    ] {
        assert_eq!(show_value(&value), shown);
    }
}

#[test]
fn steps_count_full_and_partial_batches() {
    let steps = |settings: &Settings| {
        let length = settings.length(2490, 277);
        (length.steps_per_epoch, length.total_steps)
    };
    let settings = Settings { batch_size: 16, ..Settings::default() };
    assert_eq!(steps(&settings), (156, 468));
    let settings = Settings { gradient_accumulation: 3, max_steps: Some(100), ..settings };
    assert_eq!(steps(&settings), (52, 100));
    let schedule = settings.schedule_config(100);
    assert_eq!((schedule.warmup_steps, schedule.total_steps), (10, 100));
}
