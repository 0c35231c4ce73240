//! Transformer encoders for [Burn](https://burn.dev) with Hugging Face's weights: ALBERT, BERT, RoBERTa and XLM-RoBERTa.
//!
//! # Fine-tuning a pretrained model
//!
//! A Hugging Face folder has a `config.json` and a `model.safetensors`, whole or in shards. The two become a
//! [`ModelConfig`] and a [`SequenceClassifier`]; if the file has no classifier, a new one is initialized with the seed.
//!
//! ```no_run
//! use albert::{ModelConfig, SequenceClassifier};
//! use burn::backend::{Autodiff, Flex};
//!
//! let folder = "bert-base-uncased".as_ref();
//! let config = ModelConfig::from_folder(folder)?.with_labels(&["entailment", "not_entailment"]);
//! let device = Default::default();
//! let (model, report) =
//!     SequenceClassifier::<Autodiff<Flex>>::from_pretrained(folder, &config, 10013, &device)?;
//! assert_eq!(report.new, ["classifier.bias", "classifier.weight"]);
//! // … train …
//! model.save_pretrained(&config, "fine-tuned".as_ref())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Python's `AutoModelForSequenceClassification` loads what [`save_pretrained`](SequenceClassifier::save_pretrained)
//! writes; [`tokenizer_config`] makes the file with which `AutoTokenizer` loads the tokenizer next to it.
//!
//! # Computing logits and a loss
//!
//! ```
//! use albert::{EncoderInput, ModelConfig, SequenceClassifier, cross_entropy};
//! use burn::backend::Flex;
//! use burn::tensor::{Int, Tensor};
//!
//! let config = ModelConfig {
//!     vocab_size: 100,
//!     embedding_size: 8,
//!     hidden_size: 16,
//!     num_hidden_layers: 2,
//!     num_attention_heads: 4,
//!     intermediate_size: 32,
//!     ..ModelConfig::albert_base_v2().with_labels(&["entailment", "not_entailment"])
//! };
//! config.validate()?;
//!
//! let device = Default::default();
//! let model = SequenceClassifier::<Flex>::init(&config, 10013, &device);
//! let logits = model.forward(&EncoderInput {
//!     input_ids: Tensor::from_ints([[2, 17, 3, 42, 3], [2, 8, 3, 0, 0]], &device),
//!     attention_mask: Tensor::from_ints([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], &device),
//!     token_type_ids: Tensor::from_ints([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]], &device),
//! });
//! assert_eq!(logits.dims(), [2, 2]);
//!
//! let labels = Tensor::<Flex, 1, Int>::from_ints([0, 1], &device);
//! let loss: f32 = cross_entropy(logits, labels).into_scalar();
//! assert!(loss.is_finite());
//! # Ok::<(), albert::ConfigError>(())
//! ```
//!
//! The models run on every Burn backend. Dropout acts on autodiff backends only, as everywhere in Burn.
//!
//! # Where to look
//!
//! | question | answer |
//! |---|---|
//! | Which models are there, and how do they differ? | [`ModelType`] |
//! | What is in a `config.json`? | [`ModelConfig`] |
//! | What does a model read and compute? | [`EncoderInput`], [`Encoder`], [`SequenceClassifier`], [`cross_entropy`] |
//! | Which parameters were loaded, which initialized? | [`LoadReport`] |
//! | How is mixed precision switched on? | [`Precision`] |
//! | How is an ALBERT pretrained? | [`AlbertForPreTraining`] |

mod attention;
mod classification;
mod config;
mod embeddings;
mod encoder;
mod init;
mod input;
// Public for `benches/operations.rs` alone.
#[doc(hidden)]
pub mod kernels;
mod layer;
mod model_type;
mod names;
mod ops;
mod precision;
mod pretraining;
#[cfg(test)]
mod testing;
mod tokenizer_config;
mod weights;
mod weights_error;
mod weights_file;

pub use attention::SelfAttention;
pub use classification::{
    SequenceClassifier, cross_entropies, cross_entropy, smoothed_cross_entropy,
};
pub use config::{ConfigError, HiddenAct, ModelConfig};
pub use embeddings::Embeddings;
pub use encoder::{Encoder, EncoderOutput};
pub use input::EncoderInput;
pub use layer::{Layer, LayerGroup};
pub use model_type::ModelType;
pub use precision::Precision;
pub use pretraining::{
    AlbertForPreTraining, AlbertForPreTrainingOutput, AlbertMlmHead, AlbertSopHead,
};
pub use tokenizer_config::tokenizer_config;
pub use weights::LoadReport;
pub use weights_error::{ShapeMismatch, WeightsError};
