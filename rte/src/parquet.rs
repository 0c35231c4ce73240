//! The hub's Parquet files: `sentence1`, `sentence2`, `label`, `idx`.

use std::{panic, sync::Arc};

use bytes::Bytes;
use parquet::{
    basic::{Compression, Type},
    file::{
        metadata::RowGroupMetaData,
        reader::{FileReader, SerializedFileReader},
        serialized_reader::SerializedPageReader,
    },
    schema::types::ColumnDescPtr,
};

use crate::{
    RteError, RteExample,
    columns::{self, IDX, LABEL, SENTENCE1, SENTENCE2},
    error::Place,
    example::label_from_number,
    pages::{PlainValue, plain_bytes, plain_int32, plain_int64, read_values},
};

/// Reads one of the hub's Parquet files from its bytes; `file` is the name that errors give it.
///
/// The columns are `sentence1` and `sentence2` (or `premise` and `hypothesis`), and `label` (0 `entailment`,
/// 1 `not_entailment`, -1 or null none) and `idx` (or `index`) where the file has them; others are ignored. Pages may
/// be plain or dictionary-encoded, and uncompressed or compressed with Snappy, as the hub's are.
///
/// # Errors
///
/// A file that is damaged or cut short, a missing column, a column of another type, codec or encoding, and a value
/// that is null, no UTF-8 or no label, with the file, the column and the row.
pub fn read_parquet(bytes: Vec<u8>, file: &str) -> Result<Vec<RteExample>, RteError> {
    // The crate's parser of headers panics on some that are damaged, such as a number in place of a yes or no.
    panic::catch_unwind(|| read(bytes, file)).unwrap_or_else(|_| {
        Err(RteError::Parquet {
            file: file.to_owned(),
            reason: "not a readable Parquet file: its headers are damaged".to_owned(),
        })
    })
}

fn read(bytes: Vec<u8>, file: &str) -> Result<Vec<RteExample>, RteError> {
    let bytes = Bytes::from(bytes);
    let reader = SerializedFileReader::new(bytes.clone()).map_err(|error| RteError::Parquet {
        file: file.to_owned(),
        reason: format!("not a readable Parquet file: {error}"),
    })?;
    let parquet = Parquet { file, bytes: Arc::new(bytes), reader };
    let sentence1 = parquet.sentences(parquet.require(SENTENCE1)?)?;
    let sentence2 = parquet.sentences(parquet.require(SENTENCE2)?)?;
    let labels = parquet.find(LABEL).map(|column| parquet.labels(column)).transpose()?;
    let idx = parquet.find(IDX).map(|column| parquet.indices(column)).transpose()?;
    // Every column has been read to exactly the file's number of rows.
    Ok(sentence1
        .into_iter()
        .zip(sentence2)
        .enumerate()
        .map(|(row, (sentence1, sentence2))| RteExample {
            sentence1,
            sentence2,
            label: labels.as_ref().and_then(|labels| labels[row]),
            idx: idx.as_ref().map_or(row, |idx| idx[row]),
        })
        .collect())
}

/// An opened file; a column is its index in the schema.
struct Parquet<'a> {
    file: &'a str,
    bytes: Arc<Bytes>,
    reader: SerializedFileReader<Bytes>,
}

impl Parquet<'_> {
    fn schema(&self) -> &[ColumnDescPtr] {
        self.reader.metadata().file_metadata().schema_descr().columns()
    }

    fn name(&self, column: usize) -> String {
        self.schema()[column].path().string()
    }

    fn find(&self, names: &[&str]) -> Option<usize> {
        (0..self.schema().len()).find(|column| names.contains(&self.name(*column).as_str()))
    }

    fn require(&self, names: &[&str]) -> Result<usize, RteError> {
        self.find(names).ok_or_else(|| RteError::MissingColumn {
            place: self.file.to_owned(),
            wanted: columns::wanted(names),
            found: columns::listed((0..self.schema().len()).map(|column| self.name(column))),
        })
    }

    fn sentences(&self, column: usize) -> Result<Vec<String>, RteError> {
        let plain = match self.schema()[column].physical_type() {
            Type::BYTE_ARRAY => plain_bytes,
            other => return Err(self.wrong_type(column, other, "BYTE_ARRAY")),
        };
        self.rows(column, plain, |bytes| match bytes {
            Some(bytes) => String::from_utf8(bytes).map_err(|_| "not valid UTF-8".to_owned()),
            None => Err("null where a sentence is needed".to_owned()),
        })
    }

    fn labels(&self, column: usize) -> Result<Vec<Option<usize>>, RteError> {
        let numbers = self.rows(column, self.plain_integer(column)?, Ok)?;
        let mut labels = Vec::with_capacity(numbers.len());
        for (row, number) in numbers.into_iter().enumerate() {
            let label = label_from_number(number.unwrap_or(-1));
            labels.push(label.ok_or_else(|| RteError::UnknownLabel {
                place: Place::row(self.file, row + 1),
                label: number.unwrap_or_default().to_string(),
                accepted: "0 (entailment) and 1 (not_entailment); -1 or null where there is none",
            })?);
        }
        Ok(labels)
    }

    fn indices(&self, column: usize) -> Result<Vec<usize>, RteError> {
        self.rows(column, self.plain_integer(column)?, |number| match number {
            Some(number) => usize::try_from(number)
                .map_err(|_| format!("{number} is not a whole number from 0")),
            None => Err("null where a number is needed".to_owned()),
        })
    }

    fn plain_integer(&self, column: usize) -> Result<PlainValue<i64>, RteError> {
        match self.schema()[column].physical_type() {
            Type::INT32 => Ok(plain_int32),
            Type::INT64 => Ok(plain_int64),
            other => Err(self.wrong_type(column, other, "INT64 or INT32")),
        }
    }

    /// A whole column, each value passed through `convert`, whose error is given the row's place.
    fn rows<V: Clone, T>(
        &self,
        column: usize,
        plain: PlainValue<V>,
        convert: impl Fn(Option<V>) -> Result<T, String>,
    ) -> Result<Vec<T>, RteError> {
        let mut values = Vec::new();
        for row_group in self.reader.metadata().row_groups() {
            let chunk = self
                .chunk(row_group, column, plain)
                .map_err(|reason| self.column_error(column, reason))?;
            for value in chunk {
                let value = convert(value).map_err(|reason| RteError::InvalidValue {
                    place: Place::row(self.file, values.len() + 1),
                    column: self.name(column),
                    reason,
                })?;
                values.push(value);
            }
        }
        Ok(values)
    }

    fn chunk<V: Clone>(
        &self,
        row_group: &RowGroupMetaData,
        column: usize,
        plain: PlainValue<V>,
    ) -> Result<Vec<Option<V>>, String> {
        let schema = &self.schema()[column];
        if schema.max_rep_level() > 0 || schema.max_def_level() > 1 {
            return Err("is nested, but one value a row is needed".to_owned());
        }
        let chunk = row_group.columns().get(column).ok_or("is missing from a row group")?;
        match chunk.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY => {}
            other => {
                return Err(format!(
                    "its compression is {other}, but only SNAPPY and none are read; write the file again with one of these"
                ));
            }
        }
        let rows =
            usize::try_from(row_group.num_rows()).map_err(|_| "a negative number of rows")?;
        // The crate asserts that these are not negative.
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
        if start < 0 || chunk.compressed_size() < 0 {
            return Err("a negative offset or size".to_owned());
        }
        let pages = SerializedPageReader::new(self.bytes.clone(), chunk, rows, None)
            .map_err(|error| error.to_string())?;
        read_values(pages, rows, schema.max_def_level() > 0, plain)
    }

    fn wrong_type(&self, column: usize, found: Type, wanted: &str) -> RteError {
        self.column_error(column, format!("its type is {found}, but {wanted} is needed"))
    }

    fn column_error(&self, column: usize, reason: String) -> RteError {
        RteError::ParquetColumn { file: self.file.to_owned(), column: self.name(column), reason }
    }
}

#[cfg(test)]
mod tests {
    use ::parquet::file::properties::WriterProperties;

    use super::{RteError, RteExample, read_parquet};
    use crate::testing::{
        self, Column, HUB_SCHEMA, hub_columns, hub_properties, parquet_file, plain_properties,
        version_2_properties,
    };

    fn read(bytes: Vec<u8>) -> Result<Vec<RteExample>, RteError> {
        read_parquet(bytes, "dev.parquet")
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
        let examples: Vec<RteExample> = (0..1000)
            .map(|idx| RteExample {
                sentence1: format!("sentence {}", idx * idx % 37),
                sentence2: format!("sentence {}", idx / 100),
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
            examples.iter().map(|e| (e.sentence2.as_str(), e.label, e.idx)).collect();
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
                &format!("{TEXTS} required binary label; }}"),
                vec![Column::text(&["a"]), Column::text(&["b"]), Column::text(&["entailment"])]
            ),
            "dev.parquet, column label: its type is BYTE_ARRAY, but INT64 or INT32 is needed"
        );
    }

    #[test]
    fn a_repeated_column_is_refused() {
        let schema = "message schema { required binary sentence1; repeated binary sentence2; }";
        let columns = vec![Column::text(&[]), Column::text(&[])];
        assert_eq!(
            error(schema, columns),
            "dev.parquet, column sentence2: is nested, but one value a row is needed"
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
            "dev.parquet, row 4: unknown label 2; the labels are 0 (entailment) and 1 (not_entailment); -1 or null where there is none"
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
            "dev.parquet, row 2, column sentence2: null where a sentence is needed"
        );
    }

    #[test]
    fn another_encoding_is_refused_by_name() {
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_encoding(::parquet::basic::Encoding::DELTA_BYTE_ARRAY)
            .build();
        let columns = vec![Column::text(&["a"]), Column::text(&["b"])];
        assert_eq!(
            damaged(parquet_file(&format!("{TEXTS} }}"), &[columns], properties)),
            "dev.parquet, column sentence1: its encoding is DELTA_BYTE_ARRAY, but only PLAIN and RLE_DICTIONARY are read; write the file again with those"
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
}
