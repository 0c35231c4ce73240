//! What Python needs to know of a tokenizer besides `tokenizer.json`.

use std::collections::BTreeMap;
use std::path::Path;

use files::FileKind;
use serde_json::{Map, Value, json};

use crate::config::ModelConfig;
use crate::model_type::ModelType;

/// The special tokens as `tokenizer_config.json` calls them, with the usual spellings.
const SPECIAL_TOKENS: [(&str, &[&str]); 7] = [
    ("pad_token", &["<pad>", "[PAD]"]),
    ("unk_token", &["<unk>", "[UNK]"]),
    ("cls_token", &["<s>", "[CLS]"]),
    ("sep_token", &["</s>", "[SEP]"]),
    ("mask_token", &["<mask>", "[MASK]"]),
    ("bos_token", &["<s>"]),
    ("eos_token", &["</s>"]),
];

/// The text of a `tokenizer_config.json` with which Python's `AutoTokenizer` and `pipeline` read `tokenizer_json`, the
/// text of a `tokenizer.json`, for this model: tokenizer class, inputs, special tokens, maximum length, padding and
/// truncation on the right.
///
/// The special tokens are those of `tokenizer_config.json` and `special_tokens_map.json` in `source`, the folder that
/// the tokenizer comes from; else the tokens of the vocabulary with the usual spellings. A token that the vocabulary
/// lacks is left out: Python would give it an id beyond the model's embeddings.
///
/// The class is the model's own where that reads a tokenizer as `tokenizer.json` has it, and otherwise
/// `PreTrainedTokenizerFast`, which always does.
///
/// ```
/// use albert::{ModelConfig, tokenizer_config};
///
/// let tokenizer = r#"{"model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "dog": 3}}}"#;
/// let text = tokenizer_config(&ModelConfig::bert_base(), tokenizer.as_bytes(), None, 128);
/// let keys: serde_json::Value = serde_json::from_str(&text)?;
/// assert_eq!(keys["tokenizer_class"], "PreTrainedTokenizerFast");
/// assert_eq!(keys["pad_token"], "[PAD]");
/// assert_eq!(keys["model_max_length"], 128);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn tokenizer_config(
    config: &ModelConfig,
    tokenizer_json: &[u8],
    source: Option<&Path>,
    max_length: usize,
) -> String {
    let tokenizer: Value = serde_json::from_slice(tokenizer_json).unwrap_or_default();
    let ids = vocabulary(&tokenizer);
    let written: Vec<Map<String, Value>> = ["tokenizer_config.json", "special_tokens_map.json"]
        .iter()
        .filter_map(|file| {
            let bytes = files::read(&source?.join(file), FileKind::Config).ok()?;
            serde_json::from_slice(&bytes).ok()
        })
        .collect();

    let mut keys = own_class(config.model_type, &tokenizer);
    for (name, spellings) in SPECIAL_TOKENS {
        let mut written = written.iter().filter_map(|file| content(file.get(name)?));
        let token = written
            .find(|token| ids.contains_key(token))
            .or_else(|| spellings.iter().copied().find(|token| ids.contains_key(token)));
        if let Some(token) = token {
            keys.insert(name.into(), json!(token));
        }
    }
    // A padding token of an unusual spelling: the model knows its id.
    if let (None, Some(id)) = (keys.get("pad_token"), config.pad_token_id)
        && let Some((token, _)) = ids.iter().find(|(_, token_id)| **token_id == id as u64)
    {
        keys.insert("pad_token".into(), json!(token));
    }
    let inputs: &[&str] = match config.type_vocab_size {
        1 => &["input_ids", "attention_mask"],
        _ => &["input_ids", "token_type_ids", "attention_mask"],
    };
    keys.insert("model_input_names".into(), json!(inputs));
    keys.insert("model_max_length".into(), json!(max_length));
    // Else Python takes the sides from the padding and truncation in tokenizer.json, which are not ours.
    for side in ["padding_side", "truncation_side"] {
        keys.insert(side.into(), json!("right"));
    }
    format!("{:#}\n", Value::Object(keys))
}

/// A special token is a string, or an object with its text as `content`.
fn content(token: &Value) -> Option<&str> {
    token.get("content").unwrap_or(token).as_str()
}

/// The id of every token.
fn vocabulary(tokenizer: &Value) -> BTreeMap<&str, u64> {
    let vocab = &tokenizer["model"]["vocab"];
    let of_map = vocab.as_object().into_iter().flatten();
    let of_map = of_map.filter_map(|(token, id)| Some((token.as_str(), id.as_u64()?)));
    // Unigram: pairs of a token and its score, in the order of their ids.
    let of_list = vocab.as_array().into_iter().flatten();
    let of_list = (0..).zip(of_list).filter_map(|(id, piece)| Some((piece[0].as_str()?, id)));
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    let added = added.filter_map(|token| Some((content(token)?, token["id"].as_u64()?)));
    of_map.chain(of_list).chain(added).collect()
}

/// The tokenizer class and its settings.
///
/// Since transformers 5, a model's own class takes the vocabulary from `tokenizer.json` and builds the rest itself, from
/// these settings. So it is named only where the rest is what it builds. ALBERT's and XLM-RoBERTa's classes would drop
/// most of a Unigram tokenizer's normalization.
fn own_class(model_type: ModelType, tokenizer: &Value) -> Map<String, Value> {
    let part = |part: &str, kind: &str| {
        Some(&tokenizer[part]).filter(|part| part["type"].as_str() == Some(kind))
    };
    let own = match model_type {
        ModelType::Bert => bert_tokenizer(tokenizer, part),
        ModelType::Roberta => roberta_tokenizer(tokenizer, part),
        ModelType::Albert | ModelType::XlmRoberta => None,
    };
    let class = own.unwrap_or_else(|| json!({ "tokenizer_class": "PreTrainedTokenizerFast" }));
    class.as_object().cloned().unwrap_or_default()
}

/// `BertTokenizer`: BERT's normalization, words and punctuation, WordPiece, `[CLS] A [SEP] B [SEP]`.
fn bert_tokenizer<'a>(
    tokenizer: &'a Value,
    part: impl Fn(&str, &str) -> Option<&'a Value>,
) -> Option<Value> {
    let normalizer = part("normalizer", "BertNormalizer")?;
    part("pre_tokenizer", "BertPreTokenizer")?;
    let model = part("model", "WordPiece")?;
    let usual = (model["continuing_subword_prefix"] == "##")
        && (model["max_input_chars_per_word"] == 100)
        && normalizer["clean_text"] == true
        && (part("post_processor", "BertProcessing").is_some()
            || template(&tokenizer["post_processor"]) == "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1");
    usual.then(|| {
        json!({
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": normalizer["lowercase"],
            "strip_accents": normalizer["strip_accents"],
            "tokenize_chinese_chars": normalizer["handle_chinese_chars"],
        })
    })
}

/// The template of a pair in `tokenizers`' short notation; empty for another post-processor.
fn template(post_processor: &Value) -> String {
    let pieces = post_processor["pair"].as_array().into_iter().flatten();
    let pieces = pieces
        .filter_map(|piece| piece.as_object()?.values().next())
        .map(|piece| format!("{}:{}", piece["id"].as_str().unwrap_or_default(), piece["type_id"]));
    pieces.collect::<Vec<_>>().join(" ")
}

/// `RobertaTokenizer`: byte-level BPE without normalization, `<s> A </s></s> B </s>`.
fn roberta_tokenizer<'a>(
    tokenizer: &'a Value,
    part: impl Fn(&str, &str) -> Option<&'a Value>,
) -> Option<Value> {
    let byte_level = part("pre_tokenizer", "ByteLevel")?;
    let processor = part("post_processor", "RobertaProcessing")?;
    let model = part("model", "BPE")?;
    let absent = |value: &Value| value.is_null() || value == false || value == "";
    let usual = tokenizer["normalizer"].is_null()
        && byte_level["use_regex"] != false
        && byte_level["add_prefix_space"] == processor["add_prefix_space"]
        && [
            "dropout",
            "continuing_subword_prefix",
            "end_of_word_suffix",
            "fuse_unk",
            "byte_fallback",
        ]
        .iter()
        .chain(&["ignore_merges"])
        .all(|option| absent(&model[option]));
    usual.then(|| {
        json!({
            "tokenizer_class": "RobertaTokenizer",
            "add_prefix_space": byte_level["add_prefix_space"],
            "trim_offsets": processor["trim_offsets"],
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bert() -> Value {
        let special = |id: &str, type_id| json!({"SpecialToken": {"id": id, "type_id": type_id}});
        let sequence = |id: &str, type_id| json!({"Sequence": {"id": id, "type_id": type_id}});
        json!({
            "added_tokens": [{"id": 4, "content": "[MASK]"}],
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": false},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing", "pair": [
                special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0),
                sequence("B", 1), special("[SEP]", 1)
            ]},
            "model": {"type": "WordPiece", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "dog": 5}},
        })
    }

    fn roberta() -> Value {
        json!({
            "added_tokens": [{"id": 0, "content": "<s>"}, {"id": 4, "content": "<mask>"}],
            "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
            "post_processor": {"type": "RobertaProcessing", "trim_offsets": true, "add_prefix_space": false},
            "model": {"type": "BPE", "continuing_subword_prefix": "", "fuse_unk": false,
                "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}, "merges": []},
        })
    }

    fn written(config: &ModelConfig, tokenizer: &Value, source: Option<&Path>) -> Value {
        let text = tokenizer_config(config, tokenizer.to_string().as_bytes(), source, 77);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn each_type_has_its_class_inputs_and_special_tokens() {
        assert_eq!(
            written(&ModelConfig::bert_base(), &bert(), None),
            json!({
                "tokenizer_class": "BertTokenizer", "do_lower_case": false, "strip_accents": null,
                "tokenize_chinese_chars": true, "model_max_length": 77, "padding_side": "right", "truncation_side": "right",
                "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
                "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
                "mask_token": "[MASK]",
            })
        );
        assert_eq!(
            written(&ModelConfig::roberta_base(), &roberta(), None),
            json!({
                "tokenizer_class": "RobertaTokenizer", "add_prefix_space": false, "trim_offsets": true,
                "model_max_length": 77, "padding_side": "right", "truncation_side": "right", "model_input_names": ["input_ids", "attention_mask"],
                "pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>",
                "mask_token": "<mask>", "bos_token": "<s>", "eos_token": "</s>",
            })
        );
        let unigram =
            json!({"model": {"type": "Unigram", "vocab": [["<pad>", 0.0], ["[CLS]", 0.0]]}});
        assert_eq!(
            written(&ModelConfig::albert_base_v2(), &unigram, None),
            json!({
                "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 77, "padding_side": "right", "truncation_side": "right",
                "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
                "pad_token": "<pad>", "cls_token": "[CLS]",
            })
        );
    }

    #[test]
    fn a_tokenizer_that_the_models_class_would_change_keeps_the_general_class() {
        let changes: [(&str, Value); 5] = [
            ("/normalizer/clean_text", json!(false)),
            ("/normalizer/type", json!("Lowercase")),
            ("/pre_tokenizer/type", json!("Whitespace")),
            ("/model/max_input_chars_per_word", json!(5)),
            ("/post_processor/pair/3/Sequence/type_id", json!(0)),
        ];
        for (place, value) in changes {
            let mut tokenizer = bert();
            *tokenizer.pointer_mut(place).unwrap() = value;
            let class = &written(&ModelConfig::bert_base(), &tokenizer, None)["tokenizer_class"];
            assert_eq!(class, "PreTrainedTokenizerFast", "{place}");
        }
        let mut tokenizer = roberta();
        tokenizer["normalizer"] = json!({"type": "NFC"});
        let class = &written(&ModelConfig::roberta_base(), &tokenizer, None)["tokenizer_class"];
        assert_eq!(class, "PreTrainedTokenizerFast");
        let class = &written(&ModelConfig::albert_base_v2(), &bert(), None)["tokenizer_class"];
        assert_eq!(class, "PreTrainedTokenizerFast", "BERT's tokenizer under an ALBERT");
    }

    #[test]
    fn the_source_folders_special_tokens_come_first_if_the_vocabulary_has_them() {
        let source = tempfile::tempdir().unwrap();
        let write = |file: &str, value: Value| {
            std::fs::write(source.path().join(file), value.to_string()).unwrap();
        };
        write(
            "tokenizer_config.json",
            json!({"cls_token": {"content": "dog"}, "pad_token": "gone"}),
        );
        write("special_tokens_map.json", json!({"cls_token": "[SEP]", "unk_token": "dog"}));
        let keys = written(&ModelConfig::bert_base(), &bert(), Some(source.path()));
        assert_eq!(
            [&keys["cls_token"], &keys["unk_token"], &keys["pad_token"]],
            ["dog", "dog", "[PAD]"]
        );
    }

    #[test]
    fn a_padding_token_of_another_spelling_is_found_by_its_id() {
        let tokenizer = json!({"model": {"vocab": {"nothing": 0, "dog": 1}}});
        assert_eq!(written(&ModelConfig::bert_base(), &tokenizer, None)["pad_token"], "nothing");
    }
}
