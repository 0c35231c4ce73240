//! The values of a Parquet column, page by page, in the two encodings that such files use: plain and dictionary.
//!
//! Nothing that is read is trusted: every slice is checked, and what grows beyond the bytes in the file is counted.
//! Layouts: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.

use std::borrow::Cow;

use crate::{
    budget::Budget,
    hybrid::Hybrid,
    metadata::{Layout, PageHeader, Values},
};

/// Why a column cannot be read.
#[derive(Debug, PartialEq)]
pub(crate) enum Problem {
    /// What is wrong with its pages.
    Pages(String),
    /// What is wrong with the value that comes next.
    Value(String),
}

impl<S: Into<String>> From<S> for Problem {
    fn from(reason: S) -> Self {
        Self::Pages(reason.into())
    }
}

/// Where a plain value ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Width {
    /// After this many bytes.
    Fixed(usize),
    /// After as many bytes as the four before it say, little-endian.
    Counted,
}

impl Width {
    /// Takes a plain value off the front of the bytes; `None` where they end too early.
    fn take<'a>(self, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let length = match self {
            Self::Fixed(length) => length,
            Self::Counted => {
                let length = bytes.split_off(..4)?.try_into().ok()?;
                usize::try_from(u32::from_le_bytes(length)).ok()?
            }
        };
        bytes.split_off(..length)
    }
}

/// A column's part of a row group.
pub(crate) struct ColumnChunk<'a> {
    /// Its pages.
    pub(crate) bytes: &'a [u8],
    /// How they are compressed, by the format's name.
    pub(crate) codec: &'static str,
    /// The rows of the row group.
    pub(crate) rows: usize,
    /// Whether a row may be null.
    pub(crate) nullable: bool,
    pub(crate) width: Width,
}

impl<'a> ColumnChunk<'a> {
    /// Gives the value of every row to `each`, in order; `None` where it is null.
    pub(crate) fn read(
        &self,
        budget: &mut Budget,
        mut each: impl FnMut(Option<&[u8]>) -> Result<(), String>,
    ) -> Result<(), Problem> {
        let mut bytes = self.bytes;
        budget.spend(bytes.len())?;
        let mut dictionary = None;
        let mut left = self.rows;
        while !bytes.is_empty() {
            let header = PageHeader::read(&mut bytes)?;
            let page = bytes.split_off(..header.packed).ok_or("a page is cut short")?;
            let Some(Values { count, encoding, layout }) = header.values else { continue };
            let (levels, data) = self.unpack(page, header.unpacked, &layout, budget)?;
            if let Layout::Dictionary = layout {
                let read = Dictionary::read(data, count, self.width);
                dictionary = Some(read.ok_or("its dictionary is cut short")?);
                continue;
            }
            left = left.checked_sub(count).ok_or_else(|| {
                format!("more values than the {} rows of its row group", self.rows)
            })?;
            let mut data = &*data;
            let levels = match layout {
                Layout::Version1 { levels } if self.nullable => {
                    version_1_levels(levels, &mut data)?
                }
                _ => levels,
            };
            let mut levels = self.nullable.then(|| Hybrid::new(levels, 1));
            let mut values = PageValues::new(encoding, data, &dictionary, self.width)?;
            for _ in 0..count {
                let present = match &mut levels {
                    Some(levels) => {
                        levels.next().ok_or("a page's definition levels are cut short")? == 1
                    }
                    None => true,
                };
                let value = if present { Some(values.next()?) } else { None };
                // What keeping the value takes, about.
                budget.spend(size_of::<String>() + value.map_or(0, <[u8]>::len))?;
                each(value).map_err(Problem::Value)?;
            }
        }
        if left > 0 {
            let found = self.rows - left;
            return Err(
                format!("only {found} values for the {} rows of its row group", self.rows).into()
            );
        }
        Ok(())
    }

    /// A page's definition levels, where they stand before what is compressed, and its decompressed bytes.
    fn unpack(
        &self,
        mut page: &'a [u8],
        mut length: usize,
        layout: &Layout,
        budget: &mut Budget,
    ) -> Result<(&'a [u8], Cow<'a, [u8]>), String> {
        let mut codec = self.codec;
        let mut levels: &[u8] = &[];
        if let Layout::Version2 { repetition, definition, compressed } = *layout {
            page.split_off(..repetition).ok_or(LEVELS_DAMAGED)?;
            levels = page.split_off(..definition).ok_or(LEVELS_DAMAGED)?;
            length = length.checked_sub(repetition + definition).ok_or(LEVELS_DAMAGED)?;
            if !compressed {
                codec = "UNCOMPRESSED";
            }
        }
        Ok((levels, decompress(codec, page, length, budget)?))
    }
}

const LEVELS_DAMAGED: &str = "the definition levels of a page are damaged";

/// Takes the definition levels off the front of a decompressed page of the first version.
fn version_1_levels<'a>(encoding: &str, data: &mut &'a [u8]) -> Result<&'a [u8], String> {
    match encoding {
        "RLE" => Width::Counted.take(data).ok_or_else(|| LEVELS_DAMAGED.to_owned()),
        other => Err(format!(
            "the encoding of its definition levels is {other}, but only RLE is read; write the file again with that"
        )),
    }
}

/// A page's bytes decompressed, which must give `length`.
fn decompress<'a>(
    codec: &str,
    bytes: &'a [u8],
    length: usize,
    budget: &mut Budget,
) -> Result<Cow<'a, [u8]>, String> {
    /// The most that Snappy makes of a byte, rounded up: its densest element gives 64 for three.
    const EXPANSION: usize = 22;

    match codec {
        "UNCOMPRESSED" => Ok(bytes.into()),
        // Some writers leave out even the length of nothing.
        "SNAPPY" if length == 0 => Ok(Cow::default()),
        "SNAPPY" => {
            let promised = snap::raw::decompress_len(bytes).ok();
            if promised != Some(length) || length / EXPANSION > bytes.len() {
                return Err("a page unpacks to another length than its header says".to_owned());
            }
            budget.spend(length)?;
            let unpacked = snap::raw::Decoder::new().decompress_vec(bytes);
            unpacked.map(Cow::Owned).map_err(|error| format!("a page is damaged: {error}"))
        }
        other => Err(format!(
            "its compression is {other}, but only SNAPPY and none are read; write the file again with one of these"
        )),
    }
}

/// The values that a column's pages refer to by number.
struct Dictionary<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where in the bytes each value begins.
    starts: Vec<u32>,
    width: Width,
}

impl<'a> Dictionary<'a> {
    fn read(bytes: Cow<'a, [u8]>, count: usize, width: Width) -> Option<Self> {
        let mut left = &*bytes;
        let mut starts = Vec::new();
        for _ in 0..count {
            starts.push(u32::try_from(bytes.len() - left.len()).ok()?);
            width.take(&mut left)?;
        }
        Some(Self { bytes, starts, width })
    }

    fn get(&self, index: u32) -> Result<&[u8], String> {
        let start = self.starts.get(index as usize);
        start.and_then(|start| self.width.take(&mut self.bytes.get(*start as usize..)?)).ok_or_else(
            || format!("an index of {index} into a dictionary of {}", self.starts.len()),
        )
    }
}

/// The values of a data page that are not null.
enum PageValues<'a> {
    Plain(&'a [u8], Width),
    Indexed(Hybrid<'a>, &'a Dictionary<'a>),
}

impl<'a> PageValues<'a> {
    fn new(
        encoding: &str,
        mut bytes: &'a [u8],
        dictionary: &'a Option<Dictionary<'a>>,
        width: Width,
    ) -> Result<Self, String> {
        match (encoding, dictionary) {
            ("PLAIN", _) => Ok(Self::Plain(bytes, width)),
            ("RLE_DICTIONARY" | "PLAIN_DICTIONARY", Some(dictionary)) => {
                let bits = match bytes.split_off_first() {
                    Some(&bits) if bits <= 32 => bits.into(),
                    // A page of nulls may have no values at all.
                    None => 0,
                    Some(bits) => return Err(format!("dictionary indices of {bits} bits")),
                };
                Ok(Self::Indexed(Hybrid::new(bytes, bits), dictionary))
            }
            ("RLE_DICTIONARY" | "PLAIN_DICTIONARY", None) => {
                Err("a page refers to a dictionary that the column lacks".to_owned())
            }
            (other, _) => Err(format!(
                "its encoding is {other}, but only PLAIN and RLE_DICTIONARY are read; write the file again with those"
            )),
        }
    }

    fn next(&mut self) -> Result<&'a [u8], String> {
        match self {
            Self::Plain(bytes, width) => {
                width.take(bytes).ok_or_else(|| "a page is cut short".to_owned())
            }
            Self::Indexed(indices, dictionary) => {
                dictionary.get(indices.next().ok_or("a page is cut short")?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a struct from `first` on, each an I32, and its end.
    fn fields(first: u8, numbers: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, number) in numbers.iter().enumerate() {
            bytes.push(if index == 0 { first << 4 | 5 } else { 0x15 });
            let mut zigzag = u64::from(*number) << 1;
            while zigzag >= 0x80 {
                bytes.push(zigzag as u8 | 0x80);
                zigzag >>= 7;
            }
            bytes.push(zigzag as u8);
        }
        bytes
    }

    /// A page with its header, in which `kind` is the field that says what it holds, and `values` are that field's.
    fn page(kind: u8, values: &[u32], bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len() as u32;
        let values = fields(1, values);
        [&fields(2, &[length, length]), &[(kind - 3) << 4 | 12][..], &values, &[0, 0], bytes]
            .concat()
    }

    const DICTIONARY: u8 = 7;
    const DATA: u8 = 5;
    const PLAIN: u32 = 0;
    const RLE: u32 = 3;
    const BIT_PACKED: u32 = 4;
    const RLE_DICTIONARY: u32 = 8;

    fn dictionary(values: &[i32]) -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        page(DICTIONARY, &[values.len() as u32, PLAIN], &bytes)
    }

    fn data(bytes: &[u8], count: u32, encoding: u32) -> Vec<u8> {
        page(DATA, &[count, encoding, RLE, RLE], bytes)
    }

    /// The values of a column of INT32.
    fn read(pages: &[Vec<u8>], rows: usize, nullable: bool) -> Result<Vec<Option<i32>>, Problem> {
        let bytes = pages.concat();
        let width = Width::Fixed(4);
        let chunk = ColumnChunk { bytes: &bytes, codec: "UNCOMPRESSED", rows, nullable, width };
        let mut values = Vec::new();
        chunk.read(&mut Budget::of_file(bytes.len()), |value| {
            values.push(value.map(|value| i32::from_le_bytes(value.try_into().unwrap())));
            Ok(())
        })?;
        Ok(values)
    }

    #[test]
    fn nulls_and_dictionary_indices_are_woven() {
        // Levels: one byte-aligned group, present where the bit is 1; then two indices of one bit.
        let page = [&[2, 0, 0, 0, 0b11, 0b101][..], &[1, 0b11, 0b10]].concat();
        let pages = [dictionary(&[7, -8]), data(&page, 3, RLE_DICTIONARY)];
        assert_eq!(read(&pages, 3, true), Ok(vec![Some(7), None, Some(-8)]));
    }

    #[test]
    fn damage_is_told_apart() {
        let indices = |bytes: &[u8]| data(bytes, 2, RLE_DICTIONARY);
        let plain = |bytes: &[u8]| data(bytes, 2, PLAIN);
        let error = |pages: Vec<Vec<u8>>, nullable| match read(&pages, 2, nullable).unwrap_err() {
            Problem::Pages(reason) => reason,
            Problem::Value(reason) => panic!("{reason}"),
        };
        assert_eq!(
            error(vec![dictionary(&[7]), indices(&[1, 2 << 1, 1])], false),
            "an index of 1 into a dictionary of 1"
        );
        assert_eq!(
            error(vec![indices(&[1, 2 << 1, 0])], false),
            "a page refers to a dictionary that the column lacks"
        );
        assert_eq!(
            error(vec![dictionary(&[7]), indices(&[33])], false),
            "dictionary indices of 33 bits"
        );
        assert_eq!(error(vec![dictionary(&[7]), indices(&[])], false), "a page is cut short");
        assert_eq!(error(vec![plain(&[0; 7])], false), "a page is cut short");
        assert_eq!(
            error(vec![plain(&[0; 8]), plain(&[0; 8])], false),
            "more values than the 2 rows of its row group"
        );
        assert_eq!(error(vec![], false), "only 0 values for the 2 rows of its row group");
        assert_eq!(
            error(vec![plain(&[9, 0, 0, 0, 4, 1])], true),
            "the definition levels of a page are damaged"
        );
        assert_eq!(
            error(vec![plain(&[2, 0, 0, 0, 2, 0])], true),
            "a page's definition levels are cut short"
        );
        assert_eq!(
            error(vec![page(DATA, &[2, PLAIN, BIT_PACKED, RLE], &[0; 9])], true),
            "the encoding of its definition levels is BIT_PACKED, but only RLE is read; write the file again with that"
        );
        let short = page(DICTIONARY, &[u32::MAX, PLAIN], &[0; 7]);
        assert_eq!(error(vec![short], false), "its dictionary is cut short");
        let mut cut = plain(&[0; 8]);
        cut.pop();
        assert_eq!(error(vec![cut], false), "a page is cut short");
        assert_eq!(error(vec![vec![0x15]], false), "a header is cut short");
    }
    #[test]
    fn compression_is_held_to_its_length() {
        let packed = snap::raw::Encoder::new().compress_vec(&[7; 1000]).unwrap();
        let unpack = |bytes, length| {
            decompress("SNAPPY", bytes, length, &mut Budget::of_file(0)).map(Cow::into_owned)
        };
        assert_eq!(unpack(&packed, 1000), Ok(vec![7; 1000]));
        assert_eq!(unpack(&[], 0), Ok(vec![]));
        let promises_four_gigabytes = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        let other_length = "a page unpacks to another length than its header says";
        assert_eq!(unpack(&packed, 999).unwrap_err(), other_length);
        assert_eq!(unpack(&promises_four_gigabytes, 0xffff_ffff).unwrap_err(), other_length);
        let cut = unpack(&packed[..packed.len() - 1], 1000).unwrap_err();
        assert!(cut.starts_with("a page is damaged: "), "{cut}");
    }
}
