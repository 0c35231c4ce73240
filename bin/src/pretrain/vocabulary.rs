//! A tokenizer from a text's words.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The special tokens, in the order of their ids.
const SPECIAL_TOKENS: [&str; 5] = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"];

/// Marks the beginning of a word, as in SentencePiece.
const SPACE: char = '▁';

/// A `tokenizer.json` of the kind that ALBERT has, for texts like `sentences`: lower case, and a Unigram model over entire
/// words, with single letters for unknown words.
///
/// A piece's score is the logarithm of its share in the text, so that the Unigram model maximizes the likelihood of
/// the text; letters are rarer than any word. Equal scores keep the alphabetical order: the same text
/// gives the same file.
pub(super) fn unigram_tokenizer<'a>(sentences: impl IntoIterator<Item = &'a str>) -> Value {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for word in sentences.into_iter().flat_map(str::split_whitespace) {
        let word = word.to_lowercase();
        let letters = word.trim_end_matches(|letter: char| letter.is_ascii_punctuation());
        *counts.entry(format!("{SPACE}{letters}")).or_default() += 1;
        for mark in word[letters.len()..].chars() {
            *counts.entry(mark.to_string()).or_default() += 1;
        }
    }
    let total = counts.values().sum::<usize>() as f64;
    let rarest = (1.0 / total).ln();
    let mut pieces: Vec<(String, f64)> =
        counts.iter().map(|(piece, &count)| (piece.clone(), (count as f64 / total).ln())).collect();
    pieces.sort_by(|one, other| other.1.total_cmp(&one.1));
    let letters = [SPACE].into_iter().chain('!'..='~').filter(|letter| !letter.is_uppercase());
    let letters = letters.map(String::from).filter(|letter| !counts.contains_key(letter));
    pieces.extend(letters.map(|letter| (letter, rarest - 1.0)));
    let special = SPECIAL_TOKENS.iter().map(|token| (token.to_string(), 0.0));
    let vocab: Vec<(String, f64)> = special.chain(pieces).collect();

    let added_tokens = SPECIAL_TOKENS.iter().enumerate().map(|(id, token)| {
        json!({
            "id": id, "content": token, "single_word": false, "lstrip": token == &"[MASK]",
            "rstrip": false, "normalized": false, "special": true,
        })
    });
    let token = |name, segment| json!({"SpecialToken": {"id": name, "type_id": segment}});
    let text = |name, segment| json!({"Sequence": {"id": name, "type_id": segment}});
    let metaspace = json!({
        "type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": true,
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens.collect::<Vec<_>>(),
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, metaspace,
        ]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)],
            "pair": [
                token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1), token("[SEP]", 1),
            ],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
            },
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 1, "vocab": vocab, "byte_fallback": false},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rte::TextTokenizer;

    fn ids(first: &str, second: &str) -> Vec<u32> {
        let tokenizer = unigram_tokenizer(["The dog slept.", "The owl saw the dog."]);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string())
            .expect("written");
        let tokenizer = TextTokenizer::from_folder(folder.path(), 32).expect("a tokenizer");
        tokenizer.encode(first, Some(second)).expect("encoded").input_ids
    }

    #[test]
    fn words_and_punctuation_are_one_token_each_the_most_frequent_first() {
        // the 3, full stop 2, dog 2, then owl, saw, slept.
        assert_eq!(ids("The dog saw the owl.", "Slept?")[..8], [2, 5, 7, 9, 5, 8, 6, 3]);
    }

    #[test]
    fn unknown_words_are_spelled_out() {
        let spelt = ids("cat", "dog");
        assert_eq!(spelt.len(), 1 + 4 + 1 + 1 + 1, "▁ c a t between [CLS] and [SEP]: {spelt:?}");
        assert!(!spelt.contains(&1), "no <unk>: {spelt:?}");
    }
}
