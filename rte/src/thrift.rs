//! Thrift's compact protocol, in which Parquet writes its headers: structs, read field by field.
//!
//! Nothing that is read is trusted: no memory is set aside for a count before its items are there, every length is
//! checked against the bytes that are left, and what is skipped may nest only so deep.
//! Layout: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// A value read, or what is wrong with the header.
pub(crate) type Result<T> = std::result::Result<T, &'static str>;

const CUT_SHORT: &str = "a header is cut short";
const WRONG_TYPE: &str = "a header is damaged: a field has another type than it should";
/// How deep a skipped value may nest; Parquet's nest less than ten deep.
const MAX_DEPTH: usize = 32;

// The types of fields and elements; a boolean field has its value for its type.
const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Takes a struct off the front of the bytes; `field` is given each field's number and must take or skip its value.
pub(crate) fn read_struct<'a>(
    bytes: &mut &'a [u8],
    mut field: impl FnMut(i16, Value<'_, 'a>) -> Result<()>,
) -> Result<()> {
    let mut number = 0_i16;
    loop {
        let header = byte(bytes)?;
        if header == STOP {
            return Ok(());
        }
        number = match header >> 4 {
            0 => i16::try_from(zigzag(bytes)?).ok(),
            step => number.checked_add(step.into()),
        }
        .ok_or("a header is damaged: a field's number is out of range")?;
        field(number, Value { kind: header & 0xf, bytes })?;
    }
}

/// The value of a field, still to be taken off the bytes.
#[must_use]
pub(crate) struct Value<'r, 'a> {
    kind: u8,
    bytes: &'r mut &'a [u8],
}

impl<'a> Value<'_, 'a> {
    /// An integer of any width.
    pub(crate) fn integer(self) -> Result<i64> {
        match self.kind {
            I16 | I32 | I64 => zigzag(self.bytes),
            _ => Err(WRONG_TYPE),
        }
    }

    /// An integer that cannot be negative.
    pub(crate) fn size(self) -> Result<usize> {
        self.integer()?.try_into().map_err(|_| "a header is damaged: a negative number or size")
    }

    pub(crate) fn boolean(self) -> Result<bool> {
        match self.kind {
            TRUE => Ok(true),
            FALSE => Ok(false),
            _ => Err(WRONG_TYPE),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str> {
        match self.kind {
            BINARY => str::from_utf8(binary(self.bytes)?)
                .map_err(|_| "a header is damaged: a text is not valid UTF-8"),
            _ => Err(WRONG_TYPE),
        }
    }

    /// As [`read_struct`].
    pub(crate) fn structure(
        self,
        field: impl FnMut(i16, Value<'_, 'a>) -> Result<()>,
    ) -> Result<()> {
        match self.kind {
            STRUCT => read_struct(self.bytes, field),
            _ => Err(WRONG_TYPE),
        }
    }

    /// A list of structs, each taken off the bytes by `item`.
    pub(crate) fn structures<T>(
        self,
        mut item: impl FnMut(&mut &'a [u8]) -> Result<T>,
    ) -> Result<Vec<T>> {
        match (self.kind, list(self.bytes)?) {
            // Collecting results sets no memory aside, so a false count costs nothing.
            (LIST, (count, STRUCT)) => (0..count).map(|_| item(self.bytes)).collect(),
            (LIST, (0, _)) => Ok(Vec::new()),
            _ => Err(WRONG_TYPE),
        }
    }

    pub(crate) fn skip(self) -> Result<()> {
        skip(self.bytes, self.kind, MAX_DEPTH)
    }
}

fn skip(bytes: &mut &[u8], kind: u8, depth: usize) -> Result<()> {
    let depth = depth.checked_sub(1).ok_or("a header is damaged: it nests too deep")?;
    match kind {
        TRUE | FALSE => {}
        BYTE => drop(byte(bytes)?),
        I16 | I32 | I64 => drop(varint(bytes)?),
        DOUBLE => drop(take(bytes, 8)?),
        BINARY => drop(binary(bytes)?),
        LIST | SET => {
            let (count, kind) = list(bytes)?;
            for _ in 0..count {
                skip_element(bytes, kind, depth)?;
            }
        }
        MAP => {
            let count = varint(bytes)?;
            let kinds = if count == 0 { 0 } else { byte(bytes)? };
            for _ in 0..count {
                skip_element(bytes, kinds >> 4, depth)?;
                skip_element(bytes, kinds & 0xf, depth)?;
            }
        }
        STRUCT => read_struct(bytes, |_, value| skip(value.bytes, value.kind, depth))?,
        UUID => drop(take(bytes, 16)?),
        _ => return Err("a header is damaged: a field of no known type"),
    }
    Ok(())
}

/// Skips an element of a list, set or map. Each takes a byte or more, so the bytes end before a false count does.
fn skip_element(bytes: &mut &[u8], kind: u8, depth: usize) -> Result<()> {
    match kind {
        TRUE | FALSE => byte(bytes).map(drop),
        kind => skip(bytes, kind, depth),
    }
}

/// A list's or set's beginning: the number and type of its elements.
fn list(bytes: &mut &[u8]) -> Result<(u64, u8)> {
    let header = byte(bytes)?;
    let count = match header >> 4 {
        15 => varint(bytes)?,
        count => count.into(),
    };
    Ok((count, header & 0xf))
}

fn binary<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = varint(bytes)?.try_into().map_err(|_| CUT_SHORT)?;
    take(bytes, length)
}

fn zigzag(bytes: &mut &[u8]) -> Result<i64> {
    let number = varint(bytes)?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a header is damaged: a number of more than 64 bits")
}

fn byte(bytes: &mut &[u8]) -> Result<u8> {
    bytes.split_off_first().copied().ok_or(CUT_SHORT)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    bytes.split_off(..length).ok_or(CUT_SHORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first field is read as, and the bytes left after its struct.
    fn first<'a, T>(
        mut bytes: &'a [u8],
        read: impl Fn(Value<'_, 'a>) -> Result<T>,
    ) -> Result<(T, usize)> {
        let mut found = None;
        read_struct(&mut bytes, |number, value| {
            match number {
                1 => found = Some(read(value)?),
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok((found.unwrap(), bytes.len()))
    }

    /// The lengths of the structs that the first field lists.
    fn lengths(bytes: &[u8]) -> Result<(Vec<usize>, usize)> {
        first(bytes, |value| {
            value.structures(|bytes| {
                let before = bytes.len();
                read_struct(bytes, |_, value| value.skip())?;
                Ok(before - bytes.len())
            })
        })
    }

    #[test]
    fn values_are_read_as_the_specification_has_them() {
        assert_eq!(first(&[0x15, 0x03, 0], |value| value.integer()), Ok((-2, 0)));
        assert_eq!(first(&[0x16, 0xac, 0x02, 0, 7, 7], |value| value.integer()), Ok((150, 2)));
        // Field 1 spelt out, not as a step from the last.
        assert_eq!(first(&[0x05, 0x02, 0x0a, 0], |value| value.size()), Ok((5, 0)));
        assert_eq!(first(&[0x11, 0], |value| value.boolean()), Ok((true, 0)));
        assert_eq!(first(&[0x12, 0], |value| value.boolean()), Ok((false, 0)));
        assert_eq!(first(&[0x18, 2, b'h', b'i', 0], |value| value.text()), Ok(("hi", 0)));
        assert_eq!(lengths(&[0x19, 0x2c, 0, 0x15, 2, 0, 0]), Ok((vec![1, 3], 0)));
        assert_eq!(lengths(&[0x19, 0x00, 0]), Ok((vec![], 0)));
        assert_eq!(lengths(&[0x19, 0x18, 0, 0]), Err(WRONG_TYPE));
        assert_eq!(lengths(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f, 0]), Err(CUT_SHORT));
    }

    #[test]
    fn unknown_fields_of_every_type_are_skipped() {
        let skipped: &[&[u8]] = &[
            &[0x11],
            &[0x12],
            &[0x13, 0xff],
            &[0x14, 0x80, 0x01],
            &[0x15, 0x02],
            &[0x16, 0x02],
            &[0x17, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x18, 3, 0, 0, 0],
            &[0x19, 0x31, 1, 2, 1],
            &[0x1a, 0xf3, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            &[0x1b, 0x00],
            &[0x1b, 0x02, 0x58, 0x02, 1, b'a', 0x04, 0],
            &[0x1c, 0x15, 0x02, 0x1c, 0x11, 0, 0],
            &[0x1d, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        ];
        for field in skipped {
            let bytes = [&[0x15, 0x08], *field, &[0x15, 0x02, 0]].concat();
            assert_eq!(first(&bytes, |value| value.integer()), Ok((4, 0)), "{field:x?}");
            for length in 0..bytes.len() {
                assert_eq!(
                    first(&bytes[..length], |value| value.integer()),
                    Err(CUT_SHORT),
                    "{field:x?}"
                );
            }
        }
    }

    #[test]
    fn damage_is_told_apart() {
        let error = |bytes: &[u8]| first(bytes, |value| value.size()).unwrap_err();
        assert_eq!(error(&[0x18, 0, 0]), WRONG_TYPE);
        assert_eq!(error(&[0x15, 1, 0]), "a header is damaged: a negative number or size");
        assert_eq!(error(&[0x1e, 0]), WRONG_TYPE);
        assert_eq!(error(&[0x2e, 0]), "a header is damaged: a field of no known type");
        assert_eq!(
            error(&[&[0x15][..], &[0xff; 10]].concat()),
            "a header is damaged: a number of more than 64 bits"
        );
        let far = [0x05, 0xfe, 0xff, 0x03, 0, 0x15, 0, 0];
        assert_eq!(error(&far), "a header is damaged: a field's number is out of range");
        for nested in [[0x2c; 100_000], [0x19; 100_000]] {
            let bytes = [&[0x29][..], &nested].concat();
            assert_eq!(error(&bytes), "a header is damaged: it nests too deep");
        }
        assert_eq!(
            first(&[0x18, 1, 0xff, 0], |value| value.text()),
            Err("a header is damaged: a text is not valid UTF-8")
        );
    }
}
