//! The JSON schema of `--config` files.

use std::io::Write;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Args, Command, value_parser};
use serde_json::{Map, Value, json};

use crate::ProgramError;
use crate::settings::Settings;

/// Print the schema.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn schema() -> Result<(), ProgramError> {
    writeln!(std::io::stdout(), "{:#}", settings()).map_err(ProgramError::stdout)
}

/// The schema of [`Settings`], made of its flags, so that both always agree.
fn settings() -> Value {
    let command = Settings::augment_args(Command::new(""));
    // A key is the name of the field; its flag may be called otherwise, as --no-bias-correction.
    let properties: Map<String, Value> = command
        .get_arguments()
        .map(|flag| (flag.get_id().as_str().replace('_', "-"), property(flag)))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of l2sp finetune",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

/// The schema of a setting.
fn property(flag: &Arg) -> Value {
    let is_list = flag.get_value_delimiter().is_some();
    let mut value = value_type(flag);
    let names: Vec<String> =
        flag.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !names.is_empty() && value["type"] == "string" {
        value["enum"] = names.into();
    }
    if is_list {
        value = json!({ "type": "array", "items": value });
    }
    let help = flag.get_long_help().or(flag.get_help()).map(ToString::to_string);
    let help = help.unwrap_or_default();
    let default = flag.get_default_values().first().and_then(|text| text.to_str());
    if let Some(default) = default.filter(|_| !is_list) {
        value["default"] = serde_json::from_str(default).unwrap_or_else(|_| default.into());
    }
    value["description"] = help.clone().into();
    // Its help describes what the flag sets it to.
    if matches!(flag.get_action(), ArgAction::SetFalse) {
        value["default"] = true.into();
        value["description"] = format!("false: {help}").into();
    }
    value
}

/// The type of a setting's value; names, paths and devices are strings.
fn value_type(flag: &Arg) -> Value {
    let is = |parser: ValueParser| flag.get_value_parser().type_id() == parser.type_id();
    if is(value_parser!(bool)) {
        json!({ "type": "boolean" })
    } else if is(value_parser!(usize).into()) || is(value_parser!(u64).into()) {
        json!({ "type": "integer", "minimum": 0 })
    } else if is(value_parser!(f64).into()) {
        json!({ "type": "number" })
    } else {
        json!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_their_types_defaults_and_names() {
        let schema = settings();
        let property = |key: &str| {
            let mut property = schema["properties"][key].clone();
            let description = property["description"].take();
            assert!(description.as_str().is_some_and(|it| !it.is_empty()), "{key}: {description}");
            property.as_object_mut().expect("an object").remove("description");
            property
        };
        assert_eq!(property("epochs"), json!({"type": "integer", "minimum": 0, "default": 3}));
        assert_eq!(property("learning-rate"), json!({"type": "number", "default": 2e-5}));
        assert_eq!(property("amsgrad"), json!({"type": "boolean", "default": false}));
        assert_eq!(property("bias-correction"), json!({"type": "boolean", "default": true}));
        assert_eq!(property("model"), json!({"type": "string", "default": "embedded"}));
        assert_eq!(
            property("schedule"),
            json!({"type": "string", "enum": ["linear", "cosine", "constant"], "default": "linear"})
        );
        let formats = json!({"type": "string", "enum": ["tensorboard", "csv"]});
        assert_eq!(property("log"), json!({"type": "array", "items": formats}));
        assert_eq!(property("freeze"), json!({"type": "array", "items": {"type": "string"}}));
    }

    #[test]
    fn the_keys_are_those_of_a_config_file() {
        let schema = settings();
        let properties = schema["properties"].as_object().expect("an object");
        // A key that is unknown to serde would be refused as an unknown field, with all the known ones.
        let error = toml::from_str::<Settings>("unknown = 1").expect_err("refused").to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(properties.len(), known.len(), "{known:?}");
        for key in known {
            assert!(properties.contains_key(key), "{key}");
        }
        // All values that a run writes have the type that the schema says.
        for (key, value) in Settings::default().to_table() {
            let fits = match properties[&key]["type"].as_str() {
                Some("integer") => value.is_integer(),
                Some("number") => value.is_float(),
                Some("boolean") => value.is_bool(),
                Some("string") => value.is_str(),
                _ => false,
            };
            assert!(fits, "{key} = {value}: {}", properties[&key]);
        }
    }

    #[test]
    fn the_schema_in_the_documentation_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.schema.json");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, format!("{:#}\n", settings()), "l2sp schema > docs/config.schema.json");
    }
}
