//! Parquet's hybrid of run-length and bit-packed coding, for levels and for indices into a dictionary.
//!
//! Each run begins with a varint header: its lowest bit 0 for `header >> 1` repeats of one value of whole bytes, 1 for
//! `header >> 1` groups of eight values of `width` bits each, lowest bit first.

/// The numbers that such runs hold.
pub(crate) struct Hybrid<'a> {
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
    /// Reads runs of numbers of `width` (at most 32) bits.
    pub(crate) fn new(bytes: &'a [u8], width: usize) -> Self {
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
    use super::*;

    /// The example of the format's specification: 0 to 7 in three bits each.
    const PACKED: [u8; 4] = [0b11, 0b1000_1000, 0b1100_0110, 0b1111_1010];

    fn hybrid(bytes: &[u8], width: usize) -> Vec<u32> {
        Hybrid::new(bytes, width).take(20).collect()
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
}
