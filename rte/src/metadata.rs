//! Parquet's own headers: what the footer says of columns and row groups, and what stands before each page.
//!
//! Only the fields that reading a column needs are kept.
//! Fields: <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.

use crate::thrift::{Result, Value, read_struct};

// The format's enumerations, by number.
const TYPES: &[&str] = &[
    "BOOLEAN",
    "INT32",
    "INT64",
    "INT96",
    "FLOAT",
    "DOUBLE",
    "BYTE_ARRAY",
    "FIXED_LEN_BYTE_ARRAY",
];
const REPETITIONS: &[&str] = &["REQUIRED", "OPTIONAL", "REPEATED"];
const CODECS: &[&str] =
    &["UNCOMPRESSED", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"];
const ENCODINGS: &[&str] = &[
    "PLAIN",
    "GROUP_VAR_INT",
    "PLAIN_DICTIONARY",
    "RLE",
    "BIT_PACKED",
    "DELTA_BINARY_PACKED",
    "DELTA_LENGTH_BYTE_ARRAY",
    "DELTA_BYTE_ARRAY",
    "RLE_DICTIONARY",
    "BYTE_STREAM_SPLIT",
];

fn name(names: &[&'static str], value: Value<'_, '_>) -> Result<&'static str> {
    Ok(names.get(value.size()?).copied().unwrap_or("unknown"))
}

fn need<T>(field: Option<T>) -> Result<T> {
    field.ok_or("a header is damaged: it lacks a field")
}

/// What the footer says of the file.
#[derive(Debug)]
pub(crate) struct Metadata<'a> {
    /// The fields of the schema's root.
    pub(crate) columns: Vec<Column<'a>>,
    pub(crate) row_groups: Vec<RowGroup>,
}

impl<'a> Metadata<'a> {
    /// Reads the footer of a whole file.
    pub(crate) fn of_file(file: &'a [u8]) -> Result<Self> {
        let Some((content, b"PAR1")) = file.split_last_chunk() else {
            return Err(match file {
                [b'P', b'A', b'R', b'E', ..] => {
                    "it is encrypted; write the file again without encryption"
                }
                _ => "it does not end in PAR1; it may be cut short, so fetch it again",
            });
        };
        let footer = content.split_last_chunk().and_then(|(content, length)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            content.get(content.len().checked_sub(length)?..)
        });
        Self::read(footer.ok_or("its footer is longer than the file")?)
    }

    fn read(mut footer: &'a [u8]) -> Result<Self> {
        let (mut schema, mut row_groups) = (None, None);
        read_struct(&mut footer, |number, value| {
            match number {
                2 => schema = Some(value.structures(Element::read)?),
                4 => row_groups = Some(value.structures(RowGroup::read)?),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { columns: columns(need(schema)?)?, row_groups: need(row_groups)? })
    }
}

/// A field of the schema's root.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Column<'a> {
    pub(crate) name: &'a str,
    /// The type of its values; `None` where it is a group of fields of its own.
    pub(crate) kind: Option<&'static str>,
    /// Whether a row has exactly one value (`REQUIRED`), at most one (`OPTIONAL`) or any number (`REPEATED`).
    pub(crate) repetition: &'static str,
    /// Its place among the chunks of a row group, where it is no group.
    pub(crate) chunk: usize,
}

/// The fields of the root: the schema is a tree, its elements in order, each before its children.
fn columns(elements: Vec<Element<'_>>) -> Result<Vec<Column<'_>>> {
    let mut elements = elements.into_iter();
    let mut next = || elements.next().ok_or("its schema is damaged: it lacks an element");
    let mut columns = Vec::new();
    let mut chunk = 0;
    for _ in 0..next()?.children {
        let Element { name, kind, repetition, children } = next()?;
        columns.push(Column { name, kind, repetition: need(repetition)?, chunk });
        chunk += usize::from(kind.is_some());
        let mut below = children;
        while below > 0 {
            let element = next()?;
            chunk += usize::from(element.kind.is_some());
            below = (below - 1).saturating_add(element.children);
        }
    }
    Ok(columns)
}

/// An element of the schema: a column, or a group of columns, which has children and no type.
struct Element<'a> {
    name: &'a str,
    kind: Option<&'static str>,
    repetition: Option<&'static str>,
    children: usize,
}

impl<'a> Element<'a> {
    fn read(bytes: &mut &'a [u8]) -> Result<Self> {
        let (mut label, mut kind, mut repetition, mut children) = (None, None, None, 0);
        read_struct(bytes, |number, value| {
            match number {
                1 => kind = Some(name(TYPES, value)?),
                3 => repetition = Some(name(REPETITIONS, value)?),
                4 => label = Some(value.text()?),
                5 => children = value.size()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        let kind = if children == 0 { kind } else { None };
        Ok(Self { name: need(label)?, kind, repetition, children })
    }
}

/// Some of the file's rows.
#[derive(Debug)]
pub(crate) struct RowGroup {
    pub(crate) rows: usize,
    /// One for each column of the schema that is no group.
    pub(crate) chunks: Vec<Chunk>,
}

impl RowGroup {
    fn read(bytes: &mut &[u8]) -> Result<Self> {
        let (mut rows, mut chunks) = (None, None);
        read_struct(bytes, |number, value| {
            match number {
                1 => chunks = Some(value.structures(Chunk::read)?),
                3 => rows = Some(value.size()?),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { rows: need(rows)?, chunks: need(chunks)? })
    }
}

/// Where a column's values of a row group are.
#[derive(Debug)]
pub(crate) enum Chunk {
    Here(Pages),
    /// In another file.
    Elsewhere,
    Encrypted,
}

impl Chunk {
    fn read(bytes: &mut &[u8]) -> Result<Self> {
        let (mut pages, mut elsewhere, mut encrypted) = (None, false, false);
        read_struct(bytes, |number, value| {
            match number {
                1 => elsewhere = !value.text()?.is_empty(),
                3 => pages = Some(Pages::read(value)?),
                8 => {
                    encrypted = true;
                    value.skip()?;
                }
                _ => value.skip()?,
            }
            Ok(())
        })?;
        match (encrypted, elsewhere) {
            (true, _) => Ok(Self::Encrypted),
            (_, true) => Ok(Self::Elsewhere),
            _ => need(pages).map(Self::Here),
        }
    }
}

/// Where the pages of a chunk are in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages {
    pub(crate) codec: &'static str,
    pub(crate) start: usize,
    pub(crate) length: usize,
}

impl Pages {
    fn read(value: Value<'_, '_>) -> Result<Self> {
        let (mut codec, mut length, mut data, mut dictionary) = (None, None, None, None);
        value.structure(|number, value| {
            match number {
                4 => codec = Some(name(CODECS, value)?),
                7 => length = Some(value.size()?),
                9 => data = Some(value.size()?),
                11 => dictionary = Some(value.size()?),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        // The dictionary stands before the data; some writers give 0 for what is not there.
        let starts = [need(data)?, dictionary.unwrap_or(0)];
        let start = starts.into_iter().filter(|start| *start > 0).min().unwrap_or(0);
        Ok(Self { codec: need(codec)?, start, length: need(length)? })
    }
}

/// What stands before a page.
#[derive(Debug)]
pub(crate) struct PageHeader {
    /// The page's length in the file.
    pub(crate) packed: usize,
    /// Its length once decompressed.
    pub(crate) unpacked: usize,
    /// What it holds; `None` where that is no values.
    pub(crate) values: Option<Values>,
}

impl PageHeader {
    /// Takes a header off the front of the bytes.
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self> {
        let (mut packed, mut unpacked, mut values) = (None, None, None);
        read_struct(bytes, |number, value| {
            match number {
                2 => unpacked = Some(value.size()?),
                3 => packed = Some(value.size()?),
                5 => values = Some(Values::version_1(value)?),
                7 => values = Some(Values::dictionary(value)?),
                8 => values = Some(Values::version_2(value)?),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { packed: need(packed)?, unpacked: need(unpacked)?, values })
    }
}

/// The values of a page.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) count: usize,
    pub(crate) encoding: &'static str,
    pub(crate) layout: Layout,
}

/// What is beside the values in a page.
#[derive(Debug)]
pub(crate) enum Layout {
    Dictionary,
    /// Definition levels in this encoding, compressed with the values.
    Version1 {
        levels: &'static str,
    },
    /// Repetition and definition levels of these lengths before the values, which alone may be compressed.
    Version2 {
        repetition: usize,
        definition: usize,
        compressed: bool,
    },
}

impl Values {
    fn dictionary(value: Value<'_, '_>) -> Result<Self> {
        let (mut count, mut encoding) = (None, None);
        value.structure(|number, value| {
            match number {
                1 => count = Some(value.size()?),
                2 => encoding = Some(name(ENCODINGS, value)?),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(Self { count: need(count)?, encoding: need(encoding)?, layout: Layout::Dictionary })
    }

    fn version_1(value: Value<'_, '_>) -> Result<Self> {
        let (mut count, mut encoding, mut levels) = (None, None, None);
        value.structure(|number, value| {
            match number {
                1 => count = Some(value.size()?),
                2 => encoding = Some(name(ENCODINGS, value)?),
                3 => levels = Some(name(ENCODINGS, value)?),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        let layout = Layout::Version1 { levels: need(levels)? };
        Ok(Self { count: need(count)?, encoding: need(encoding)?, layout })
    }

    fn version_2(value: Value<'_, '_>) -> Result<Self> {
        let (mut count, mut encoding, mut compressed) = (None, None, true);
        let (mut definition, mut repetition) = (None, None);
        value.structure(|number, value| {
            match number {
                1 => count = Some(value.size()?),
                4 => encoding = Some(name(ENCODINGS, value)?),
                5 => definition = Some(value.size()?),
                6 => repetition = Some(value.size()?),
                7 => compressed = value.boolean()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        let layout = Layout::Version2 {
            repetition: need(repetition)?,
            definition: need(definition)?,
            compressed,
        };
        Ok(Self { count: need(count)?, encoding: need(encoding)?, layout })
    }
}
