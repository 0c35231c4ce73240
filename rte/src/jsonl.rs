//! SuperGLUE's JSONL: one JSON object a line.

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::{
    RteError, RteExample,
    columns::{self, IDX, LABEL, SENTENCE1, SENTENCE2},
    error::Place,
    example::label_from_number,
    label_id,
    lines::numbered_lines,
};

/// Reads SuperGLUE's JSONL from `input`; `file` is the name that errors give it.
///
/// Each object has `premise` and `hypothesis` (or `sentence1` and `sentence2`), and `label` and `idx` (or `index`)
/// where they are known. A label is a name or the hub's number: 0 `entailment`, 1 `not_entailment`, -1 none.
/// Other keys and empty lines are ignored.
///
/// ```
/// let text = r#"{"premise": "A b c.", "hypothesis": "A b.", "label": "not_entailment", "idx": 7}"#;
/// let examples = rte::read_jsonl(text.as_bytes(), "train.jsonl")?;
/// assert_eq!((examples[0].idx, examples[0].label), (7, Some(1)));
/// # Ok::<(), rte::RteError>(())
/// ```
///
/// # Errors
///
/// A line that is no JSON object, a missing key, a value of the wrong kind, an unknown label, and bytes that are not
/// UTF-8, each with the line.
pub fn read_jsonl(input: impl BufRead, file: &str) -> Result<Vec<RteExample>, RteError> {
    numbered_lines(input, file)
        .enumerate()
        .map(|(position, line)| example(line?, position))
        .collect()
}

fn example((place, line): (Place, String), position: usize) -> Result<RteExample, RteError> {
    let object: Map<String, Value> = serde_json::from_str(&line)
        .map_err(|error| RteError::Json { place: place.clone(), reason: error.to_string() })?;
    Ok(RteExample {
        sentence1: sentence(&object, SENTENCE1, &place)?,
        sentence2: sentence(&object, SENTENCE2, &place)?,
        label: label(&object, &place)?,
        idx: idx(&object, &place)?.unwrap_or(position),
    })
}

fn find<'a>(object: &'a Map<String, Value>, names: &[&'a str]) -> Option<(&'a str, &'a Value)> {
    names.iter().find_map(|name| object.get(*name).map(|value| (*name, value)))
}

fn sentence(
    object: &Map<String, Value>,
    names: &[&str],
    place: &Place,
) -> Result<String, RteError> {
    match find(object, names) {
        Some((_, Value::String(text))) => Ok(text.clone()),
        Some((name, other)) => Err(invalid(place, name, other, "a string")),
        None => Err(RteError::MissingColumn {
            place: place.to_string(),
            wanted: columns::wanted(names),
            found: columns::listed(object.keys()),
        }),
    }
}

fn label(object: &Map<String, Value>, place: &Place) -> Result<Option<usize>, RteError> {
    let Some((_, value)) = find(object, LABEL) else {
        return Ok(None);
    };
    let label = match value {
        Value::Null => Some(None),
        Value::String(name) => label_id(name).map(Some),
        Value::Number(number) => number.as_i64().and_then(label_from_number),
        _ => None,
    };
    label.ok_or_else(|| RteError::UnknownLabel {
        place: place.clone(),
        label: value.to_string(),
        accepted: "entailment (0) and not_entailment (1); -1 or null where there is none",
    })
}

fn idx(object: &Map<String, Value>, place: &Place) -> Result<Option<usize>, RteError> {
    let Some((name, value)) = find(object, IDX) else {
        return Ok(None);
    };
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
        .map(Some)
        .ok_or_else(|| invalid(place, name, value, "a whole number from 0"))
}

fn invalid(place: &Place, column: &str, value: &Value, expected: &str) -> RteError {
    RteError::InvalidValue {
        place: place.clone(),
        column: column.to_owned(),
        reason: format!("{value} is not {expected}"),
    }
}
