//! The settings of a run as a table: what `config.toml` holds, and what tells two runs apart.

use std::collections::BTreeSet;

use super::Settings;

/// The settings that `config.toml` holds only where they differ from their defaults, so that it does not change for runs
/// that do not use them.
pub(super) const WRITTEN_IF_CHANGED: [&str; 5] =
    ["bias-correction", "sample-seed", "keep", "label-smoothing", "log-every"];

/// The settings that decide what a run reads.
const INPUTS: [&str; 13] = [
    "model",
    "data",
    "task",
    "text-column",
    "text-pair-column",
    "label-column",
    "labels",
    "validation-data",
    "validation-share",
    "max-examples",
    "new-classifier",
    "max-length",
    "sample-seed",
];

/// The settings that do not affect the results of a run; and the device, which affects only their last digits, so a run
/// may be resumed on another one.
const FREE: [&str; 4] = ["device", "checkpoint-every", "dashboard", "log"];

impl Settings {
    /// The settings that have an effect on a run, by key: what `config.toml` holds.
    pub fn to_table(&self) -> toml::Table {
        // Every field is a plain value, so there is nothing that TOML cannot hold.
        let table = |settings: &Self| toml::Table::try_from(settings).unwrap_or_default();
        let defaults = table(&Self::default());
        let mut table = table(self);
        table.retain(|key, value| {
            let is_changed = defaults.get(key) != Some(value);
            !self.inapplicable().contains(&key)
                && (is_changed || !WRITTEN_IF_CHANGED.contains(&key))
        });
        if self.total_pull.is_some() {
            table.remove("source-decay");
        }
        table
    }

    /// The settings that decide what a run reads, as text: runs with the same text read the same.
    pub(crate) fn inputs(&self) -> String {
        let mut table = self.to_table();
        table.retain(|key, _| INPUTS.contains(&key));
        table.to_string()
    }
}

/// The settings that differ and affect the results, as `epochs: 3 then, 5 now`.
pub(crate) fn differences(then: &toml::Table, now: &toml::Table) -> Vec<String> {
    let value = |table: &toml::Table, key: &str| match table.get(key) {
        Some(value) => value.to_string(),
        None => "not set".to_owned(),
    };
    let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    keys.into_iter()
        .filter(|key| !FREE.contains(&key.as_str()) && then.get(*key) != now.get(*key))
        .map(|key| format!("{key}: {} then, {} now", value(then, key), value(now, key)))
        .collect()
}

/// The value of a setting as people write it: strings without quotation marks, small numbers with an exponent.
pub(crate) fn show_value(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Float(number) if *number != 0.0 && number.abs() < 1e-3 => {
            format!("{number:e}")
        }
        value => value.to_string(),
    }
}
