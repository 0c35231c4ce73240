//! Damaged input of every format: an error or examples, never a panic.

use parquet::file::properties::WriterProperties;

use crate::{
    Format, read_examples,
    testing::{
        self, HUB_SCHEMA, hub_columns, hub_properties, parquet_file, plain_properties,
        version_2_properties,
    },
};

/// The SplitMix64 generator: every run damages the same bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end.max(1) as u64) as usize
    }

    /// One to four times: a bit flipped, a byte replaced, a few removed, inserted or set to extremes, the end cut off.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = bytes.len().min(at + 1 + self.below(8));
            match self.below(7) {
                0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                3 => drop(bytes.drain(at..end)),
                4 => bytes.insert(at, b"\t\n\r\"{}\xff\0"[self.below(8)]),
                5 => bytes[at..end].fill([0, 0xff, 0x7f, 0x80][self.below(4)]),
                6 if self.below(8) == 0 => bytes.truncate(at),
                _ => {}
            }
        }
    }
}

/// Reads `valid` damaged in `times` ways; some are still valid, some are not.
fn survives(valid: &[u8], format: Format, times: usize) {
    let mut random = Random(20003);
    let mut read = 0;
    for _ in 0..times {
        let mut bytes = valid.to_vec();
        random.damage(&mut bytes);
        read += usize::from(format.read(bytes.as_slice(), "damaged").is_ok());
        let _ = read_examples(bytes.as_slice(), "damaged");
    }
    assert!((1..times).contains(&read), "{read} of {times} damaged sources were read");
}

#[test]
fn damaged_tsv() {
    survives(testing::tsv(&testing::examples()).as_bytes(), Format::Tsv, 5000);
}

#[test]
fn damaged_jsonl() {
    survives(testing::jsonl(&testing::examples()).as_bytes(), Format::Jsonl, 5000);
}

#[test]
fn damaged_parquet() {
    let examples = testing::examples();
    // Without compression, damage reaches the dictionary and its indices.
    let uncompressed = WriterProperties::default();
    for properties in [hub_properties(), version_2_properties(), plain_properties(), uncompressed] {
        let file = parquet_file(HUB_SCHEMA, &[hub_columns(&examples)], properties);
        survives(&file, Format::Parquet, 3000);
    }
}
