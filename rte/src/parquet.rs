//! Parquet, the hub's format.
//!
//! The `parquet` crate decodes; this file picks the columns and keeps a small file from filling the memory.

use std::panic::{self, AssertUnwindSafe};

use bytes::Bytes;
use parquet::{
    basic::{Compression, Type as PhysicalType},
    column::reader::get_typed_column_reader,
    data_type::{AsBytes, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        metadata::FileMetaData,
        reader::{FileReader, SerializedFileReader},
    },
    schema::types::ColumnDescriptor,
};
use serde_json::Value;

use crate::{
    RteError, Task,
    error::Place,
    example::{RawLabel, Row, Rows},
    text::{listed, wanted},
};

/// How many times its own size a file may unpack to; the hub's files unpack to about five times.
const TIMES: usize = 64;
/// What even the smallest file may unpack to, in MiB.
const AT_LEAST: usize = 16;
/// Rows decoded at a time.
const BATCH: usize = 1024;

/// Reads a Parquet file from its bytes.
///
/// In Parquet a few bits may repeat a long text any number of times, so what the values take is counted, and a file
/// that unpacks to more than [`TIMES`] its size and [`AT_LEAST`] MiB is refused. A page is decompressed before its values
/// can be counted, though: for a forged page header the library allocates up to 2 GiB (Snappy, Zstandard), and for a
/// forged gzip page up to 1,032 times its size, before the page turns out to be wrong.
pub(crate) fn read(bytes: Vec<u8>, file: &str, task: &Task) -> Result<Rows, RteError> {
    // The library panics on some damaged files.
    panic::catch_unwind(AssertUnwindSafe(|| Parquet::open(bytes, file)?.rows(task))).unwrap_or_else(
        |_| {
            Err(RteError::Parquet {
                file: file.to_owned(),
                reason: "the file is damaged".to_owned(),
            })
        },
    )
}

/// An opened file.
struct Parquet<'a> {
    file: &'a str,
    reader: SerializedFileReader<Bytes>,
    /// How many more bytes the values may take.
    budget: usize,
}

impl<'a> Parquet<'a> {
    fn open(bytes: Vec<u8>, file: &'a str) -> Result<Self, RteError> {
        let budget = bytes.len().saturating_mul(TIMES).saturating_add(AT_LEAST << 20);
        let encrypted = bytes.ends_with(b"PARE");
        let reader = SerializedFileReader::new(Bytes::from(bytes)).map_err(|error| {
            let reason = match encrypted {
                true => "it is encrypted; write the file again without encryption".to_owned(),
                false => error.to_string(),
            };
            RteError::Parquet {
                file: file.to_owned(),
                reason: format!("not a readable Parquet file: {reason}"),
            }
        })?;
        Ok(Self { file, reader, budget })
    }

    fn rows(mut self, task: &Task) -> Result<Rows, RteError> {
        let label = self.find(&task.label);
        let class_names =
            label.as_ref().and_then(|label| class_names(self.metadata(), &label.name));
        let idx = self.find(task.idx());
        let texts = self.texts(self.require(&task.text)?)?;
        let pairs = match task.text_pair.as_slice() {
            [] => None,
            names => Some(self.texts(self.require(names)?)?),
        };
        let labels = label.map(|column| self.labels(column)).transpose()?;
        let idx = idx.map(|column| self.indices(column)).transpose()?;
        let lengths = [
            pairs.as_ref().map(Vec::len),
            labels.as_ref().map(Vec::len),
            idx.as_ref().map(Vec::len),
        ];
        if lengths.into_iter().flatten().any(|length| length != texts.len()) {
            return Err(RteError::Parquet {
                file: self.file.to_owned(),
                reason: "its columns have different numbers of rows".to_owned(),
            });
        }
        let mut pairs = pairs.map(Vec::into_iter);
        let mut labels = labels.map(Vec::into_iter);
        let rows = texts.into_iter().enumerate().map(|(row, text)| Row {
            number: row + 1,
            text,
            text_pair: pairs.as_mut().and_then(Iterator::next),
            label: labels.as_mut().and_then(Iterator::next).unwrap_or(RawLabel::Missing),
            idx: idx.as_ref().map(|idx| idx[row]),
        });
        Ok(Rows { rows: rows.collect(), class_names, ..Rows::new(self.file, "row") })
    }

    fn metadata(&self) -> &FileMetaData {
        self.reader.metadata().file_metadata()
    }

    /// The first of these columns that the file has, by its preferred name.
    fn find<S: AsRef<str>>(&self, names: &[S]) -> Option<Column> {
        let schema = self.metadata().schema_descr();
        let root = |leaf: usize| schema.get_column_root(leaf).name();
        let leaf = names
            .iter()
            .find_map(|name| (0..schema.num_columns()).find(|leaf| root(*leaf) == name.as_ref()))?;
        Some(Column { name: root(leaf).to_owned(), leaf })
    }

    fn require(&self, names: &[String]) -> Result<Column, RteError> {
        self.find(names).ok_or_else(|| RteError::MissingColumn {
            place: self.file.to_owned(),
            wanted: wanted(names),
            found: listed(self.metadata().schema().get_fields().iter().map(|field| field.name())),
            hint: "",
        })
    }

    fn texts(&mut self, column: Column) -> Result<Vec<String>, RteError> {
        self.check(&column, &[PhysicalType::BYTE_ARRAY])?;
        self.values::<ByteArrayType, _>(&column, |bytes: Option<&ByteArray>| {
            match bytes.map(|bytes| str::from_utf8(bytes.data())) {
                Some(Ok(text)) => Ok(text.to_owned()),
                Some(Err(_)) => Err("not valid UTF-8".to_owned()),
                None => Err("null where a text is needed".to_owned()),
            }
        })
    }

    fn labels(&mut self, column: Column) -> Result<Vec<RawLabel>, RteError> {
        let accepted = [PhysicalType::INT64, PhysicalType::INT32, PhysicalType::BYTE_ARRAY];
        if self.check(&column, &accepted)? != PhysicalType::BYTE_ARRAY {
            let label = |number: Option<i64>| number.map_or(RawLabel::Missing, RawLabel::Integer);
            return Ok(self.integers(column)?.into_iter().map(label).collect());
        }
        self.values::<ByteArrayType, _>(&column, |bytes| {
            let Some(bytes) = bytes else { return Ok(RawLabel::Missing) };
            let name = str::from_utf8(bytes.data()).map_err(|_| "not valid UTF-8")?;
            Ok(RawLabel::Name(name.to_owned()))
        })
    }

    fn integers(&mut self, column: Column) -> Result<Vec<Option<i64>>, RteError> {
        match self.check(&column, &[PhysicalType::INT64, PhysicalType::INT32])? {
            PhysicalType::INT64 => self.values::<Int64Type, _>(&column, |value| Ok(value.copied())),
            _ => self.values::<Int32Type, _>(&column, |value| Ok(value.copied().map(i64::from))),
        }
    }

    fn indices(&mut self, column: Column) -> Result<Vec<usize>, RteError> {
        let name = column.name.clone();
        let numbers = self.integers(column)?.into_iter().enumerate();
        let index = numbers.map(|(row, number)| match number.map(|n| (n, usize::try_from(n))) {
            Some((_, Ok(index))) => Ok(index),
            Some((number, Err(_))) => {
                Err(self.value_error(&name, row, format!("{number} is not a whole number from 0")))
            }
            None => Err(self.value_error(&name, row, "null where a number is needed".to_owned())),
        });
        index.collect()
    }

    /// The type of the column's values, which is one of `types` with at most one value per row.
    fn check(&self, column: &Column, types: &[PhysicalType]) -> Result<PhysicalType, RteError> {
        let descriptor = self.descriptor(column);
        if descriptor.path().parts().len() > 1 || descriptor.max_rep_level() > 0 {
            return Err(self.column_error(column, "it is nested, but one value per row is needed"));
        }
        let found = descriptor.physical_type();
        if !types.contains(&found) {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            let types = types.join(" or ");
            return Err(
                self.column_error(column, format!("its type is {found}, but {types} is needed"))
            );
        }
        for row_group in self.reader.metadata().row_groups() {
            let codec = row_group.column(column.leaf).compression();
            if !matches!(
                codec,
                Compression::UNCOMPRESSED
                    | Compression::SNAPPY
                    | Compression::GZIP(_)
                    | Compression::ZSTD(_)
            ) {
                let codec = codec.to_string();
                let codec = codec.split('(').next().unwrap_or_default();
                return Err(self.column_error(column, format!(
                    "its compression is {codec}, but only SNAPPY, GZIP, ZSTD and none are read; write the file again with one of these"
                )));
            }
        }
        Ok(found)
    }

    /// A whole column, each value (`None` for null) passed through `convert`, whose error is given the row's place.
    fn values<T: DataType, V>(
        &mut self,
        column: &Column,
        convert: impl Fn(Option<&T::T>) -> Result<V, String>,
    ) -> Result<Vec<V>, RteError> {
        let nullable = self.descriptor(column).max_def_level() > 0;
        let damaged = |error: ParquetError| self.column_error(column, error.to_string());
        let mut budget = self.budget;
        let mut all = Vec::new();
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        for row_group in 0..self.reader.num_row_groups() {
            let row_group = self.reader.get_row_group(row_group).map_err(damaged)?;
            let reader = row_group.get_column_reader(column.leaf).map_err(damaged)?;
            let mut reader = get_typed_column_reader::<T>(reader);
            loop {
                values.clear();
                levels.clear();
                let (rows, ..) = reader
                    .read_records(BATCH, Some(&mut levels), None, &mut values)
                    .map_err(damaged)?;
                if rows == 0 {
                    break;
                }
                let mut present = values.iter();
                let is_null = |row: usize| nullable && levels[row] == 0;
                for row in 0..rows {
                    let value = if is_null(row) { None } else { present.next() };
                    let length = value.map_or(0, |value| value.as_bytes().len());
                    budget = budget.checked_sub(size_of::<V>() + length).ok_or_else(|| {
                        self.column_error(column, format!(
                            "it unpacks to more than {TIMES} times the size of its file and {AT_LEAST} MiB; write the file again without compression and dictionaries"
                        ))
                    })?;
                    let value = convert(value)
                        .map_err(|reason| self.value_error(&column.name, all.len(), reason))?;
                    all.push(value);
                }
            }
        }
        self.budget = budget;
        Ok(all)
    }

    fn descriptor(&self, column: &Column) -> &ColumnDescriptor {
        &self.metadata().schema_descr().columns()[column.leaf]
    }

    fn column_error(&self, column: &Column, reason: impl Into<String>) -> RteError {
        RteError::ParquetColumn {
            file: self.file.to_owned(),
            column: column.name.clone(),
            reason: reason.into(),
        }
    }

    /// `row` is counted from 0.
    fn value_error(&self, column: &str, row: usize, reason: String) -> RteError {
        let place = Place::row(self.file, row + 1);
        RteError::InvalidValue { place, column: column.to_owned(), reason }
    }
}

struct Column {
    name: String,
    /// Its number among the columns that hold values, those of groups included.
    leaf: usize,
}

/// The names of the classes of a `ClassLabel` column, by number, as Hugging Face's `datasets` writes them.
fn class_names(metadata: &FileMetaData, column: &str) -> Option<Vec<String>> {
    let written = metadata.key_value_metadata()?.iter().find(|pair| pair.key == "huggingface")?;
    let written: Value = serde_json::from_str(written.value.as_ref()?).ok()?;
    let names = written.get("info")?.get("features")?.get(column)?.get("names")?;
    serde_json::from_value(names.clone()).ok()
}

#[cfg(test)]
mod tests {
    use parquet::{
        basic::{Compression, Encoding},
        file::{metadata::KeyValue, properties::WriterProperties},
    };

    use crate::{
        Example, Format, RteError, Task,
        testing::{
            self, Column, HUB_SCHEMA, hub_columns, hub_properties, parquet_file, plain_properties,
            version_2_properties,
        },
    };

    fn read(bytes: Vec<u8>) -> Result<Vec<Example>, RteError> {
        Format::Parquet.read(bytes.as_slice(), "dev.parquet", &testing::rte())
    }

    fn error(schema: &str, columns: Vec<Column>) -> String {
        read(parquet_file(schema, &[columns], hub_properties())).unwrap_err().to_string()
    }

    /// A damaged file's error; panics if it is read.
    fn damaged(bytes: Vec<u8>) -> String {
        read(bytes).unwrap_err().to_string()
    }

    const TEXTS: &str = "message schema { required binary sentence1; required binary sentence2;";

    #[test]
    fn every_layout_gives_the_same_examples() {
        let examples = testing::examples();
        for properties in [hub_properties(), version_2_properties(), plain_properties()] {
            let one = parquet_file(HUB_SCHEMA, &[hub_columns(&examples)], properties.clone());
            assert_eq!(read(one).unwrap(), examples);
            let groups = [hub_columns(&examples[..2]), hub_columns(&examples[2..])];
            assert_eq!(read(parquet_file(HUB_SCHEMA, &groups, properties)).unwrap(), examples);
        }
    }

    #[test]
    fn a_long_file_uses_runs_of_every_kind() {
        let examples: Vec<Example> = (0..1000)
            .map(|idx| Example {
                text: format!("sentence {}", idx * idx % 37),
                text_pair: Some(format!("sentence {}", idx / 100)),
                label: [None, Some(0), Some(1)][(idx / 3 + idx % 2) % 3],
                idx,
            })
            .collect();
        for properties in [hub_properties(), version_2_properties(), plain_properties()] {
            let file = parquet_file(HUB_SCHEMA, &[hub_columns(&examples)], properties);
            assert_eq!(read(file).unwrap(), examples);
        }
    }

    #[test]
    fn minus_one_and_null_are_no_label_and_rows_are_numbered() {
        let schema = "message schema { required binary premise; required binary hypothesis; optional int32 label; }";
        let columns = vec![
            Column::text(&["a", "b", "c"]),
            Column::text(&["d", "e", "f"]),
            Column::Int32(vec![Some(-1), None, Some(1)]),
        ];
        let examples = read(parquet_file(schema, &[columns], hub_properties())).unwrap();
        let summary: Vec<_> =
            examples.iter().map(|e| (e.text_pair.as_deref().unwrap(), e.label, e.idx)).collect();
        assert_eq!(summary, [("d", None, 0), ("e", None, 1), ("f", Some(1), 2)]);
    }

    #[test]
    fn a_file_without_rows_gives_none() {
        let empty = parquet_file(HUB_SCHEMA, &[hub_columns(&[])], hub_properties());
        assert_eq!(read(empty).unwrap(), []);
        assert_eq!(read(parquet_file(HUB_SCHEMA, &[], hub_properties())).unwrap(), []);
    }

    #[test]
    fn a_wrong_column_is_named() {
        assert_eq!(
            error(
                "message schema { required binary sentence1; required int64 label; }",
                vec![Column::text(&["a"]), Column::Int64(vec![Some(0)])]
            ),
            "dev.parquet: no column sentence2 (or hypothesis); it has sentence1, label"
        );
        assert_eq!(
            error(
                "message schema { required binary sentence1; required int32 sentence2; }",
                vec![Column::text(&["a"]), Column::Int32(vec![Some(0)])]
            ),
            "dev.parquet, column sentence2: its type is INT32, but BYTE_ARRAY is needed"
        );
        assert_eq!(
            error(
                &format!("{TEXTS} required double label; }}"),
                vec![Column::text(&["a"]), Column::text(&["b"]), Column::Double(vec![Some(0.5)])]
            ),
            "dev.parquet, column label: its type is DOUBLE, but INT64 or INT32 or BYTE_ARRAY is needed"
        );
    }

    #[test]
    fn a_repeated_column_is_refused() {
        let schema = "message schema { required binary sentence1; repeated binary sentence2; }";
        let columns = vec![Column::text(&[]), Column::text(&[])];
        assert_eq!(
            error(schema, columns),
            "dev.parquet, column sentence2: it is nested, but one value per row is needed"
        );
    }

    #[test]
    fn a_group_is_refused_and_its_columns_are_passed_over() {
        let group = "required group extra { required int32 a; required int32 b; }";
        let column = |number| Column::Int32(vec![Some(number)]);
        let columns = vec![column(1), column(2), Column::text(&["a"]), Column::text(&["b"])];
        let schema = format!("message schema {{ {group} {}", &TEXTS["message schema {".len()..]);
        let file = parquet_file(&format!("{schema} }}"), &[columns], hub_properties());
        let examples = read(file).unwrap();
        assert_eq!((&*examples[0].text, examples[0].text_pair.as_deref()), ("a", Some("b")));

        let schema = "message schema { required group sentence1 { required binary text; } required binary sentence2; }";
        assert_eq!(
            error(schema, vec![Column::text(&["a"]), Column::text(&["b"])]),
            "dev.parquet, column sentence1: it is nested, but one value per row is needed"
        );
    }

    #[test]
    fn a_wrong_value_is_named_by_row_across_row_groups() {
        let schema = format!("{TEXTS} optional int64 label; optional int64 idx; }}");
        let group = |sentence2: &[u8], label, idx| {
            vec![
                Column::text(&["a", "b"]),
                Column::Text(vec![Some(b"c".to_vec()), Some(sentence2.to_vec())]),
                Column::Int64(vec![Some(0), label]),
                Column::Int64(vec![Some(0), idx]),
            ]
        };
        let error = |second| {
            let groups = [group(b"d", Some(1), Some(1)), second];
            damaged(parquet_file(&schema, &groups, hub_properties()))
        };
        assert_eq!(
            error(group(b"d", Some(2), Some(3))),
            "dev.parquet, row 4: unknown label 2; the labels are entailment (0) and not_entailment (1); -1 or null where there is none"
        );
        assert_eq!(
            error(group(b"\xff", Some(1), Some(3))),
            "dev.parquet, row 4, column sentence2: not valid UTF-8"
        );
        assert_eq!(
            error(group(b"d", Some(1), Some(-3))),
            "dev.parquet, row 4, column idx: -3 is not a whole number from 0"
        );
        assert_eq!(
            error(group(b"d", Some(1), None)),
            "dev.parquet, row 4, column idx: null where a number is needed"
        );
    }

    #[test]
    fn a_null_sentence_is_named_by_row() {
        let schema = "message schema { required binary sentence1; optional binary sentence2; }";
        let columns = vec![Column::text(&["a", "b"]), Column::Text(vec![Some(vec![]), None])];
        assert_eq!(
            error(schema, columns),
            "dev.parquet, row 2, column sentence2: null where a text is needed"
        );
    }

    #[test]
    fn every_encoding_and_the_common_compressions_are_read() {
        let examples = testing::examples();
        let plain = || WriterProperties::builder().set_dictionary_enabled(false);
        for properties in [
            plain().set_encoding(Encoding::DELTA_BYTE_ARRAY),
            plain().set_compression(Compression::GZIP(Default::default())),
            plain().set_compression(Compression::ZSTD(Default::default())),
        ] {
            let texts = |number: usize| match &hub_columns(&examples)[number] {
                Column::Text(texts) => Column::Text(texts.clone()),
                _ => unreachable!(),
            };
            let columns = vec![texts(0), texts(1)];
            let file = parquet_file(&format!("{TEXTS} }}"), &[columns], properties.build());
            let read: Vec<String> =
                read(file).unwrap().into_iter().map(|example| example.text).collect();
            let expected: Vec<&str> = examples.iter().map(|e| e.text.as_str()).collect();
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn another_codec_is_refused_by_name() {
        let columns = vec![Column::text(&["a"]), Column::text(&["b"])];
        let mut file = parquet_file(&format!("{TEXTS} }}"), &[columns], hub_properties());
        // In the footer a column's codec follows its name: the header of the field, and Snappy's number doubled.
        let name = b"sentence1\x15\x02";
        let at = file.windows(name.len()).rposition(|window| window == name).unwrap();
        file[at + name.len() - 1] = 4 << 1;
        assert_eq!(
            damaged(file),
            "dev.parquet, column sentence1: its compression is BROTLI, but only SNAPPY, GZIP, ZSTD and none are read; write the file again with one of these"
        );
    }

    #[test]
    fn an_encrypted_file_is_refused() {
        assert_eq!(
            damaged(b"PARE and its encrypted footer PARE".to_vec()),
            "dev.parquet: not a readable Parquet file: it is encrypted; write the file again without encryption"
        );
    }

    #[test]
    fn repeats_are_read_up_to_a_bound() {
        let repeated = |text: &str, rows| {
            let columns = vec![Column::text(&vec![text; rows]), Column::text(&vec!["b"; rows])];
            parquet_file(&format!("{TEXTS} }}"), &[columns], hub_properties())
        };
        let rows = repeated("a", 50_000);
        assert!(rows.len() < 2000, "{}", rows.len());
        assert_eq!(read(rows).unwrap().len(), 50_000);
        let message = damaged(repeated(&"a long text ".repeat(200), 10_000));
        assert_eq!(
            message,
            "dev.parquet, column sentence1: it unpacks to more than 64 times the size of its file and 16 MiB; write the file again without compression and dictionaries"
        );
    }

    #[test]
    fn what_is_no_parquet_file_or_cut_short_is_refused() {
        let file = parquet_file(HUB_SCHEMA, &[hub_columns(&testing::examples())], hub_properties());
        for length in 0..file.len() {
            let message = damaged(file[..length].to_vec());
            assert!(
                message.starts_with("dev.parquet: not a readable Parquet file: "),
                "{length}: {message}"
            );
        }
        assert!(damaged(b"PAR1 but nothing else PAR1".to_vec()).starts_with("dev.parquet: not"));
    }

    /// The hub's file with these classes of the label in its metadata.
    fn with_classes(names: &[&str], label: i64) -> Vec<u8> {
        let written = serde_json::json!({
            "info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}
        });
        let pair = KeyValue::new("huggingface".to_owned(), written.to_string());
        let properties =
            WriterProperties::builder().set_key_value_metadata(Some(vec![pair])).build();
        let label = Column::Int64(vec![Some(label)]);
        let columns = vec![Column::text(&["a"]), Column::text(&["b"]), label];
        parquet_file(&format!("{TEXTS} required int64 label; }}"), &[columns], properties)
    }

    #[test]
    fn integer_labels_go_by_the_files_own_names() {
        let label = |names: &[&str], label| read(with_classes(names, label)).map(|e| e[0].label);
        assert_eq!(label(&["entailment", "not_entailment"], 0).unwrap(), Some(0));
        // As in WNLI.
        assert_eq!(label(&["not_entailment", "entailment"], 0).unwrap(), Some(1));
        assert_eq!(label(&["not_entailment", "entailment"], 1).unwrap(), Some(0));
        assert_eq!(label(&["not_entailment", "entailment"], -1).unwrap(), None);
        assert_eq!(
            label(&["not_equivalent", "equivalent"], 0).unwrap_err().to_string(),
            "dev.parquet: its labels are not_equivalent, equivalent, but the task's are entailment, not_entailment; the file belongs to another task"
        );
    }

    #[test]
    fn classes_that_are_fewer_than_two_or_not_different_are_refused() {
        let own = Task::from_columns("sentence1", None, "label", vec![]).unwrap();
        let read =
            |names: &[&str]| Format::Parquet.read(with_classes(names, 0).as_slice(), "f", &own);
        assert_eq!(read(&["b", "a"]).unwrap()[0].label, Some(0));
        for (names, found) in [(&["only"][..], "only"), (&["a", "b", "a"], "a, b, a")] {
            assert_eq!(
                read(names).unwrap_err().to_string(),
                format!("f: column label needs two or more different labels, but has {found}")
            );
        }
    }

    #[test]
    fn labels_may_be_names() {
        let file = parquet_file(
            &format!("{TEXTS} optional binary label; }}"),
            &[vec![
                Column::text(&["a", "b"]),
                Column::text(&["c", "d"]),
                Column::Text(vec![Some(b"not_entailment".to_vec()), None]),
            ]],
            hub_properties(),
        );
        let labels: Vec<_> = read(file).unwrap().iter().map(|example| example.label).collect();
        assert_eq!(labels, [Some(1), None]);
    }
}
