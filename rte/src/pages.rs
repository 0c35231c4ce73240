//! The values of a Parquet column, page by page.
//!
//! The `parquet` crate finds the pages and decompresses them; its own value decoders panic on some damaged pages
//! (an index beyond the dictionary, levels longer than the page), so the two encodings that such files use, plain and
//! dictionary, are decoded here, every slice checked.
//! Layouts: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.

use parquet::{basic::Encoding, column::page::Page, errors::ParquetError};

/// Takes the next plain value off the front of the bytes; `None` where they end too early.
pub(crate) type PlainValue<V> = fn(&mut &[u8]) -> Option<V>;

/// A plain INT32: four bytes, little-endian.
pub(crate) fn plain_int32(bytes: &mut &[u8]) -> Option<i64> {
    bytes
        .split_off(..4)
        .and_then(|value| value.try_into().ok())
        .map(|value| i32::from_le_bytes(value).into())
}

/// A plain INT64: eight bytes, little-endian.
pub(crate) fn plain_int64(bytes: &mut &[u8]) -> Option<i64> {
    bytes.split_off(..8).and_then(|value| value.try_into().ok()).map(i64::from_le_bytes)
}

/// A plain BYTE_ARRAY: its length as four bytes, little-endian, then the bytes.
pub(crate) fn plain_bytes(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let length = length(bytes)?;
    bytes.split_off(..length).map(<[u8]>::to_vec)
}

fn length(bytes: &mut &[u8]) -> Option<usize> {
    let length = bytes.split_off(..4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(length)).ok()
}

/// The `rows` values of a column chunk; null where the column is `nullable` and the row has none.
pub(crate) fn read_values<V: Clone>(
    pages: impl Iterator<Item = Result<Page, ParquetError>>,
    rows: usize,
    nullable: bool,
    plain: PlainValue<V>,
) -> Result<Vec<Option<V>>, String> {
    let mut dictionary: Option<Vec<V>> = None;
    let mut values = Vec::new();
    for page in pages {
        let page = page.map_err(|error| error.to_string())?;
        let bytes = page.buffer().clone();
        let mut bytes: &[u8] = &bytes;
        let count = page.num_values() as usize;
        if let Page::DictionaryPage { .. } = page {
            let entries: Option<Vec<V>> = (0..count).map(|_| plain(&mut bytes)).collect();
            dictionary = Some(entries.ok_or("its dictionary is cut short")?);
            continue;
        }
        if count > rows - values.len() {
            return Err(format!("more values than the {rows} rows of its row group"));
        }
        let levels = levels(&page, &mut bytes, nullable)
            .ok_or("the definition levels of a page are damaged")?;
        let mut present = Hybrid::new(levels, 1);
        let mut page_values = PageValues::new(page.encoding(), bytes, &dictionary, plain)?;
        for _ in 0..count {
            let present = match nullable {
                true => present.next().ok_or("a page's definition levels are cut short")? == 1,
                false => true,
            };
            values.push(match present {
                true => Some(page_values.next()?),
                false => None,
            });
        }
    }
    if values.len() < rows {
        return Err(format!("only {} values for the {rows} rows of its row group", values.len()));
    }
    Ok(values)
}

/// Takes a data page's levels off the front of its bytes and gives the definition levels.
fn levels<'a>(page: &Page, bytes: &mut &'a [u8], nullable: bool) -> Option<&'a [u8]> {
    match *page {
        Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
            bytes.split_off(..usize::try_from(rep_levels_byte_len).ok()?)?;
            bytes.split_off(..usize::try_from(def_levels_byte_len).ok()?)
        }
        _ if nullable => {
            let length = length(bytes)?;
            bytes.split_off(..length)
        }
        _ => Some(&[]),
    }
}

/// The values of a data page that are not null.
enum PageValues<'a, V> {
    Plain(&'a [u8], PlainValue<V>),
    Dictionary(Hybrid<'a>, &'a [V]),
}

impl<'a, V: Clone> PageValues<'a, V> {
    fn new(
        encoding: Encoding,
        mut bytes: &'a [u8],
        dictionary: &'a Option<Vec<V>>,
        plain: PlainValue<V>,
    ) -> Result<Self, String> {
        match (encoding, dictionary) {
            (Encoding::PLAIN, _) => Ok(Self::Plain(bytes, plain)),
            (Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY, Some(dictionary)) => {
                let width = match bytes.split_off_first() {
                    Some(&width) if width <= 32 => width.into(),
                    // A page of nulls may have no values at all.
                    None => 0,
                    Some(width) => return Err(format!("dictionary indices of {width} bits")),
                };
                Ok(Self::Dictionary(Hybrid::new(bytes, width), dictionary))
            }
            (Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY, None) => {
                Err("a page refers to a dictionary that the column lacks".to_owned())
            }
            (other, _) => Err(format!(
                "its encoding is {other}, but only PLAIN and RLE_DICTIONARY are read; write the file again with those"
            )),
        }
    }

    fn next(&mut self) -> Result<V, String> {
        match self {
            Self::Plain(bytes, plain) => {
                plain(bytes).ok_or_else(|| "a page is cut short".to_owned())
            }
            Self::Dictionary(indices, dictionary) => {
                let index = indices.next().ok_or("a page is cut short")?;
                dictionary.get(index as usize).cloned().ok_or_else(|| {
                    format!("an index of {index} into a dictionary of {}", dictionary.len())
                })
            }
        }
    }
}

/// Parquet's hybrid of run-length and bit-packed coding.
///
/// Each run begins with a varint header: its lowest bit 0 for `header >> 1` repeats of one value of whole bytes, 1 for
/// `header >> 1` groups of eight values of `width` bits each, lowest bit first.
struct Hybrid<'a> {
    bytes: &'a [u8],
    width: usize,
    left: usize,
    run: Run<'a>,
}

enum Run<'a> {
    Repeated(u32),
    Packed { bytes: &'a [u8], bit: usize },
}

impl<'a> Hybrid<'a> {
    fn new(bytes: &'a [u8], width: usize) -> Self {
        Self { bytes, width, left: 0, run: Run::Repeated(0) }
    }

    fn begin_run(&mut self) -> Option<()> {
        let header = self.header()?;
        let count = usize::try_from(header >> 1).ok()?;
        if header & 1 == 0 {
            let value = self.bytes.split_off(..self.width.div_ceil(8))?;
            self.left = count;
            self.run = Run::Repeated(bits(value, 0, value.len() * 8));
        } else {
            // Some writers cut the padding off the last group.
            let length = count.checked_mul(self.width)?.min(self.bytes.len());
            let bytes = self.bytes.split_off(..length)?;
            self.left = match (bytes.len() * 8).checked_div(self.width) {
                Some(held) => held.min(count.checked_mul(8)?),
                None => count.checked_mul(8)?,
            };
            self.run = Run::Packed { bytes, bit: 0 };
        }
        Some(())
    }

    fn header(&mut self) -> Option<u32> {
        let mut header = 0_u32;
        for shift in (0..32).step_by(7) {
            let byte = *self.bytes.split_off_first()?;
            header |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(header);
            }
        }
        None
    }
}

impl Iterator for Hybrid<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            self.begin_run()?;
        }
        self.left -= 1;
        Some(match &mut self.run {
            Run::Repeated(value) => *value,
            Run::Packed { bytes, bit } => {
                let value = bits(bytes, *bit, self.width);
                *bit += self.width;
                value
            }
        })
    }
}

/// The `width` (at most 32) bits of `bytes` from bit `start` on, lowest first.
fn bits(bytes: &[u8], start: usize, width: usize) -> u32 {
    (0..width)
        .map(|offset| {
            let bit = start + offset;
            u32::from(bytes[bit / 8] >> (bit % 8) & 1) << offset
        })
        .fold(0, |value, bit| value | bit)
}

#[cfg(test)]
mod tests {
    use parquet::column::page::Page;

    use super::*;

    /// The example of the format's specification: 0 to 7 in three bits each.
    const PACKED: [u8; 4] = [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010];

    fn hybrid(bytes: &[u8], width: usize) -> Vec<u32> {
        Hybrid::new(bytes, width).take(20).collect()
    }

    fn dictionary(values: &[i32]) -> Page {
        Page::DictionaryPage {
            buf: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into(),
            num_values: values.len() as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        }
    }

    fn data(bytes: &[u8], num_values: u32, encoding: Encoding) -> Page {
        Page::DataPage {
            buf: bytes.to_vec().into(),
            num_values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        }
    }

    fn read(pages: Vec<Page>, rows: usize, nullable: bool) -> Result<Vec<Option<i64>>, String> {
        read_values(pages.into_iter().map(Ok), rows, nullable, plain_int32)
    }

    #[test]
    fn runs_are_read_as_the_specification_has_them() {
        assert_eq!(hybrid(&PACKED, 3), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(hybrid(&[5 << 1, 9], 4), [9; 5]);
        assert_eq!(hybrid(&[2 << 1, 0x34, 0x12, 1 << 1, 1, 0], 12), [0x1234, 0x1234, 1]);
        // A header of two bytes: 200 repeats.
        assert_eq!(Hybrid::new(&[0x90, 0x03, 1], 1).count(), 200);
        // A group cut after its first byte still holds two whole values.
        assert_eq!(hybrid(&PACKED[..2], 3), [0, 1]);
        assert_eq!(hybrid(&[4 << 1], 0), [0; 4]);
        assert_eq!(hybrid(&[0b11], 0), [0; 8]);
        assert!(hybrid(&[], 3).is_empty());
        assert!(hybrid(&[0xff; 5], 3).is_empty());
    }

    #[test]
    fn nulls_and_dictionary_indices_are_woven() {
        // Levels: one byte-aligned group, present where the bit is 1; then two indices of one bit.
        let page = [&[2, 0, 0, 0, 0b11, 0b101][..], &[1, 0b11, 0b10]].concat();
        let pages = vec![dictionary(&[7, -8]), data(&page, 3, Encoding::RLE_DICTIONARY)];
        assert_eq!(read(pages, 3, true), Ok(vec![Some(7), None, Some(-8)]));
    }

    #[test]
    fn damage_is_told_apart() {
        let indices = |bytes: &[u8]| data(bytes, 2, Encoding::RLE_DICTIONARY);
        let plain = |bytes: &[u8]| data(bytes, 2, Encoding::PLAIN);
        let error = |pages, nullable| read(pages, 2, nullable).unwrap_err();
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
        let short = Page::DictionaryPage {
            buf: vec![0; 7].into(),
            num_values: u32::MAX,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        assert_eq!(error(vec![short], false), "its dictionary is cut short");
    }
}
