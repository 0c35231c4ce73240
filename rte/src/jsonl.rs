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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<RteExample>, RteError> {
        read_jsonl(text.as_ref(), "val.jsonl")
    }

    fn error(second_line: &str) -> String {
        let first_line = r#"{"premise": "a", "hypothesis": "b"}"#;
        read(format!("{first_line}\n{second_line}\n")).unwrap_err().to_string()
    }

    #[test]
    fn superglue_rows_are_read() {
        let examples = testing::examples();
        let text = testing::jsonl(&examples);
        assert_eq!(read(&text).unwrap(), examples);
        assert_eq!(read(text.replace('\n', "\r\n\r\n")).unwrap(), examples);
    }

    #[test]
    fn glues_names_and_the_hubs_numbers_are_read_too() {
        let label = |label: &str| {
            let line = format!(r#"{{"sentence1": "a", "sentence2": "b", "index": 4{label}}}"#);
            let examples = read(line).unwrap();
            assert_eq!(examples[0].idx, 4);
            examples[0].label
        };
        assert_eq!(label(r#", "label": 0"#), Some(0));
        assert_eq!(label(r#", "label": 1"#), Some(1));
        assert_eq!(label(r#", "label": -1"#), None);
        assert_eq!(label(r#", "label": null"#), None);
        assert_eq!(label(""), None);
    }

    #[test]
    fn rows_without_a_number_are_numbered_by_position() {
        let examples = read("{\"premise\":\"a\",\"hypothesis\":\"b\"}\n\n".repeat(2)).unwrap();
        assert_eq!(examples.iter().map(|example| example.idx).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn errors_name_file_line_and_key() {
        assert_eq!(
            error(r#"{"premise": "a", "idx": 1}"#),
            "val.jsonl, line 2: no column sentence2 (or hypothesis); it has idx, premise"
        );
        assert_eq!(
            error(r#"{"premise": "a", "hypothesis": 3}"#),
            "val.jsonl, line 2, column hypothesis: 3 is not a string"
        );
        assert_eq!(
            error(r#"{"premise": "a", "hypothesis": "b", "idx": 1.5}"#),
            "val.jsonl, line 2, column idx: 1.5 is not a whole number from 0"
        );
        for label in ["\"neutral\"", "2", "0.5", "true"] {
            assert_eq!(
                error(&format!(r#"{{"premise": "a", "hypothesis": "b", "label": {label}}}"#)),
                format!(
                    "val.jsonl, line 2: unknown label {label}; the labels are entailment (0) and not_entailment (1); -1 or null where there is none"
                )
            );
        }
        assert_eq!(
            error("[1]"),
            "val.jsonl, line 2: not a JSON object: invalid type: sequence, expected a map at line 1 column 0"
        );
        assert!(error("{\"premise\"").starts_with("val.jsonl, line 2: not a JSON object: EOF"));
    }
}
