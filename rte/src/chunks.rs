//! A long text made manageable for a tokenizer: long runs shortened, the rest divided where words start.

use std::borrow::Cow;

/// Cuts each word and each run of white space of more than `longest` bytes to its first `longest`.
///
/// What is cut changes nothing that counts: a word is one unknown token however long it is, or has already given more
/// tokens than a model reads; white space is dropped, shortened, or has already given as many tokens.
pub(crate) fn shorten_runs(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return Cow::Borrowed(text);
    }
    let (mut was_space, mut run) = (false, 0);
    let kept = text.chars().filter(|character| {
        if character.is_whitespace() != was_space {
            (was_space, run) = (!was_space, 0);
        }
        run += character.len_utf8();
        run <= longest
    });
    Cow::Owned(kept.collect())
}

/// Divides a text into parts of at least `smallest` bytes, each but the first starting with a space between two ASCII
/// letters. A part that would be longer than `longest` ends with its last word instead.
///
/// At such a space the tokens of the parts are those of the whole text: normalisers see no mark to join with the letter
/// before it and no run of white space to shorten, and pre-tokenizers divide words there.
pub(crate) fn chunks(text: &str, smallest: usize, longest: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let is_place = |bytes: &[u8]| {
            bytes[0].is_ascii_alphabetic() && bytes[1] == b' ' && bytes[2].is_ascii_alphabetic()
        };
        let head = &text[..text.floor_char_boundary(longest)];
        let searched = head.as_bytes().get(smallest..).unwrap_or_default();
        let end = match searched.windows(3).position(is_place) {
            Some(place) => smallest + place + 1,
            None if head.len() == text.len() => return Some(text),
            None => match head.trim_end_matches(|c: char| !c.is_whitespace()).trim_end().len() {
                0 => head.len(),
                end => end,
            },
        };
        let (chunk, after) = text.split_at(end);
        rest = Some(after);
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(text: &str, smallest: usize, longest: usize) -> Vec<&str> {
        chunks(text, smallest, longest).collect()
    }

    #[test]
    fn a_text_is_divided_between_letters_if_possible() {
        assert_eq!(divided("ab cd ef", 1, 9), ["ab", " cd", " ef"]);
        assert_eq!(divided("ab cd ef", 2, 9), ["ab cd", " ef"]);
        assert_eq!(divided("ab  cd. ef é gh i", 0, 99), ["ab  cd. ef é gh", " i"]);
        assert_eq!(divided("", 5, 9), [""]);
        assert_eq!(divided("1  2 3 4", 1, 6), ["1  2", " 3 4"]);
        assert_eq!(divided("  éé", 1, 3), ["  ", "é", "é"]);
    }

    #[test]
    fn long_words_and_white_space_are_cut() {
        assert_eq!(shorten_runs("aaaa b \t\n cc", 3), "aaa b \t\ncc");
        assert_eq!(shorten_runs("ééé  a", 4), "éé  a");
        assert_eq!(shorten_runs("    a", 3), "   a");
    }
}
