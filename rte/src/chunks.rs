//! A long text divided where tokenizers start a new word.

/// Divides a text into parts of at least `smallest` bytes, each but the first starting with a space between two ASCII
/// letters, and cuts a part to its first `longest` bytes.
///
/// At such a place the tokens of the parts are those of the whole text: normalisers see no mark to join with the letter
/// before it and no run of white space to shorten, and pre-tokenizers divide words there. What is cut is either one
/// word, which stands for one token however long it is, or has given far more tokens than a model reads.
pub(crate) fn chunks(text: &str, smallest: usize, longest: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let is_place = |bytes: &[u8]| {
            bytes[0].is_ascii_alphabetic() && bytes[1] == b' ' && bytes[2].is_ascii_alphabetic()
        };
        let searched = text.as_bytes().get(smallest..).unwrap_or_default();
        let chunk = match searched.windows(3).position(is_place) {
            Some(place) => {
                let (chunk, after) = text.split_at(smallest + place + 1);
                rest = Some(after);
                chunk
            }
            None => text,
        };
        Some(&chunk[..chunk.floor_char_boundary(longest)])
    })
}

#[cfg(test)]
mod tests {
    use super::chunks;

    fn divided(text: &str, smallest: usize, longest: usize) -> Vec<&str> {
        chunks(text, smallest, longest).collect()
    }

    #[test]
    fn a_text_is_divided_between_letters_only() {
        assert_eq!(divided("ab cd ef", 1, 9), ["ab", " cd", " ef"]);
        assert_eq!(divided("ab cd ef", 2, 9), ["ab cd", " ef"]);
        assert_eq!(divided("ab  cd. ef é gh i", 0, 99), ["ab  cd. ef é gh", " i"]);
        assert_eq!(divided("", 5, 9), [""]);
    }

    #[test]
    fn a_part_that_cannot_be_divided_is_cut_at_a_character() {
        assert_eq!(divided("ééé a b", 1, 3), ["é", " b"]);
    }
}
