//! What the tests share: Parquet files and tokenizers made on the spot.

use std::sync::Arc;

use parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type},
    file::{
        properties::{WriterProperties, WriterVersion},
        writer::SerializedFileWriter,
    },
    schema::{parser::parse_message_type, types::SchemaDescriptor},
};

use crate::{Example, Task};

/// A column of a Parquet file to be written; nulls need an `optional` field in the schema.
pub(crate) enum Column {
    Text(Vec<Option<Vec<u8>>>),
    Int64(Vec<Option<i64>>),
    Int32(Vec<Option<i32>>),
    Double(Vec<Option<f64>>),
}

impl Column {
    pub(crate) fn text(values: &[&str]) -> Self {
        Self::Text(values.iter().map(|text| Some(text.as_bytes().to_vec())).collect())
    }
}

pub(crate) const HUB_SCHEMA: &str = "message schema { optional binary sentence1 (UTF8); optional binary sentence2 (UTF8); optional int64 label; optional int32 idx; }";

/// The hub's columns for these examples.
pub(crate) fn hub_columns(examples: &[Example]) -> Vec<Column> {
    let text = |text: fn(&Example) -> Option<&String>| {
        Column::Text(examples.iter().map(|e| text(e).map(|t| t.clone().into_bytes())).collect())
    };
    vec![
        text(|example| Some(&example.text)),
        text(|example| example.text_pair.as_ref()),
        Column::Int64(
            examples.iter().map(|e| Some(e.label.map_or(-1, |label| label as i64))).collect(),
        ),
        Column::Int32(examples.iter().map(|e| Some(e.idx as i32)).collect()),
    ]
}

/// Properties like the hub's files: Snappy, dictionaries.
pub(crate) fn hub_properties() -> WriterProperties {
    WriterProperties::builder().set_compression(Compression::SNAPPY).build()
}

/// Pages of the second version, several to a column.
pub(crate) fn version_2_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_data_page_row_count_limit(3)
        .set_write_batch_size(1)
        .build()
}

/// Plain pages without compression.
pub(crate) fn plain_properties() -> WriterProperties {
    WriterProperties::builder().set_dictionary_enabled(false).build()
}

/// A Parquet file with one row group for each element of `row_groups`.
pub(crate) fn parquet_file(
    schema: &str,
    row_groups: &[Vec<Column>],
    properties: WriterProperties,
) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let descriptor = SchemaDescriptor::new(schema.clone());
    let nullable = descriptor.columns().iter().map(|column| column.max_def_level() > 0);
    let nullable: Vec<bool> = nullable.collect();
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    for columns in row_groups {
        let mut row_group = file.next_row_group().unwrap();
        for (column, nullable) in columns.iter().zip(&nullable) {
            let mut writer = row_group.next_column().unwrap().unwrap();
            macro_rules! write {
                ($type:ty, $values:expr, $convert:expr) => {{
                    let levels: Vec<i16> = $values.iter().map(|v| v.is_some().into()).collect();
                    let values: Vec<_> = $values.iter().flatten().map($convert).collect();
                    let levels = nullable.then_some(levels.as_slice());
                    writer.typed::<$type>().write_batch(&values, levels, None).unwrap();
                }};
            }
            match column {
                Column::Text(values) => {
                    write!(ByteArrayType, values, |text| ByteArray::from(text.clone()))
                }
                Column::Int64(values) => write!(Int64Type, values, |number| *number),
                Column::Int32(values) => write!(Int32Type, values, |number| *number),
                Column::Double(values) => write!(DoubleType, values, |number| *number),
            }
            writer.close().unwrap();
        }
        row_group.close().unwrap();
    }
    file.close().unwrap();
    bytes
}

/// Examples with what trips readers: quotes, repeated sentences, letters beyond ASCII, an empty sentence.
pub(crate) fn examples() -> Vec<Example> {
    let row = |text: &str, text_pair: &str, label, idx| Example {
        text: text.to_owned(),
        text_pair: Some(text_pair.to_owned()),
        label: Some(label),
        idx,
    };
    vec![
        row("He said \"no.", "\"No\" was said.", 1, 0),
        row("\"Quoted\" at the start.", "A quote's end\"", 0, 1),
        row("Zürich — a città, 東京.", "Zürich is a city.", 0, 2),
        row("He said \"no.", "", 1, 3),
        row("back\\slash", "and 'single'", 0, 7),
    ]
}

/// The task of most tests.
pub(crate) fn rte() -> Task {
    Task::named("rte").unwrap()
}

fn label_name(example: &Example) -> String {
    rte().labels.swap_remove(example.label.unwrap())
}

fn pair(example: &Example) -> &str {
    example.text_pair.as_deref().unwrap()
}

/// GLUE's TSV of labelled examples.
pub(crate) fn tsv(examples: &[Example]) -> String {
    let mut text = "index\tsentence1\tsentence2\tlabel\n".to_owned();
    for example in examples {
        let label = label_name(example);
        text += &format!("{}\t{}\t{}\t{label}\n", example.idx, example.text, pair(example));
    }
    text
}

/// The same rows as CSV, every field quoted.
pub(crate) fn csv(examples: &[Example]) -> String {
    let mut text = "index,sentence1,sentence2,label\r\n".to_owned();
    for example in examples {
        let label = label_name(example);
        let [first, second] = [&*example.text, pair(example)].map(|text| text.replace('"', "\"\""));
        text += &format!("{},\"{first}\",\"{second}\",{label}\r\n", example.idx);
    }
    text
}

/// SuperGLUE's JSONL of labelled examples.
pub(crate) fn jsonl(examples: &[Example]) -> String {
    let line = |example: &Example| {
        serde_json::json!({
            "premise": example.text,
            "hypothesis": example.text_pair,
            "label": label_name(example),
            "idx": example.idx,
        })
        .to_string()
    };
    examples.iter().map(|example| line(example) + "\n").collect()
}
