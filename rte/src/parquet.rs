//! The hub's Parquet files: `sentence1`, `sentence2`, `label`, `idx`.

use crate::{
    RteError, RteExample,
    budget::Budget,
    columns::{self, IDX, LABEL, SENTENCE1, SENTENCE2},
    error::Place,
    example::label_from_number,
    metadata::{Chunk, Column, Metadata, RowGroup},
    pages::{ColumnChunk, Problem, Width},
};

/// Reads one of the hub's Parquet files from its bytes; `file` is the name that errors give it.
///
/// The columns are `sentence1` and `sentence2` (or `premise` and `hypothesis`), and `label` (0 `entailment`,
/// 1 `not_entailment`, -1 or null none) and `idx` (or `index`) where the file has them; others are ignored. Pages may
/// be plain or dictionary-encoded, and uncompressed or compressed with Snappy, as the hub's are.
///
/// Memory is bounded by the file's size: one that unpacks to more than 64 times its size and 16 MiB is refused.
///
/// # Errors
///
/// A file that is damaged, cut short or encrypted, a missing column, a column of another type, codec or encoding, and
/// a value that is null, no UTF-8 or no label, with the file, the column and the row.
pub fn read_parquet(bytes: Vec<u8>, file: &str) -> Result<Vec<RteExample>, RteError> {
    let metadata = Metadata::of_file(&bytes).map_err(|reason| RteError::Parquet {
        file: file.to_owned(),
        reason: format!("not a readable Parquet file: {reason}"),
    })?;
    let budget = Budget::of_file(bytes.len());
    let mut parquet = Parquet { file, bytes: &bytes, metadata, budget };
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

// The types that a column may have, by the format's names.
const TEXT: &[(&str, Width)] = &[("BYTE_ARRAY", Width::Counted)];
const INTEGER: &[(&str, Width)] = &[("INT64", Width::Fixed(8)), ("INT32", Width::Fixed(4))];

/// An opened file.
struct Parquet<'a> {
    file: &'a str,
    bytes: &'a [u8],
    metadata: Metadata<'a>,
    budget: Budget,
}

impl<'a> Parquet<'a> {
    fn find(&self, names: &[&str]) -> Option<Column<'a>> {
        self.metadata.columns.iter().find(|column| names.contains(&column.name)).copied()
    }

    fn require(&self, names: &[&str]) -> Result<Column<'a>, RteError> {
        self.find(names).ok_or_else(|| RteError::MissingColumn {
            place: self.file.to_owned(),
            wanted: columns::wanted(names),
            found: columns::listed(self.metadata.columns.iter().map(|column| column.name)),
        })
    }

    fn sentences(&mut self, column: Column) -> Result<Vec<String>, RteError> {
        self.rows(column, TEXT, |bytes| match bytes.map(str::from_utf8) {
            Some(Ok(text)) => Ok(text.to_owned()),
            Some(Err(_)) => Err("not valid UTF-8".to_owned()),
            None => Err("null where a sentence is needed".to_owned()),
        })
    }

    fn labels(&mut self, column: Column) -> Result<Vec<Option<usize>>, RteError> {
        let numbers = self.rows(column, INTEGER, |bytes| Ok(bytes.map(integer)))?;
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

    fn indices(&mut self, column: Column) -> Result<Vec<usize>, RteError> {
        self.rows(column, INTEGER, |bytes| match bytes.map(integer) {
            Some(number) => usize::try_from(number)
                .map_err(|_| format!("{number} is not a whole number from 0")),
            None => Err("null where a number is needed".to_owned()),
        })
    }

    /// A whole column of one of these types, each value passed through `convert`, whose error is given the row's
    /// place.
    fn rows<T>(
        &mut self,
        column: Column,
        types: &[(&str, Width)],
        convert: impl Fn(Option<&[u8]>) -> Result<T, String>,
    ) -> Result<Vec<T>, RteError> {
        let width = width(column, types).map_err(|reason| self.column_error(column, reason))?;
        let mut values = Vec::new();
        for row_group in &self.metadata.row_groups {
            self.chunk(row_group, column, width)
                .map_err(Problem::Pages)
                .and_then(|chunk| {
                    chunk.read(&mut self.budget, |bytes| {
                        convert(bytes).map(|value| values.push(value))
                    })
                })
                .map_err(|problem| match problem {
                    Problem::Pages(reason) => self.column_error(column, reason),
                    Problem::Value(reason) => RteError::InvalidValue {
                        place: Place::row(self.file, values.len() + 1),
                        column: column.name.to_owned(),
                        reason,
                    },
                })?;
        }
        Ok(values)
    }

    fn chunk(
        &self,
        row_group: &RowGroup,
        column: Column,
        width: Width,
    ) -> Result<ColumnChunk<'a>, String> {
        let pages = match row_group.chunks.get(column.chunk) {
            Some(Chunk::Here(pages)) => pages,
            Some(Chunk::Elsewhere) => {
                return Err(
                    "its values are in another file; write the file again as one".to_owned()
                );
            }
            Some(Chunk::Encrypted) => {
                return Err("is encrypted; write the file again without encryption".to_owned());
            }
            None => return Err("is missing from a row group".to_owned()),
        };
        let bytes = self.bytes.get(pages.start..).and_then(|bytes| bytes.get(..pages.length));
        Ok(ColumnChunk {
            bytes: bytes.ok_or("its pages lie beyond the end of the file")?,
            codec: pages.codec,
            rows: row_group.rows,
            nullable: column.repetition == "OPTIONAL",
            width,
        })
    }

    fn column_error(&self, column: Column, reason: String) -> RteError {
        let column = column.name.to_owned();
        RteError::ParquetColumn { file: self.file.to_owned(), column, reason }
    }
}

/// The width of the column's values, if it has one of these types.
fn width(column: Column, types: &[(&str, Width)]) -> Result<Width, String> {
    let (Some(found), "REQUIRED" | "OPTIONAL") = (column.kind, column.repetition) else {
        return Err("is nested, but one value a row is needed".to_owned());
    };
    types.iter().find(|(name, _)| *name == found).map(|(_, width)| *width).ok_or_else(|| {
        let names: Vec<&str> = types.iter().map(|(name, _)| *name).collect();
        format!("its type is {found}, but {} is needed", names.join(" or "))
    })
}

/// A little-endian integer of at most eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    let sign = if bytes.last().is_some_and(|byte| *byte >= 0x80) { -1 } else { 0 };
    bytes.iter().rev().fold(sign, |number, byte| number << 8 | i64::from(*byte))
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
    fn a_group_is_refused_and_its_columns_are_passed_over() {
        let group = "required group extra { required int32 a; required int32 b; }";
        let column = |number| Column::Int32(vec![Some(number)]);
        let columns = vec![column(1), column(2), Column::text(&["a"]), Column::text(&["b"])];
        let schema = format!("message schema {{ {group} {}", &TEXTS["message schema {".len()..]);
        let file = parquet_file(&format!("{schema} }}"), &[columns], hub_properties());
        let examples = read(file).unwrap();
        assert_eq!((&*examples[0].sentence1, &*examples[0].sentence2), ("a", "b"));

        let schema = "message schema { required group sentence1 { required binary text; } required binary sentence2; }";
        assert_eq!(
            error(schema, vec![Column::text(&["a"]), Column::text(&["b"])]),
            "dev.parquet, column sentence1: is nested, but one value a row is needed"
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
    fn another_codec_is_refused_by_name() {
        let columns = vec![Column::text(&["a"]), Column::text(&["b"])];
        let mut file = parquet_file(&format!("{TEXTS} }}"), &[columns], hub_properties());
        // In the footer a column's codec follows its name: the header of the field, and Snappy's number doubled.
        let name = b"sentence1\x15\x02";
        let at = file.windows(name.len()).rposition(|window| window == name).unwrap();
        file[at + name.len() - 1] = 6 << 1;
        assert_eq!(
            damaged(file),
            "dev.parquet, column sentence1: its compression is ZSTD, but only SNAPPY and none are read; write the file again with one of these"
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
            "dev.parquet, column sentence1: unpacks to more than 64 times the size of its file and 16 MiB; write the file again without compression and dictionaries"
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
