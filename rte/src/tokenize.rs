//! Texts and pairs of texts to token ids, with the tokenizer of a model folder.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use files::FileKind;
use rayon::prelude::*;
use serde_json::Value;
use tokenizers::{Encoding, PostProcessor, Token, Tokenizer, TruncationDirection};

use crate::{
    Example, RteError,
    chunks::{chunks, shorten_runs},
};

/// How much of a text is tokenized at a time: the library takes some 200 bytes of memory for each byte of text.
const CHUNK: usize = 64 << 10;
/// The longest part where it cannot be divided well.
const LONGEST_CHUNK: usize = 256 << 10;
/// The longest word or run of white space; a quarter of a part, so that one always ends within a part.
const LONGEST_RUN: usize = LONGEST_CHUNK / 4;

/// The token ids and segment ids of a text or a pair, of the same length; no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedText {
    /// The token ids, special tokens included.
    pub input_ids: Vec<u32>,
    /// For each token its segment, as the tokenizer's template has it: in BERT's 0 for the first
    /// text and 1 for the second, in RoBERTa's 0 for all.
    pub token_type_ids: Vec<u32>,
}

/// A tokenized [`Example`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedExample {
    /// The token ids, special tokens included; no padding.
    pub input_ids: Vec<u32>,
    /// For each token its segment.
    pub token_type_ids: Vec<u32>,
    /// The example's label.
    pub label: Option<usize>,
    /// The example's number.
    pub idx: usize,
}

/// Tokenizes texts and pairs as Hugging Face's `tokenizers` does with `truncation="longest_first"`.
///
/// Special tokens and segment ids come from the template of the folder's `tokenizer.json`; the padding and truncation
/// that the file may hold do not count. A text longer than the maximum length, special tokens included, is cut at
/// its end; of a pair the longer text is cut until both are equally long, then both are. (Where both texts of a pair are
/// longer than the maximum length, recent versions of `tokenizers` may keep one token more of the other text.)
///
/// A text is tokenized 64 KiB at a time, so that a long one takes little memory. It is divided between two ASCII letters
/// separated by one space, where every tokenizer starts a new word, or, where 256 KiB have no such place, at the end of a
/// word. A word or a run of white space is cut to 64 KiB: by then it has given more tokens than are kept.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    path: PathBuf,
    /// The length that special tokens leave for a single text, …
    text_length: usize,
    /// … and for the two texts of a pair.
    pair_length: usize,
    pad_token_id: u32,
    max_token_id: u32,
    max_segment_id: u32,
}

impl TextTokenizer {
    /// Reads `tokenizer.json` from a model folder, for texts and pairs of at most `max_length` tokens, special tokens included.
    ///
    /// # Errors
    ///
    /// A missing or damaged `tokenizer.json`, a tokenizer without a padding token, a maximum length that leaves less
    /// than a token to each text of a pair.
    pub fn from_folder(folder: &Path, max_length: usize) -> Result<Self, RteError> {
        let path = folder.join("tokenizer.json");
        let bytes =
            files::read(&path, FileKind::Tokenizer).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => missing_tokenizer(folder),
                _ => RteError::Io { file: path.display().to_string(), source },
            })?;
        Self::new(&bytes, path, max_length, || written_pad_token_id(folder))
    }

    /// Reads the bytes of a `tokenizer.json`; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`TextTokenizer::from_folder`].
    pub fn from_bytes(bytes: &[u8], name: &str, max_length: usize) -> Result<Self, RteError> {
        Self::new(bytes, name.into(), max_length, || None)
    }

    fn new(
        bytes: &[u8],
        path: PathBuf,
        max_length: usize,
        written_pad_token_id: impl FnOnce() -> Option<u32>,
    ) -> Result<Self, RteError> {
        let mut tokenizer = parse(bytes)
            .map_err(|reason| RteError::DamagedTokenizer { path: path.clone(), reason })?;
        let pad_token_id = pad_token_id(&tokenizer)
            .or_else(written_pad_token_id)
            .ok_or_else(|| RteError::NoPadToken { path: path.clone() })?;
        tokenizer.with_padding(None);
        // Removing the truncation cannot fail: only lengths are checked.
        let _ = tokenizer.with_truncation(None);
        let added_tokens = |is_pair| {
            tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(is_pair))
        };
        let special_tokens = added_tokens(true);
        let minimum = special_tokens + 2;
        if max_length < minimum {
            return Err(RteError::MaxLengthTooSmall { max_length, special_tokens, minimum });
        }
        let mut tokenizer = Self {
            text_length: max_length.saturating_sub(added_tokens(false)),
            pair_length: max_length - special_tokens,
            tokenizer,
            path,
            pad_token_id,
            max_token_id: 0,
            max_segment_id: 0,
        };
        // The template may name ids that the vocabulary does not have, and any segment.
        let templates = guard(|| tokenizer.encode_padding(), || "a text and a pair".to_owned())?;
        let vocabulary = tokenizer.tokenizer.get_vocab(true).into_values();
        let ids = templates.iter().flat_map(|template| &template.input_ids);
        tokenizer.max_token_id = vocabulary.chain(ids.copied()).max().unwrap_or_default();
        let segments = templates.iter().flat_map(|template| &template.token_type_ids);
        tokenizer.max_segment_id = segments.copied().max().unwrap_or_default();
        Ok(tokenizer)
    }

    /// The number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The largest token id that can come out; it may be larger than [`TextTokenizer::vocab_size`] less one.
    pub fn max_token_id(&self) -> u32 {
        self.max_token_id
    }

    /// The id for padding: of a token `<pad>` or `[PAD]`, else of the file's padding settings, else `pad_token_id` of
    /// the `config.json` next to it.
    pub fn pad_token_id(&self) -> u32 {
        self.pad_token_id
    }

    /// Checks that a model with a vocabulary of `vocab_size` has an embedding for every token id.
    ///
    /// # Errors
    ///
    /// [`RteError::TokenizerExceedsVocabulary`].
    pub fn check_vocabulary(&self, vocab_size: usize) -> Result<(), RteError> {
        if (self.max_token_id as usize) < vocab_size {
            return Ok(());
        }
        Err(RteError::TokenizerExceedsVocabulary {
            path: self.path.clone(),
            max_token_id: self.max_token_id,
            vocab_size,
        })
    }

    /// Checks that a model with `type_vocab_size` segments has an embedding for every segment id. A model with a single
    /// one ignores them.
    ///
    /// # Errors
    ///
    /// [`RteError::TokenizerExceedsSegments`].
    pub fn check_segments(&self, type_vocab_size: usize) -> Result<(), RteError> {
        if type_vocab_size == 1 || (self.max_segment_id as usize) < type_vocab_size {
            return Ok(());
        }
        Err(RteError::TokenizerExceedsSegments {
            path: self.path.clone(),
            max_segment_id: self.max_segment_id,
            type_vocab_size,
        })
    }

    /// Tokenizes one text, or one pair.
    ///
    /// # Errors
    ///
    /// A text that the tokenizer refuses, such as an unknown word where it has no token for these.
    pub fn encode(&self, text: &str, text_pair: Option<&str>) -> Result<EncodedText, RteError> {
        guard(|| self.encode_unguarded(text, text_pair), || "the text".to_owned())
    }

    fn encode_unguarded(
        &self,
        text: &str,
        text_pair: Option<&str>,
    ) -> tokenizers::Result<EncodedText> {
        let (mut first, first_length) = self.encode_text(text)?;
        let second = match text_pair {
            None => {
                truncate(&mut first, self.text_length);
                None
            }
            Some(text_pair) => {
                let (mut second, second_length) = self.encode_text(text_pair)?;
                // Post-processors without a template keep the segment ids they are given.
                second.set_type_ids(vec![1; second.len()]);
                let (first_kept, second_kept) =
                    longest_first(first_length, second_length, self.pair_length);
                truncate(&mut first, first_kept);
                truncate(&mut second, second_kept);
                Some(second)
            }
        };
        self.join(first, second)
    }

    /// A text and a pair, each text of a single padding token.
    fn encode_padding(&self) -> tokenizers::Result<[EncodedText; 2]> {
        let text = |segment| {
            let token = Token::new(self.pad_token_id, String::new(), (0, 0));
            Encoding::from_tokens(vec![token], segment)
        };
        Ok([self.join(text(0), None)?, self.join(text(0), Some(text(1)))?])
    }

    /// Adds the special tokens.
    fn join(&self, first: Encoding, second: Option<Encoding>) -> tokenizers::Result<EncodedText> {
        let encoding = self.tokenizer.post_process(first, second, true)?;
        Ok(EncodedText {
            input_ids: encoding.get_ids().to_vec(),
            token_type_ids: encoding.get_type_ids().to_vec(),
        })
    }

    /// A text's first tokens, at least as many as can be kept, and the number of all its tokens.
    fn encode_text(&self, text: &str) -> tokenizers::Result<(Encoding, usize)> {
        let mut first = Encoding::default();
        let mut length = 0;
        for chunk in chunks(&shorten_runs(text, LONGEST_RUN), CHUNK, LONGEST_CHUNK) {
            let encoding = self.tokenizer.encode_fast(chunk, false)?;
            length += encoding.len();
            if first.is_empty() {
                first = encoding;
            } else if first.len() < self.text_length {
                first.merge_with(encoding, false);
            }
        }
        Ok((first, length))
    }

    /// Tokenizes many examples on all cores, in their order.
    ///
    /// # Errors
    ///
    /// The first example that [`TextTokenizer::encode`] refuses, by its `idx`.
    pub fn encode_all(&self, examples: &[Example]) -> Result<Vec<EncodedExample>, RteError> {
        examples
            .par_iter()
            .map(|example| {
                let what = || format!("the example with idx {}", example.idx);
                let encode = || self.encode_unguarded(&example.text, example.text_pair.as_deref());
                let encoded = guard(encode, what)?;
                Ok(EncodedExample {
                    input_ids: encoded.input_ids,
                    token_type_ids: encoded.token_type_ids,
                    label: example.label,
                    idx: example.idx,
                })
            })
            .collect()
    }
}

/// Tokenizes `what`. The library panics where a template names tokens that it does not define.
fn guard<T>(
    encode: impl FnOnce() -> tokenizers::Result<T>,
    what: impl FnOnce() -> String,
) -> Result<T, RteError> {
    panic::catch_unwind(AssertUnwindSafe(encode))
        .unwrap_or_else(|_| Err("a part of the tokenizer is invalid".into()))
        .map_err(|error| RteError::Encode { what: what(), reason: error.to_string() })
}

/// How many tokens of two texts are kept where `max_length` are: the longer text is cut until both are equally long,
/// then both are, and of an odd number the longer text keeps one more (the second of two equals).
fn longest_first(first: usize, second: usize, max_length: usize) -> (usize, usize) {
    if first + second <= max_length {
        (first, second)
    } else if first <= second {
        let kept = first.min(max_length / 2);
        (kept, max_length - kept)
    } else {
        let kept = second.min(max_length / 2);
        (max_length - kept, kept)
    }
}

fn truncate(encoding: &mut Encoding, length: usize) {
    encoding.truncate(length, 0, TruncationDirection::Right);
    // The library keeps what was cut off, and post-processing combines the parts of two texts, quadratically many.
    encoding.take_overflowing();
}

/// The tokenizer of a `tokenizer.json`. The library panics where text that is no JSON stands for a decoder, and on some
/// normalizers that make no sense.
fn parse(bytes: &[u8]) -> Result<Tokenizer, String> {
    serde_json::from_slice::<Value>(bytes).map_err(|error| error.to_string())?;
    panic::catch_unwind(|| Tokenizer::from_bytes(bytes))
        .map_err(|_| "a part of it is invalid".to_owned())?
        .map_err(|error| error.to_string())
}

fn pad_token_id(tokenizer: &Tokenizer) -> Option<u32> {
    ["<pad>", "[PAD]"]
        .iter()
        .find_map(|token| tokenizer.token_to_id(token))
        .or_else(|| tokenizer.get_padding().map(|padding| padding.pad_id))
}

/// `pad_token_id` of the `config.json` next to a tokenizer.
fn written_pad_token_id(folder: &Path) -> Option<u32> {
    let config = files::read(&folder.join("config.json"), FileKind::Config).ok()?;
    let config: Value = serde_json::from_slice(&config).ok()?;
    config.get("pad_token_id")?.as_u64()?.try_into().ok()
}

fn missing_tokenizer(folder: &Path) -> RteError {
    let has = |name: &str| folder.join(name).exists();
    let hint = if has("spiece.model") || has("vocab.txt") {
        ", only the older form of the vocabulary; make one with Python's transformers: AutoTokenizer.from_pretrained(FOLDER, use_fast=True).save_pretrained(FOLDER)"
    } else if folder.is_dir() {
        "; copy it from the original model"
    } else {
        "; the folder does not exist"
    };
    RteError::MissingTokenizer { folder: folder.to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::LazyLock};

    use proptest::prelude::*;
    use serde_json::json;
    use tokenizers::{PaddingParams, TruncationParams, utils::truncation::truncate_encodings};

    use super::*;

    const PAD: u32 = 0;
    const CLS: u32 = 2;
    const SEP: u32 = 3;

    /// A tokenizer of the words w0 to w9 with ids 10 to 19, in ALBERT's template.
    fn tokenizer() -> Value {
        let mut vocab = json!({"<pad>": PAD, "<unk>": 1, "[CLS]": CLS, "[SEP]": SEP});
        for word in 0..10 {
            vocab[format!("w{word}")] = (10 + word).into();
        }
        let special = |id: &str, type_id| json!({"SpecialToken": {"id": id, "type_id": type_id}});
        let sequence = |id: &str, type_id| json!({"Sequence": {"id": id, "type_id": type_id}});
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [],
            "normalizer": null,
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)],
                "pair": [
                    special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0),
                    sequence("B", 1), special("[SEP]", 1),
                ],
                "special_tokens": {
                    "[CLS]": {"id": "[CLS]", "ids": [CLS], "tokens": ["[CLS]"]},
                    "[SEP]": {"id": "[SEP]", "ids": [SEP], "tokens": ["[SEP]"]},
                },
            },
            "decoder": null,
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
        })
    }

    /// A model folder with this `tokenizer.json`.
    fn folder(tokenizer: &Value) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        folder
    }

    fn load(tokenizer: &Value, max_length: usize) -> Result<TextTokenizer, RteError> {
        TextTokenizer::from_folder(folder(tokenizer).path(), max_length)
    }

    /// The words w0, w1 and so on.
    fn words(count: usize) -> String {
        (0..count).map(|word| format!("w{word} ")).collect()
    }

    /// The error's message with the folder's path taken out.
    fn error(folder: &tempfile::TempDir, max_length: usize) -> String {
        let error = TextTokenizer::from_folder(folder.path(), max_length).unwrap_err();
        error.to_string().replace(&folder.path().display().to_string(), "FOLDER")
    }

    #[test]
    fn special_tokens_and_segments_come_from_the_template() {
        let pair = load(&tokenizer(), 128).unwrap().encode("w1 w2", Some("w3 nonsense")).unwrap();
        assert_eq!(pair.input_ids, [CLS, 11, 12, SEP, 13, 1, SEP]);
        assert_eq!(pair.token_type_ids, [0, 0, 0, 0, 1, 1, 1]);

        let mut other = tokenizer();
        other["post_processor"]["pair"][1]["Sequence"]["type_id"] = 5.into();
        let pair = load(&other, 128).unwrap().encode("w1", Some("w2")).unwrap();
        assert_eq!(pair.token_type_ids, [0, 5, 0, 1, 1]);
    }

    #[test]
    fn the_longer_sentence_is_cut_first_then_both() {
        let encode = |first, second, max_length| {
            let tokenizer = load(&tokenizer(), max_length).unwrap();
            tokenizer.encode(&words(first), Some(&words(second))).unwrap().input_ids
        };
        assert_eq!(encode(6, 2, 9), [CLS, 10, 11, 12, 13, SEP, 10, 11, SEP]);
        assert_eq!(encode(2, 6, 9), [CLS, 10, 11, SEP, 10, 11, 12, 13, SEP]);
        assert_eq!(encode(6, 6, 9), [CLS, 10, 11, 12, SEP, 10, 11, 12, SEP]);
        // An odd length favours the longer, or the second of two equals.
        assert_eq!(encode(6, 6, 8), [CLS, 10, 11, SEP, 10, 11, 12, SEP]);
        assert_eq!(encode(7, 6, 8), [CLS, 10, 11, 12, SEP, 10, 11, SEP]);
        assert_eq!(encode(3, 3, 9), [CLS, 10, 11, 12, SEP, 10, 11, 12, SEP]);
    }

    /// The library's own pair encoding of whole texts. Its `encode` with truncation cuts each text to the maximum
    /// length before it compares their lengths (since 0.23), so that two long texts may differ in a token from what
    /// earlier releases give.
    fn library_encode(
        library: &Tokenizer,
        first: &str,
        second: &str,
        max_length: usize,
    ) -> Encoding {
        let special = library.get_post_processor().map_or(0, |p| p.added_tokens(true));
        let first = library.encode(first, false).unwrap();
        let mut second = library.encode(second, false).unwrap();
        second.set_type_ids(vec![1; second.len()]);
        let params = TruncationParams { max_length: max_length - special, ..Default::default() };
        let (mut first, mut second) = truncate_encodings(first, Some(second), &params).unwrap();
        // The cut-off parts would be combined with each other, quadratically many for two long texts.
        first.take_overflowing();
        second.as_mut().map(Encoding::take_overflowing);
        library.post_process(first, second, true).unwrap()
    }

    #[test]
    fn it_is_what_the_librarys_own_pair_encoding_gives() {
        let mut others = vec![tokenizer(); 4];
        others[1]["post_processor"] =
            json!({"type": "BertProcessing", "sep": ["[SEP]", SEP], "cls": ["[CLS]", CLS]});
        others[2]["post_processor"] = json!({
            "type": "RobertaProcessing", "sep": ["[SEP]", SEP], "cls": ["[CLS]", CLS],
            "trim_offsets": true, "add_prefix_space": true,
        });
        others[3]["post_processor"] = Value::Null;
        for json in others {
            for max_length in 6..14 {
                let ours = load(&json, max_length).unwrap();
                let library = Tokenizer::from_bytes(json.to_string()).unwrap();
                for (first, second) in (0..10).flat_map(|first| (0..10).map(move |s| (first, s))) {
                    let (first, second) = (words(first), words(second));
                    let pair = ours.encode(&first, Some(&second)).unwrap();
                    let expected = library_encode(&library, &first, &second, max_length);
                    assert_eq!(pair.input_ids, expected.get_ids());
                    assert_eq!(pair.token_type_ids, expected.get_type_ids());
                }
            }
        }
    }

    #[test]
    fn single_texts_have_the_template_of_single_texts() {
        let encode = |max_length, text: &str| {
            load(&tokenizer(), max_length).unwrap().encode(text, None).unwrap()
        };
        let single = encode(9, "w1 w2");
        assert_eq!(single.input_ids, [CLS, 11, 12, SEP]);
        assert_eq!(single.token_type_ids, [0; 4]);
        // One special token less than in a pair leaves room for one more.
        assert_eq!(encode(5, &words(6)).input_ids, [CLS, 10, 11, 12, SEP]);
    }

    #[test]
    fn robertas_template_has_two_separators_and_no_segments() {
        let mut json = tokenizer();
        json["post_processor"] = json!({
            "type": "RobertaProcessing", "sep": ["[SEP]", SEP], "cls": ["[CLS]", CLS],
            "trim_offsets": true, "add_prefix_space": true,
        });
        let roberta = load(&json, 9).unwrap();
        let pair = roberta.encode("w1", Some("w2 w3")).unwrap();
        assert_eq!(pair.input_ids, [CLS, 11, SEP, SEP, 12, 13, SEP]);
        assert_eq!(pair.token_type_ids, [0; 7]);
        assert_eq!(roberta.encode(&words(9), None).unwrap().input_ids.len(), 9);
        let bert = load(&tokenizer(), 9).unwrap().encode("w1", Some("w2 w3")).unwrap();
        assert!(bert.token_type_ids.contains(&1));
    }

    #[test]
    fn the_files_own_padding_and_truncation_are_overridden() {
        let mut own = tokenizer();
        own["truncation"] =
            json!({"direction": "Left", "max_length": 5, "strategy": "OnlyFirst", "stride": 1});
        own["padding"] = json!({
            "strategy": {"Fixed": 32}, "direction": "Left", "pad_to_multiple_of": 8,
            "pad_id": 7, "pad_type_id": 3, "pad_token": "<pad>",
        });
        let own = load(&own, 9).unwrap();
        let plain = load(&tokenizer(), 9).unwrap();
        for (first, second) in [(1, 1), (6, 6)] {
            let (first, second) = (words(first), words(second));
            assert_eq!(
                own.encode(&first, Some(&second)).unwrap(),
                plain.encode(&first, Some(&second)).unwrap()
            );
        }
        assert_eq!(own.pad_token_id(), PAD);
    }

    #[test]
    fn the_padding_id_is_searched_in_order() {
        let mut json = tokenizer();
        assert_eq!(load(&json, 9).unwrap().pad_token_id(), PAD);
        json["padding"] =
            serde_json::to_value(PaddingParams { pad_id: 4, ..Default::default() }).unwrap();
        assert_eq!(load(&json, 9).unwrap().pad_token_id(), PAD);
        json["model"]["vocab"].as_object_mut().unwrap().remove("<pad>");
        json["model"]["vocab"]["[PAD]"] = 5.into();
        assert_eq!(load(&json, 9).unwrap().pad_token_id(), 5);
        json["model"]["vocab"].as_object_mut().unwrap().remove("[PAD]");
        assert_eq!(load(&json, 9).unwrap().pad_token_id(), 4);
        json["padding"] = Value::Null;
        let folder = folder(&json);
        assert_eq!(
            error(&folder, 9),
            "FOLDER/tokenizer.json: there is no padding token: no token <pad> or [PAD], no padding settings, and no pad_token_id in the config.json next to it; add a pad_token_id there"
        );
        fs::write(folder.path().join("config.json"), r#"{"pad_token_id": 6}"#).unwrap();
        assert_eq!(TextTokenizer::from_folder(folder.path(), 9).unwrap().pad_token_id(), 6);
    }

    #[test]
    fn the_largest_id_is_compared_with_the_models_vocabulary() {
        let mut json = tokenizer();
        let tokenizer = load(&json, 9).unwrap();
        assert_eq!((tokenizer.vocab_size(), tokenizer.max_token_id()), (14, 19));
        tokenizer.check_vocabulary(20).unwrap();
        let error = tokenizer.check_vocabulary(19).unwrap_err().to_string();
        assert!(
            error.ends_with("tokenizer.json: its largest token id is 19, but the model's vocabulary has 19 entries (ids 0 to 18); use the tokenizer the model was trained with"),
            "{error}"
        );

        // Ids that only the template or an added token has count too.
        json["post_processor"]["special_tokens"]["[SEP]"]["ids"] = json!([30]);
        assert_eq!(load(&json, 9).unwrap().max_token_id(), 30);
        json["added_tokens"] = json!([{
            "id": 14, "content": "[NEW]", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }]);
        assert_eq!(load(&json, 9).unwrap().vocab_size(), 15);
    }

    #[test]
    fn the_largest_segment_is_compared_with_those_of_the_model() {
        let plain = load(&tokenizer(), 9).unwrap();
        plain.check_segments(2).unwrap();
        let mut other = tokenizer();
        other["post_processor"]["pair"][1]["Sequence"]["type_id"] = 5.into();
        let other = load(&other, 9).unwrap();
        other.check_segments(6).unwrap();
        let error = other.check_segments(2).unwrap_err().to_string();
        assert!(
            error.ends_with("tokenizer.json: its largest segment id is 5, but the model has 2 segments (ids 0 to 1); use the tokenizer the model was trained with"),
            "{error}"
        );
        // Such a model ignores them.
        plain.check_segments(1).unwrap();
        other.check_segments(1).unwrap();
    }

    #[test]
    fn a_max_length_without_room_for_both_sentences_is_refused() {
        let folder = folder(&tokenizer());
        TextTokenizer::from_folder(folder.path(), 5).unwrap();
        for max_length in [0, 1, 4] {
            assert_eq!(
                error(&folder, max_length),
                format!(
                    "max length {max_length} is too small: 3 special tokens and a token of each text need at least 5"
                )
            );
        }
    }

    #[test]
    fn a_missing_or_damaged_file_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(error(&folder, 9), "FOLDER: no tokenizer.json; copy it from the original model");
        fs::write(folder.path().join("spiece.model"), "").unwrap();
        assert_eq!(
            error(&folder, 9),
            "FOLDER: no tokenizer.json, only the older form of the vocabulary; make one with Python's transformers: AutoTokenizer.from_pretrained(FOLDER, use_fast=True).save_pretrained(FOLDER)"
        );
        fs::write(folder.path().join("tokenizer.json"), "{\"version\": \"1.0\"").unwrap();
        assert!(
            error(&folder, 9).starts_with("FOLDER/tokenizer.json: not a usable tokenizer: EOF"),
            "{}",
            error(&folder, 9)
        );
        assert_eq!(
            TextTokenizer::from_folder(Path::new("absent"), 9).unwrap_err().to_string(),
            "absent: no tokenizer.json; the folder does not exist"
        );
    }

    #[test]
    fn what_makes_the_library_panic_is_an_error() {
        let mut json = tokenizer();
        json["decoder"] = serde_json::json!({ "type": "MARK" });
        let text = json.to_string().replace("MARK", "Fuse\n");
        let error = TextTokenizer::from_bytes(text.as_bytes(), "f", 9).unwrap_err().to_string();
        assert!(error.starts_with("f: not a usable tokenizer: control character"), "{error}");

        let mut json = tokenizer();
        json["post_processor"]["special_tokens"] = serde_json::json!({});
        let error = TextTokenizer::from_bytes(json.to_string().as_bytes(), "f", 9).unwrap_err();
        assert!(error.to_string().contains("a part of the tokenizer is invalid"), "{error}");

        let mut json = tokenizer();
        json["normalizer"] =
            serde_json::json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" });
        let error = TextTokenizer::from_bytes(json.to_string().as_bytes(), "f", 9).unwrap_err();
        assert!(error.to_string().starts_with("f: not a usable tokenizer: "), "{error}");
    }

    #[test]
    fn a_refused_example_is_named() {
        let mut json = tokenizer();
        json["model"]["unk_token"] = "missing".into();
        let example = |text_pair: &str, idx| Example {
            text: "w1".to_owned(),
            text_pair: Some(text_pair.to_owned()),
            label: None,
            idx,
        };
        let error =
            load(&json, 9).unwrap().encode_all(&[example("w1", 3), example("nonsense", 41)]);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("cannot tokenize the example with idx 41: "), "{error}");
    }

    #[test]
    fn many_are_encoded_in_order() {
        let examples: Vec<Example> = (0..300)
            .map(|idx| Example {
                text: words(idx % 7),
                text_pair: (idx % 3 > 0).then(|| words(idx % 5)),
                label: Some(idx % 2),
                idx,
            })
            .collect();
        let tokenizer = load(&tokenizer(), 9).unwrap();
        let encoded = tokenizer.encode_all(&examples).unwrap();
        assert_eq!(encoded.len(), 300);
        for (example, encoded) in examples.iter().zip(encoded) {
            let pair = tokenizer.encode(&example.text, example.text_pair.as_deref()).unwrap();
            assert_eq!(encoded.input_ids, pair.input_ids);
            assert_eq!(encoded.token_type_ids, pair.token_type_ids);
            assert_eq!((encoded.label, encoded.idx), (example.label, example.idx));
        }
    }

    #[test]
    fn two_very_long_sentences_are_no_burden() {
        let long = words(10).repeat(20_000);
        let pair = load(&tokenizer(), 128).unwrap().encode(&long, Some(&long)).unwrap();
        assert_eq!(pair.input_ids.len(), 128);
    }

    #[test]
    fn texts_of_many_chunks_have_the_ids_of_whole_texts() {
        let text = |words: usize, seed: usize| -> String {
            let word = |n: usize| {
                ["w1", "W2", "rain", "\u{301}e", "``a''", "東京", "  ", "x-y"][(n * n + seed) % 8]
            };
            (0..words).map(|n| format!("{} ", word(n))).collect()
        };
        let json = tokenizer();
        let library = Tokenizer::from_bytes(json.to_string()).unwrap();
        for max_length in [8, 9, 128] {
            let ours = load(&json, max_length).unwrap();
            for (first, second) in [(40_000, 39_999), (39_999, 40_000), (40_000, 3), (3, 40_000)] {
                let (first, second) = (text(first, 0), text(second, 1));
                assert!(first.len().max(second.len()) > 2 * CHUNK);
                let expected = library_encode(&library, &first, &second, max_length);
                assert_eq!(
                    ours.encode(&first, Some(&second)).unwrap().input_ids,
                    expected.get_ids()
                );
            }
        }
    }

    #[test]
    fn long_runs_and_texts_without_latin_letters_have_the_ids_of_whole_texts() {
        let long = |piece: &str| piece.repeat(LONGEST_CHUNK * 3 / 2 / piece.len());
        for name in ["wordpiece", "unigram-own"] {
            let folder =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/tokens").join(name);
            let ours = TextTokenizer::from_folder(&folder, 9).unwrap();
            for text in [
                format!("{}rain fell", long(" ")),
                format!("rain{}fell", long(" \t")),
                format!("{} rain", long("rain")),
                format!("\u{200b}{} rain", long("\u{200b}")),
                format!("{}rain", long("東京 ")),
                format!("{}rain", long("1 2. ")),
            ] {
                let expected = library_encode(&ours.tokenizer, "fell", &text, 9);
                assert_eq!(ours.encode("fell", Some(&text)).unwrap().input_ids, expected.get_ids());
            }
        }
    }

    /// The tokenizers that the project's encoders use: WordPiece, Unigram with ALBERT's normalization, and byte-level
    /// BPE as RoBERTa's.
    fn families() -> Vec<Tokenizer> {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/tokens");
        let byte_level = json!({
            "version": "1.0", "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "post_processor": null, "decoder": null,
            "model": {
                "type": "BPE", "unk_token": "<unk>",
                "vocab": {"<unk>": 0, "a": 1, "b": 2, "\u{120}": 3, "ab": 4, "\u{120}a": 5, "\u{120}ab": 6, "e": 7, "\u{120}\u{120}": 8},
                "merges": [["a", "b"], ["\u{120}", "a"], ["\u{120}", "ab"], ["\u{120}", "\u{120}"]],
            },
        });
        let mut families: Vec<Tokenizer> = ["wordpiece", "unigram-own"]
            .map(|name| Tokenizer::from_file(cases.join(name).join("tokenizer.json")).unwrap())
            .into();
        families.push(Tokenizer::from_bytes(byte_level.to_string()).unwrap());
        for tokenizer in &mut families {
            tokenizer.with_truncation(None).unwrap();
            tokenizer.with_padding(None);
        }
        families
    }

    static FAMILIES: LazyLock<Vec<Tokenizer>> = LazyLock::new(families);

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn dividing_a_text_changes_no_id(
            pieces in proptest::collection::vec(
                prop_oneof![
                    4 => "[abeABE]{1,12}",
                    3 => Just(" ".to_owned()),
                    1 => "[ \t\n\r]{1,9}",
                    // Marks, ligatures and invisible characters that normalisers join, divide or remove.
                    2 => "[\u{300}\u{301}\u{200b}\u{ad}\u{fb01}\u{feff}\0éÄ東。'\"`.,-]{1,4}",
                ],
                0..60,
            ),
            smallest in 1..40usize,
        ) {
            let text = pieces.concat();
            for tokenizer in FAMILIES.iter() {
                let whole = tokenizer.encode_fast(text.as_str(), false).unwrap();
                let parts = chunks(&text, smallest, usize::MAX)
                    .flat_map(|chunk| tokenizer.encode_fast(chunk, false).unwrap().get_ids().to_vec());
                prop_assert_eq!(parts.collect::<Vec<_>>(), whole.get_ids());
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_in_place_of_the_tokenizer_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("tokenizer.json");
        assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
        let message = error(&folder, 9);
        assert!(message.contains("FOLDER/tokenizer.json: it is a pipe or a device"), "{message}");
    }
}
