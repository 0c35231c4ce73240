//! The sizes and constants of a model, as in Hugging Face's `config.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use files::FileKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::model_type::ModelType;

/// The file of a model folder that holds its configuration.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// More layers than any model has. A larger count comes from a damaged file and would exhaust the memory.
const MAX_LAYERS: usize = 1000;

/// More labels than the largest classification tasks have; each has a name in memory.
const MAX_LABELS: usize = 1 << 16;

/// Everything that defines a model except its weights.
///
/// The fields have the names of `config.json`, there with Hugging Face's defaults for the model's type:
///
/// | key | `albert` | `bert` | `roberta`, `xlm-roberta` |
/// |---|---|---|---|
/// | `vocab_size`, `hidden_size`, `num_hidden_layers`, `num_attention_heads`, `intermediate_size` | required | required | required |
/// | `embedding_size` | required | is `hidden_size` | is `hidden_size` |
/// | `num_hidden_groups` | 1 | is `num_hidden_layers` | is `num_hidden_layers` |
/// | `inner_group_num` | 1 | is 1 | is 1 |
/// | `hidden_act` | `gelu_new` | `gelu` | `gelu` |
/// | `hidden_dropout_prob`, `attention_probs_dropout_prob` | 0 | 0.1 | 0.1 |
/// | `classifier_dropout_prob` | 0.1 | `null`, named `classifier_dropout` | `null`, named `classifier_dropout` |
/// | `max_position_embeddings` | 512 | 512 | 512 |
/// | `type_vocab_size` | 2 | 2 | 2 |
/// | `initializer_range` | 0.02 | 0.02 | 0.02 |
/// | `layer_norm_eps` | 1e-12 | 1e-12 | 1e-12 |
/// | `pad_token_id`, `bos_token_id`, `eos_token_id` | 0, 2, 3 | 0, `null`, `null` | 1, 0, 2 |
/// | `id2label` | `LABEL_0`, `LABEL_1` | the same | the same |
///
/// Other keys are ignored, except those of features that are not implemented, which are refused.
///
/// A configuration that was read is already [validated](Self::validate); one that was put together by hand is not.
///
/// ```
/// use albert::{ModelConfig, ModelType};
///
/// let config = ModelConfig::albert_large_v2().with_labels(&["entailment", "not_entailment"]);
/// assert_eq!((config.hidden_size, config.num_labels()), (1024, 2));
///
/// let text = config.to_json("AlbertForSequenceClassification");
/// assert_eq!(ModelConfig::from_json(&text)?, config);
///
/// let bert = r#"{"model_type": "bert", "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12,
///     "num_attention_heads": 12, "intermediate_size": 3072}"#;
/// assert_eq!(ModelConfig::from_json(bert)?.model_type, ModelType::Bert);
/// # Ok::<(), albert::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The architecture. `albert` where `config.json` does not say.
    pub model_type: ModelType,
    /// Number of entries of the vocabulary: token ids are below it.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Width of the word, position and segment embeddings, before ALBERT projects them to `hidden_size`.
    pub embedding_size: usize,
    /// Number of layers. In ALBERT, the applications of all groups together.
    pub num_hidden_layers: usize,
    /// Number of groups; the applications of one group share their parameters.
    pub num_hidden_groups: usize,
    /// Number of layers inside a group, each with its own parameters.
    pub inner_group_num: usize,
    /// Number of attention heads; it divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward network.
    pub intermediate_size: usize,
    /// Activation of the feed-forward network and of the masked language modelling head.
    pub hidden_act: HiddenAct,
    /// Dropout of the embeddings, of the attention's projected output and, except in ALBERT, of the feed-forward network.
    pub hidden_dropout_prob: f64,
    /// Dropout of the attention probabilities.
    pub attention_probs_dropout_prob: f64,
    /// Dropout before the classifier; `None` stands for `hidden_dropout_prob`.
    #[serde(alias = "classifier_dropout")]
    pub classifier_dropout_prob: Option<f64>,
    /// Number of position embeddings; see [`max_length`](Self::max_length).
    pub max_position_embeddings: usize,
    /// Number of segments. A model with a single one ignores `token_type_ids`.
    pub type_vocab_size: usize,
    /// Standard deviation of newly initialized weights.
    pub initializer_range: f64,
    /// ε of the layer norms.
    pub layer_norm_eps: f64,
    /// Id of the padding token, whose word embedding starts at zero and gets no gradient.
    pub pad_token_id: Option<usize>,
    /// Id of the first token of a sequence.
    pub bos_token_id: Option<usize>,
    /// Id of the token that ends a sentence.
    pub eos_token_id: Option<usize>,
    /// The classifier's labels, numbered from 0.
    pub id2label: BTreeMap<usize, String>,
}

/// The keys that have no default.
const REQUIRED: [&str; 6] = [
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
];

/// Keys that the types other than ALBERT do not have, since their values are fixed.
const ALBERT_ONLY: [&str; 3] = ["embedding_size", "num_hidden_groups", "inner_group_num"];

/// The classifier's dropout, as ALBERT and as the other types call it.
const CLASSIFIER_DROPOUT: (&str, &str) = ("classifier_dropout_prob", "classifier_dropout");

/// Activation of the feed-forward layer, under Hugging Face's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum HiddenAct {
    /// `gelu`: x·Φ(x) with the exact Gaussian distribution function Φ.
    Gelu,
    /// `gelu_new`: its approximation by tanh.
    #[default]
    GeluNew,
    /// `relu`: max(x, 0).
    Relu,
}

impl TryFrom<String> for HiddenAct {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "gelu" => Ok(Self::Gelu),
            "gelu_new" => Ok(Self::GeluNew),
            "relu" => Ok(Self::Relu),
            _ => Err(format!("`{name}` is unknown; use `gelu`, `gelu_new` or `relu`")),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The text is not a JSON object with the required keys, each of the right type.
    #[error("not a usable model configuration: {0}")]
    Json(String),
    /// Values that no model can be built from: one sentence each, beginning with the key.
    #[error("not a usable model configuration: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// What is wrong with the configuration of a file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ConfigError>,
    },
    /// A sequence is longer than the position embeddings reach.
    #[error(
        "a length of {length} tokens exceeds the {max} that the model's position embeddings allow (max_position_embeddings); use at most {max}"
    )]
    TooLong {
        /// The length asked for, in tokens.
        length: usize,
        /// The longest the model can read.
        max: usize,
    },
    /// A layer has no parameters of its own.
    #[error(
        "the model's layers share their parameters (num_hidden_layers {layers}, num_hidden_groups {groups}), as in ALBERT, so \
         single layers cannot be treated separately; use a model with separate parameters for each layer, such as BERT or RoBERTa"
    )]
    SharedLayers {
        /// The number of layers.
        layers: usize,
        /// The number of groups of layers.
        groups: usize,
    },
    /// The model has fewer layers.
    #[error("the model has only {layers} layers, not {asked}; use at most {layers}")]
    TooFewLayers {
        /// The number of layers asked for.
        asked: usize,
        /// The number of layers that the model has.
        layers: usize,
    },
}

/// Keys that are looked at while reading but are not part of the model's description.
#[derive(Deserialize)]
struct Hints {
    model_type: Option<ModelType>,
    num_labels: Option<usize>,
    id2label: Option<Value>,
    is_decoder: Option<bool>,
    position_embedding_type: Option<String>,
}

impl Hints {
    /// Refuses what changes the computation and is not implemented.
    fn check_supported(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        if self.is_decoder == Some(true) {
            problems.push("is_decoder is true, but only encoders are supported".to_string());
        }
        if let Some(other) = self.position_embedding_type.as_deref().filter(|it| *it != "absolute")
        {
            problems.push(format!(
                "position_embedding_type is `{other}`, but only `absolute` is supported"
            ));
        }
        if let Some(count) = self.num_labels.filter(|&count| count > MAX_LABELS) {
            problems.push(format!("num_labels {count} is above {MAX_LABELS}"));
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(problems)) }
    }
}

/// Reads JSON; errors begin with the key they are about.
fn read_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ConfigError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| ConfigError::Json(error.to_string()))?;
    json.end().map_err(|error| ConfigError::Json(error.to_string()))?;
    Ok(value)
}

/// The fields of a configuration as JSON.
fn object(config: &ModelConfig) -> Map<String, Value> {
    match json!(config) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn numbered_labels(count: usize) -> BTreeMap<usize, String> {
    (0..count).map(|id| (id, format!("LABEL_{id}"))).collect()
}

impl ModelConfig {
    /// Reads and validates `config.json` of a Hugging Face model folder.
    ///
    /// # Errors
    ///
    /// Names the file, and the key where one is missing or wrong.
    pub fn from_folder(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(CONFIG_FILE);
        let text = match files::read_to_string(&path, FileKind::Config) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        Self::from_json(&text)
            .map_err(|source| ConfigError::File { path, source: Box::new(source) })
    }

    /// Reads and validates the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// Text that is not a JSON object, a `model_type` that is not supported, a missing key, a value of the wrong type or
    /// one that [`validate`](Self::validate) refuses, a feature that is not implemented.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let hints: Hints = read_json(text)?;
        hints.check_supported()?;
        let model_type = hints.model_type.unwrap_or_default();

        let mut keys = object(&Self::defaults(model_type));
        keys.retain(|key, _| !REQUIRED.contains(&key.as_str()));
        if let (None, Some(count)) = (hints.id2label, hints.num_labels) {
            keys.insert("id2label".into(), json!(numbered_labels(count)));
        }
        let mut own: Map<_, _> = read_json(text)?;
        if own.get("id2label").is_some_and(Value::is_null) {
            own.remove("id2label");
        }
        keys.extend(own);
        keys.insert("model_type".into(), json!(model_type));
        if model_type.is_albert() {
            keys.remove(CLASSIFIER_DROPOUT.1);
        } else {
            keys.remove(CLASSIFIER_DROPOUT.0);
            keys.extend(ALBERT_ONLY.map(|key| (key.into(), json!(1))));
        }
        let mut config: Self = serde_path_to_error::deserialize(Value::Object(keys))
            .map_err(|error| ConfigError::Json(error.to_string()))?;
        if !model_type.is_albert() {
            config.embedding_size = config.hidden_size;
            config.num_hidden_groups = config.num_hidden_layers;
        }
        config.validate()?;
        Ok(config)
    }

    /// The text of a `config.json` that Hugging Face's libraries read as this configuration of `architecture`, the name
    /// of one of their classes such as `AlbertForSequenceClassification`.
    pub fn to_json(&self, architecture: &str) -> String {
        let label2id: serde_json::Map<_, _> =
            self.id2label.iter().map(|(id, label)| (label.clone(), json!(id))).collect();
        let mut keys = object(self);
        // Python requires a number.
        keys.insert("classifier_dropout_prob".into(), json!(self.classifier_dropout()));
        if !self.model_type.is_albert() {
            keys.retain(|key, _| !ALBERT_ONLY.contains(&key.as_str()));
            if let Some(dropout) = keys.remove(CLASSIFIER_DROPOUT.0) {
                keys.insert(CLASSIFIER_DROPOUT.1.into(), dropout);
            }
        }
        keys.insert("architectures".into(), json!([architecture]));
        keys.insert("label2id".into(), Value::Object(label2id));
        keys.insert("torch_dtype".into(), json!("float32"));
        format!("{:#}\n", Value::Object(keys))
    }

    /// Checks that a model can be built: sizes above zero, at most 1000 layers, heads that divide the hidden size,
    /// probabilities in [0, 1), positive constants, token ids within the vocabulary, labels numbered from 0, and for
    /// types other than ALBERT its own keys as in the table above.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with everything that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        for (key, size) in [
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_hidden_groups", self.num_hidden_groups),
            ("inner_group_num", self.inner_group_num),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ] {
            if size == 0 {
                problems.push(format!("{key} must be above 0"));
            }
        }
        for (key, count) in [
            ("num_hidden_layers", self.num_hidden_layers),
            ("inner_group_num", self.inner_group_num),
        ] {
            if count > MAX_LAYERS {
                problems.push(format!("{key} {count} is above {MAX_LAYERS}"));
            }
        }
        if self.num_attention_heads > 0
            && !self.hidden_size.is_multiple_of(self.num_attention_heads)
        {
            problems.push(format!(
                "num_attention_heads {} does not divide hidden_size {}",
                self.num_attention_heads, self.hidden_size
            ));
        }
        if self.num_hidden_groups > self.num_hidden_layers {
            problems.push(format!(
                "num_hidden_groups {} is more than num_hidden_layers {}, so some groups would never be applied",
                self.num_hidden_groups, self.num_hidden_layers
            ));
        }
        if !self.model_type.is_albert()
            && (self.embedding_size, self.num_hidden_groups, self.inner_group_num)
                != (self.hidden_size, self.num_hidden_layers, 1)
        {
            problems.push(format!(
                "a model of the type {} has embedding_size = hidden_size, num_hidden_groups = num_hidden_layers and inner_group_num = 1",
                self.model_type
            ));
        }
        if self.model_type.is_roberta() {
            match self.pad_token_id {
                None => {
                    problems.push("pad_token_id is missing: positions count from it".to_string())
                }
                Some(_) if self.max_length() == 0 => problems.push(format!(
                    "max_position_embeddings {} leaves no position above pad_token_id",
                    self.max_position_embeddings
                )),
                Some(_) => {}
            }
        }
        for (key, probability) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout_prob", self.classifier_dropout()),
        ] {
            if !(0.0..1.0).contains(&probability) {
                problems
                    .push(format!("{key} is {probability}, but must be at least 0 and below 1"));
            }
        }
        for (key, value) in
            [("initializer_range", self.initializer_range), ("layer_norm_eps", self.layer_norm_eps)]
        {
            if !(value > 0.0 && value.is_finite()) {
                problems.push(format!("{key} is {value}, but must be above 0"));
            }
        }
        for (key, id) in [
            ("pad_token_id", self.pad_token_id),
            ("bos_token_id", self.bos_token_id),
            ("eos_token_id", self.eos_token_id),
        ] {
            if let Some(id) = id.filter(|&id| id >= self.vocab_size) {
                problems.push(format!("{key} {id} is not below vocab_size {}", self.vocab_size));
            }
        }
        if self.id2label.is_empty() {
            problems.push("id2label has no label".to_string());
        }
        if let Some(id) = (0..self.id2label.len()).find(|id| !self.id2label.contains_key(id)) {
            problems.push(format!("id2label has {} labels but none for {id}", self.id2label.len()));
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(problems)) }
    }

    /// The longest sequence the model can read, in tokens: `max_position_embeddings`, of which RoBERTa leaves the first
    /// `pad_token_id` + 1 to padding.
    pub fn max_length(&self) -> usize {
        let unused = self.position_padding().map_or(0, |padding| padding + 1);
        self.max_position_embeddings.saturating_sub(unused)
    }

    /// Checks that the model can read sequences of `length` tokens.
    ///
    /// # Errors
    ///
    /// [`ConfigError::TooLong`] where `length` is beyond [`max_length`](Self::max_length).
    pub fn check_length(&self, length: usize) -> Result<(), ConfigError> {
        let max = self.max_length();
        if length <= max { Ok(()) } else { Err(ConfigError::TooLong { length, max }) }
    }

    /// The same configuration with these labels, numbered in this order.
    pub fn with_labels(mut self, labels: &[&str]) -> Self {
        self.id2label = labels.iter().map(|label| label.to_string()).enumerate().collect();
        self
    }

    /// Number of labels of the classifier.
    pub fn num_labels(&self) -> usize {
        self.id2label.len()
    }

    /// Dropout before the classifier: `classifier_dropout_prob`, or `hidden_dropout_prob` where that is `null`.
    pub fn classifier_dropout(&self) -> f64 {
        self.classifier_dropout_prob.unwrap_or(self.hidden_dropout_prob)
    }

    /// Dropout of the feed-forward network.
    pub(crate) fn feed_forward_dropout(&self) -> f64 {
        if self.model_type.is_albert() { 0.0 } else { self.hidden_dropout_prob }
    }

    /// RoBERTa's position of padding, from which the tokens' positions count; `None` where they count from 0.
    pub(crate) fn position_padding(&self) -> Option<usize> {
        self.pad_token_id.filter(|_| self.model_type.is_roberta())
    }

    /// Checks that each layer has parameters of its own, so that layer `l` is the group `l`: in BERT and RoBERTa always, in
    /// ALBERT with as many groups as layers.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SharedLayers`] if it has not.
    pub fn check_layers_unshared(&self) -> Result<(), ConfigError> {
        let (layers, groups) = (self.num_hidden_layers, self.num_hidden_groups);
        if groups < layers { Err(ConfigError::SharedLayers { layers, groups }) } else { Ok(()) }
    }

    /// The group that layer `layer` applies: ⌊layer / (layers / groups)⌋, the quotient in floating point as in Hugging
    /// Face's encoder, so that the groups need not divide the layers.
    pub(crate) fn group_of_layer(&self, layer: usize) -> usize {
        let layers_per_group = self.num_hidden_layers as f64 / self.num_hidden_groups as f64;
        (layer as f64 / layers_per_group) as usize
    }
}

/// The published sizes.
///
/// ALBERT's version 1 was trained with the exact gelu and, up to xlarge, with dropout; version 2 has the tanh
/// approximation and no dropout. Sources: the models' configurations on the Hugging Face hub, and
/// <https://github.com/google-research/albert>.
impl ModelConfig {
    /// albert-base-v1: 12 layers, hidden size 768, 12 M parameters.
    pub fn albert_base_v1() -> Self {
        Self::albert(768, 12, 12, HiddenAct::Gelu, 0.1)
    }

    /// albert-large-v1: 24 layers, hidden size 1024, 18 M parameters.
    pub fn albert_large_v1() -> Self {
        Self::albert(1024, 24, 16, HiddenAct::Gelu, 0.1)
    }

    /// albert-xlarge-v1: 24 layers, hidden size 2048, 60 M parameters.
    pub fn albert_xlarge_v1() -> Self {
        Self::albert(2048, 24, 16, HiddenAct::Gelu, 0.1)
    }

    /// albert-xxlarge-v1: 12 layers, hidden size 4096, 235 M parameters; without dropout, unlike its smaller siblings.
    pub fn albert_xxlarge_v1() -> Self {
        Self::albert(4096, 12, 64, HiddenAct::Gelu, 0.0)
    }

    /// albert-base-v2: 12 layers, hidden size 768, 12 M parameters.
    pub fn albert_base_v2() -> Self {
        Self::albert(768, 12, 12, HiddenAct::GeluNew, 0.0)
    }

    /// albert-large-v2: 24 layers, hidden size 1024, 18 M parameters.
    pub fn albert_large_v2() -> Self {
        Self::albert(1024, 24, 16, HiddenAct::GeluNew, 0.0)
    }

    /// albert-xlarge-v2: 24 layers, hidden size 2048, 60 M parameters.
    pub fn albert_xlarge_v2() -> Self {
        Self::albert(2048, 24, 16, HiddenAct::GeluNew, 0.0)
    }

    /// albert-xxlarge-v2: 12 layers, hidden size 4096, 235 M parameters.
    pub fn albert_xxlarge_v2() -> Self {
        Self::albert(4096, 12, 64, HiddenAct::GeluNew, 0.0)
    }

    /// bert-base-uncased: 12 layers, hidden size 768, 110 M parameters.
    pub fn bert_base() -> Self {
        Self::base(ModelType::Bert, 30522)
    }

    /// roberta-base: 12 layers, hidden size 768, 125 M parameters.
    pub fn roberta_base() -> Self {
        Self {
            max_position_embeddings: 514,
            type_vocab_size: 1,
            layer_norm_eps: 1e-5,
            ..Self::base(ModelType::Roberta, 50265)
        }
    }

    fn albert(
        hidden_size: usize,
        layers: usize,
        heads: usize,
        hidden_act: HiddenAct,
        dropout: f64,
    ) -> Self {
        Self {
            vocab_size: 30000,
            embedding_size: 128,
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            intermediate_size: 4 * hidden_size,
            hidden_act,
            hidden_dropout_prob: dropout,
            attention_probs_dropout_prob: dropout,
            ..Self::defaults(ModelType::Albert)
        }
    }

    /// bert-base or roberta-base, but for what is their own.
    fn base(model_type: ModelType, vocab_size: usize) -> Self {
        Self {
            vocab_size,
            embedding_size: 768,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_hidden_groups: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            ..Self::defaults(model_type)
        }
    }

    /// The defaults of Hugging Face's configuration classes for keys a `config.json` leaves out. The required sizes are 0.
    fn defaults(model_type: ModelType) -> Self {
        let (hidden_act, dropout, classifier_dropout_prob) = match model_type {
            ModelType::Albert => (HiddenAct::GeluNew, 0.0, Some(0.1)),
            _ => (HiddenAct::Gelu, 0.1, None),
        };
        let (pad_token_id, bos_token_id, eos_token_id) = match model_type {
            ModelType::Albert => (0, Some(2), Some(3)),
            ModelType::Bert => (0, None, None),
            ModelType::Roberta | ModelType::XlmRoberta => (1, Some(0), Some(2)),
        };
        Self {
            model_type,
            vocab_size: 0,
            hidden_size: 0,
            embedding_size: 0,
            num_hidden_layers: 0,
            num_hidden_groups: 1,
            inner_group_num: 1,
            num_attention_heads: 0,
            intermediate_size: 0,
            hidden_act,
            hidden_dropout_prob: dropout,
            attention_probs_dropout_prob: dropout,
            classifier_dropout_prob,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(pad_token_id),
            bos_token_id,
            eos_token_id,
            id2label: numbered_labels(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: &str = r#""vocab_size": 100, "embedding_size": 8, "hidden_size": 16, "num_hidden_layers": 4,
        "num_attention_heads": 4, "intermediate_size": 32"#;

    fn with(keys: &str) -> Result<ModelConfig, ConfigError> {
        ModelConfig::from_json(&format!("{{{SIZES}{keys}}}"))
    }

    fn message(keys: &str) -> String {
        with(keys).unwrap_err().to_string()
    }

    #[test]
    fn keys_left_out_have_hugging_faces_defaults() {
        let config = with("").unwrap();
        let expected = ModelConfig {
            model_type: ModelType::Albert,
            vocab_size: 100,
            embedding_size: 8,
            hidden_size: 16,
            num_hidden_layers: 4,
            num_hidden_groups: 1,
            inner_group_num: 1,
            num_attention_heads: 4,
            intermediate_size: 32,
            hidden_act: HiddenAct::GeluNew,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            classifier_dropout_prob: Some(0.1),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            pad_token_id: Some(0),
            bos_token_id: Some(2),
            eos_token_id: Some(3),
            id2label: BTreeMap::from([(0, "LABEL_0".into()), (1, "LABEL_1".into())]),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn every_key_is_read_and_unknown_ones_are_ignored() {
        let config = with(
            r#", "num_hidden_groups": 2, "inner_group_num": 3, "hidden_act": "relu", "hidden_dropout_prob": 0,
            "attention_probs_dropout_prob": 0.2, "classifier_dropout_prob": 0.3, "max_position_embeddings": 48,
            "type_vocab_size": 1, "initializer_range": 0.5, "layer_norm_eps": 1e-5, "pad_token_id": null,
            "bos_token_id": 9, "eos_token_id": 10, "id2label": {"0": "yes", "1": "no", "2": "maybe"},
            "net_structure_type": 0, "architectures": ["AlbertForMaskedLM"], "model_type": "albert""#,
        )
        .unwrap();
        let expected = ModelConfig {
            num_hidden_groups: 2,
            inner_group_num: 3,
            hidden_act: HiddenAct::Relu,
            attention_probs_dropout_prob: 0.2,
            classifier_dropout_prob: Some(0.3),
            max_position_embeddings: 48,
            type_vocab_size: 1,
            initializer_range: 0.5,
            layer_norm_eps: 1e-5,
            pad_token_id: None,
            bos_token_id: Some(9),
            eos_token_id: Some(10),
            ..with("").unwrap().with_labels(&["yes", "no", "maybe"])
        };
        assert_eq!(config, expected);
        let numbered = with(r#", "id2label": null, "num_labels": 3"#).unwrap();
        assert_eq!(numbered.id2label, numbered_labels(3));
    }

    #[test]
    fn a_missing_size_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        for key in [
            "vocab_size",
            "embedding_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
        ] {
            let text = format!("{{{SIZES}}}").replace(&format!("\"{key}\""), "\"other\"");
            std::fs::write(folder.path().join("config.json"), text).unwrap();
            let message = ModelConfig::from_folder(folder.path()).unwrap_err().to_string();
            assert!(message.contains(&format!("missing field `{key}`")), "{message}");
            assert!(message.contains("config.json"), "{message}");
        }
    }

    #[test]
    fn a_folder_without_configuration_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message =
            ModelConfig::from_folder(&folder.path().join("nowhere")).unwrap_err().to_string();
        assert!(message.contains("nowhere") && message.contains("config.json"), "{message}");
    }

    #[test]
    fn text_that_is_not_a_configuration_is_an_error_wherever_it_is_cut() {
        let text = ModelConfig::albert_base_v2().to_json("AlbertModel");
        let text = text.trim_end();
        for end in 0..text.len() {
            assert!(
                matches!(ModelConfig::from_json(&text[..end]), Err(ConfigError::Json(_))),
                "{end}"
            );
        }
        assert!(ModelConfig::from_json(&format!("{text} more")).is_err());
        assert!(ModelConfig::from_json("[1, 2]").is_err());
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_by_its_key() {
        for (keys, expected) in [
            (r#", "num_hidden_groups": "two""#, "num_hidden_groups: invalid type"),
            (r#", "inner_group_num": -1"#, "inner_group_num: invalid value"),
            (
                r#", "hidden_act": "swish""#,
                "hidden_act: `swish` is unknown; use `gelu`, `gelu_new` or `relu`",
            ),
            (r#", "hidden_dropout_prob": null"#, "hidden_dropout_prob: invalid type"),
        ] {
            let message = message(keys);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn values_no_model_can_have_are_refused() {
        for (keys, expected) in [
            (r#", "num_hidden_groups": 0"#, "num_hidden_groups must be above 0"),
            (r#", "num_labels": 4294967296"#, "num_labels 4294967296 is above 65536"),
            (r#", "num_hidden_groups": 5"#, "num_hidden_groups 5 is more than num_hidden_layers 4"),
            (
                r#", "inner_group_num": 18446744073709551615"#,
                "inner_group_num 18446744073709551615 is above 1000",
            ),
            (r#", "max_position_embeddings": 0"#, "max_position_embeddings must be above 0"),
            (
                r#", "hidden_dropout_prob": 1.0"#,
                "hidden_dropout_prob is 1, but must be at least 0 and below 1",
            ),
            (
                r#", "attention_probs_dropout_prob": -0.1"#,
                "attention_probs_dropout_prob is -0.1, but must be",
            ),
            (r#", "classifier_dropout_prob": 2"#, "classifier_dropout_prob is 2, but must be"),
            (r#", "initializer_range": 0"#, "initializer_range is 0, but must be above 0"),
            (
                r#", "layer_norm_eps": -1e-12"#,
                "layer_norm_eps is -0.000000000001, but must be above 0",
            ),
            (r#", "pad_token_id": 100"#, "pad_token_id 100 is not below vocab_size 100"),
            (r#", "id2label": {}"#, "id2label has no label"),
            (r#", "id2label": {"0": "a", "2": "b"}"#, "id2label has 2 labels but none for 1"),
            (r#", "model_type": "distilbert""#, "model_type: `distilbert` is not supported"),
            (r#", "is_decoder": true"#, "is_decoder is true"),
            (
                r#", "position_embedding_type": "relative_key""#,
                "position_embedding_type is `relative_key`, but only `absolute` is supported",
            ),
        ] {
            let message = message(keys);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let mut config = ModelConfig::albert_base_v2();
        config.num_attention_heads = 7;
        config.hidden_dropout_prob = f64::NAN;
        let message = config.validate().unwrap_err().to_string();
        assert!(
            message.contains("num_attention_heads 7 does not divide hidden_size 768"),
            "{message}"
        );
        assert!(message.contains("hidden_dropout_prob"), "{message}");
    }

    #[test]
    fn written_configurations_read_back_and_carry_what_python_needs() {
        let config = ModelConfig::albert_xxlarge_v1().with_labels(&["a", "b", "c"]);
        let text = config.to_json("AlbertForSequenceClassification");
        assert_eq!(ModelConfig::from_json(&text).unwrap(), config);

        let keys: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(keys["architectures"], json!(["AlbertForSequenceClassification"]));
        assert_eq!(keys["model_type"], "albert");
        assert_eq!(keys["torch_dtype"], "float32");
        assert_eq!(keys["id2label"], json!({"0": "a", "1": "b", "2": "c"}));
        assert_eq!(keys["label2id"], json!({"a": 0, "b": 1, "c": 2}));
    }

    #[test]
    fn num_labels_stands_in_for_absent_labels() {
        let config = with(r#", "num_labels": 3"#).unwrap();
        assert_eq!(
            config.id2label.into_values().collect::<Vec<_>>(),
            ["LABEL_0", "LABEL_1", "LABEL_2"]
        );
    }

    #[test]
    fn classifier_dropout_falls_back_to_hidden_dropout() {
        let config =
            with(r#", "hidden_dropout_prob": 0.25, "classifier_dropout_prob": null"#).unwrap();
        assert_eq!(config.classifier_dropout(), 0.25);
        let keys: Value = serde_json::from_str(&config.to_json("AlbertModel")).unwrap();
        assert_eq!(keys["classifier_dropout_prob"], 0.25);
    }

    #[test]
    fn published_sizes_are_valid_and_as_published() {
        type Published = (fn() -> ModelConfig, usize, usize, usize, usize, HiddenAct, f64);
        let table: [Published; 8] = [
            (ModelConfig::albert_base_v1, 768, 12, 12, 3072, HiddenAct::Gelu, 0.1),
            (ModelConfig::albert_large_v1, 1024, 24, 16, 4096, HiddenAct::Gelu, 0.1),
            (ModelConfig::albert_xlarge_v1, 2048, 24, 16, 8192, HiddenAct::Gelu, 0.1),
            (ModelConfig::albert_xxlarge_v1, 4096, 12, 64, 16384, HiddenAct::Gelu, 0.0),
            (ModelConfig::albert_base_v2, 768, 12, 12, 3072, HiddenAct::GeluNew, 0.0),
            (ModelConfig::albert_large_v2, 1024, 24, 16, 4096, HiddenAct::GeluNew, 0.0),
            (ModelConfig::albert_xlarge_v2, 2048, 24, 16, 8192, HiddenAct::GeluNew, 0.0),
            (ModelConfig::albert_xxlarge_v2, 4096, 12, 64, 16384, HiddenAct::GeluNew, 0.0),
        ];
        for (config, hidden_size, layers, heads, intermediate_size, act, dropout) in table {
            let config = config();
            config.validate().unwrap();
            assert_eq!(config.hidden_size, hidden_size);
            assert_eq!(config.num_hidden_layers, layers);
            assert_eq!(config.num_attention_heads, heads);
            assert_eq!(config.intermediate_size, intermediate_size);
            assert_eq!(config.hidden_act, act);
            assert_eq!(
                (config.hidden_dropout_prob, config.attention_probs_dropout_prob),
                (dropout, dropout)
            );
            assert_eq!((config.vocab_size, config.embedding_size), (30000, 128));
        }
    }

    #[test]
    fn lengths_up_to_the_position_embeddings_are_fine() {
        let config = ModelConfig::albert_base_v2();
        assert!(config.check_length(512).is_ok());
        let message = config.check_length(513).unwrap_err().to_string();
        assert!(message.contains("513") && message.contains("512"), "{message}");
    }

    #[test]
    fn layers_choose_their_group_by_hugging_faces_rule() {
        for (layers, groups, expected) in [
            (4, 1, vec![0, 0, 0, 0]),
            (4, 2, vec![0, 0, 1, 1]),
            (5, 2, vec![0, 0, 0, 1, 1]),
            (6, 4, vec![0, 0, 1, 2, 2, 3]),
            (3, 3, vec![0, 1, 2]),
        ] {
            let config = ModelConfig {
                num_hidden_layers: layers,
                num_hidden_groups: groups,
                ..ModelConfig::albert_base_v2()
            };
            let chosen: Vec<_> = (0..layers).map(|layer| config.group_of_layer(layer)).collect();
            assert_eq!(chosen, expected);
        }
    }

    const BERT: &str = r#""vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4,
        "intermediate_size": 32"#;

    fn of_type(model_type: &str, keys: &str) -> Result<ModelConfig, ConfigError> {
        ModelConfig::from_json(&format!(r#"{{"model_type": "{model_type}", {BERT}{keys}}}"#))
    }

    #[test]
    fn bert_and_roberta_have_their_own_defaults_and_a_group_for_each_layer() {
        let bert = of_type("bert", "").unwrap();
        let expected = ModelConfig {
            vocab_size: 100,
            hidden_size: 16,
            embedding_size: 16,
            num_hidden_layers: 4,
            num_hidden_groups: 4,
            num_attention_heads: 4,
            intermediate_size: 32,
            ..ModelConfig::bert_base()
        };
        assert_eq!(bert, expected);
        assert_eq!((bert.hidden_act, bert.classifier_dropout()), (HiddenAct::Gelu, 0.1));
        assert_eq!(
            (bert.pad_token_id, bert.bos_token_id, bert.eos_token_id),
            (Some(0), None, None)
        );

        for model_type in [ModelType::Roberta, ModelType::XlmRoberta] {
            let roberta = of_type(model_type.name(), "").unwrap();
            assert_eq!(roberta.model_type, model_type);
            let special = (roberta.pad_token_id, roberta.bos_token_id, roberta.eos_token_id);
            assert_eq!(special, (Some(1), Some(0), Some(2)));
        }
        // Keys of ALBERT mean nothing there.
        let keys = r#", "embedding_size": 3, "num_hidden_groups": 9, "inner_group_num": 2"#;
        assert_eq!(of_type("bert", keys).unwrap(), bert);
        let message = of_type("bert", r#", "classifier_dropout": "no""#).unwrap_err().to_string();
        assert!(message.contains("classifier_dropout: invalid type"), "{message}");
        let text = r#"{"model_type": "bert", "vocab_size": 5, "hidden_size": "wide"}"#;
        let message = ModelConfig::from_json(text).unwrap_err().to_string();
        assert!(message.contains("hidden_size: invalid type"), "{message}");
        let text = r#"{"model_type": "bert", "vocab_size": 5}"#;
        let message = ModelConfig::from_json(text).unwrap_err().to_string();
        assert!(message.contains("missing field `hidden_size`"), "{message}");
    }

    #[test]
    fn bert_and_roberta_configurations_are_written_with_their_own_keys() {
        for config in [ModelConfig::bert_base(), ModelConfig::roberta_base()] {
            let config = ModelConfig { classifier_dropout_prob: Some(0.25), ..config };
            let text = config.to_json("Any");
            assert_eq!(ModelConfig::from_json(&text).unwrap(), config);
            let keys: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(keys["model_type"], config.model_type.name());
            assert_eq!(keys["classifier_dropout"], 0.25);
            for key in [
                "embedding_size",
                "num_hidden_groups",
                "inner_group_num",
                "classifier_dropout_prob",
            ] {
                assert!(keys.get(key).is_none(), "{key}");
            }
        }
    }

    #[test]
    fn only_albert_has_groups_and_a_projection() {
        for config in [
            ModelConfig { embedding_size: 8, ..ModelConfig::bert_base() },
            ModelConfig { num_hidden_groups: 1, ..ModelConfig::bert_base() },
            ModelConfig { inner_group_num: 2, ..ModelConfig::roberta_base() },
        ] {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains("num_hidden_groups = num_hidden_layers"), "{message}");
        }
    }

    #[test]
    fn robertas_positions_begin_after_the_padding_token() {
        let config = ModelConfig::roberta_base();
        assert_eq!((config.max_position_embeddings, config.max_length()), (514, 512));
        assert!(config.check_length(512).is_ok());
        assert!(config.check_length(513).is_err());
        assert_eq!(ModelConfig::bert_base().max_length(), 512);
        for (keys, expected) in [
            (r#", "pad_token_id": null"#, "pad_token_id is missing"),
            (r#", "max_position_embeddings": 2"#, "leaves no position above pad_token_id"),
        ] {
            let message = of_type("roberta", keys).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
