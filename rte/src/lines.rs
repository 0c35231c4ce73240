//! The numbered lines of a text file: UTF-8, with or without a byte order mark, ended by LF or CRLF.

use std::io::BufRead;

use crate::{RteError, error::Place};

/// The lines of `input` that are not empty, each with its place in `file`.
pub(crate) fn numbered_lines<'a>(
    input: impl BufRead + 'a,
    file: &'a str,
) -> impl Iterator<Item = Result<(Place, String), RteError>> + 'a {
    input
        .split(b'\n')
        .enumerate()
        .map(move |(index, bytes)| {
            let place = Place::line(file, index + 1);
            let bytes = bytes.map_err(|source| RteError::Io { file: file.to_owned(), source })?;
            let mut bytes = bytes.as_slice();
            if index == 0 {
                bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
            }
            bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(line) => Ok((place, line.to_owned())),
                Err(_) => Err(RteError::NotUtf8 { place }),
            }
        })
        .filter(|line| !matches!(line, Ok((_, text)) if text.is_empty()))
}
