//! JSONL, SuperGLUE's format: one JSON object a line.

use serde_json::{Map, Value};

use crate::{
    RteError, Task,
    error::Place,
    example::{RawLabel, Row, Rows},
    text::{listed, wanted},
};

/// Empty lines, keys that are not asked for and a byte-order mark are ignored.
pub(crate) fn read(bytes: &[u8], file: &str, task: &Task) -> Result<Rows, RteError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut rows = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            rows.push(row(line, Place::line(file, index + 1), task)?);
        }
    }
    Ok(Rows { rows, ..Rows::new(file, "line") })
}

fn row(line: &[u8], place: Place, task: &Task) -> Result<Row, RteError> {
    let Ok(line) = std::str::from_utf8(line) else {
        return Err(RteError::NotUtf8 { place });
    };
    let mut object: Map<String, Value> = serde_json::from_str(line)
        .map_err(|error| RteError::Json { place: place.clone(), reason: error.to_string() })?;
    Ok(Row {
        number: place.number,
        idx: idx(&object, task.idx(), &place)?,
        label: label(&object, &task.label),
        text: text(&mut object, &task.text, &place)?,
        text_pair: match task.text_pair.as_slice() {
            [] => None,
            names => Some(text(&mut object, names, &place)?),
        },
    })
}

fn text(
    object: &mut Map<String, Value>,
    names: &[String],
    place: &Place,
) -> Result<String, RteError> {
    let Some(name) = names.iter().find(|name| object.contains_key(*name)) else {
        return Err(RteError::MissingColumn {
            place: place.to_string(),
            wanted: wanted(names),
            found: listed(object.keys()),
            hint: "",
        });
    };
    match object.get_mut(name) {
        Some(Value::String(text)) => Ok(std::mem::take(text)),
        other => Err(invalid(place, name, other.as_deref(), "a string")),
    }
}

fn label(object: &Map<String, Value>, names: &[String]) -> RawLabel {
    match names.iter().find_map(|name| object.get(name)) {
        None | Some(Value::Null) => RawLabel::Missing,
        Some(Value::String(name)) => RawLabel::Name(name.clone()),
        Some(value) => match value.as_i64() {
            Some(number) => RawLabel::Integer(number),
            None => RawLabel::Invalid(value.to_string()),
        },
    }
}

fn idx(
    object: &Map<String, Value>,
    names: &[&str],
    place: &Place,
) -> Result<Option<usize>, RteError> {
    let Some((name, value)) = names.iter().find_map(|name| object.get_key_value(*name)) else {
        return Ok(None);
    };
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.map(Some).ok_or_else(|| invalid(place, name, Some(value), "a whole number from 0"))
}

fn invalid(place: &Place, column: &str, value: Option<&Value>, expected: &str) -> RteError {
    RteError::InvalidValue {
        place: place.clone(),
        column: column.to_owned(),
        reason: format!("{} is not {expected}", value.unwrap_or(&Value::Null)),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Example, Format, RteError, testing};

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<Example>, RteError> {
        Format::Jsonl.read(text.as_ref(), "val.jsonl", &testing::rte())
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
            "val.jsonl, line 2: not a JSON object: invalid type: sequence, expected a map at line 1 column 0; JSONL has one object per line"
        );
        assert!(error("{\"premise\"").starts_with("val.jsonl, line 2: not a JSON object: EOF"));
    }
}
