//! ALBERT for [Burn](https://burn.dev), with Hugging Face's weights.
//!
//! | type | what it is |
//! |---|---|
//! | [`AlbertConfig`] | sizes and constants: a `config.json`, or one of the published sizes |
//! | [`AlbertModel`] | the encoder with its pooler |
//! | [`AlbertForSequenceClassification`] | with a classifier; [`cross_entropy`] is its loss |
//! | [`AlbertForPreTraining`] | with the masked language modelling and sentence order heads |
//! | [`AlbertInput`] | a padded batch of token ids |
//! | [`Precision`] | mixed precision |
//! | [`LoadReport`] | which tensors of a weights file were new or unused |
//!
//! Each model is built with `init` (fresh parameters) or `from_pretrained` (a Hugging Face folder), and written with
//! `save_pretrained`. They run on every Burn backend; dropout acts on an autodiff backend only, as everywhere in Burn.
//!
//! ```
//! use albert::{AlbertConfig, AlbertForSequenceClassification, AlbertInput, cross_entropy};
//! use burn::backend::Flex;
//! use burn::tensor::{Int, Tensor};
//!
//! let config = AlbertConfig {
//!     vocab_size: 100,
//!     embedding_size: 8,
//!     hidden_size: 16,
//!     num_hidden_layers: 2,
//!     num_attention_heads: 4,
//!     intermediate_size: 32,
//!     ..AlbertConfig::base_v2().with_labels(&["entailment", "not_entailment"])
//! };
//! config.validate()?;
//!
//! let device = Default::default();
//! let model = AlbertForSequenceClassification::<Flex>::init(&config, 10013, &device);
//! let logits = model.forward(&AlbertInput {
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
mod model;
mod ops;
mod precision;
mod pretraining;
#[cfg(test)]
mod testing;
mod weights;

pub use attention::AlbertAttention;
pub use classification::{AlbertForSequenceClassification, cross_entropy};
pub use config::{AlbertConfig, ConfigError, HiddenAct};
pub use embeddings::AlbertEmbeddings;
pub use encoder::AlbertEncoder;
pub use input::AlbertInput;
pub use layer::{AlbertLayer, AlbertLayerGroup};
pub use model::{AlbertModel, AlbertOutput};
pub use precision::Precision;
pub use pretraining::{
    AlbertForPreTraining, AlbertForPreTrainingOutput, AlbertMlmHead, AlbertSopHead,
};
pub use weights::{LoadReport, Misshapen, WeightsError, hugging_face_name};
