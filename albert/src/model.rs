//! The encoder with its pooler, without a task's head.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::config::AlbertConfig;
use crate::embeddings::AlbertEmbeddings;
use crate::encoder::AlbertEncoder;
use crate::init;
use crate::input::AlbertInput;
use crate::ops::attention_bias;

/// ALBERT without a head: embeddings, encoder and pooler.
///
/// Source: Lan et al., *ALBERT: A Lite BERT for Self-supervised Learning of Language Representations*,
/// <https://arxiv.org/abs/1909.11942>.
#[derive(Module, Debug)]
pub struct AlbertModel<B: Backend> {
    /// From token ids to vectors.
    pub embeddings: AlbertEmbeddings<B>,
    /// The shared transformer layers.
    pub encoder: AlbertEncoder<B>,
    /// `[hidden_size, hidden_size]`, applied to the first token.
    pub pooler: Linear<B>,
}

/// What [`AlbertModel`] says about a batch.
#[derive(Clone, Debug)]
pub struct AlbertOutput<B: Backend> {
    /// Every token's last hidden state, `[batch, sequence, hidden_size]`.
    pub last_hidden_state: Tensor<B, 3>,
    /// tanh of the pooler's projection of the first token, `[batch, hidden_size]`.
    pub pooler_output: Tensor<B, 2>,
}

impl<B: Backend> AlbertModel<B> {
    /// A model whose parameters come into being on first use, to be replaced by loaded ones.
    ///
    /// `config` must be [valid](AlbertConfig::validate).
    pub fn new(config: &AlbertConfig, device: &B::Device) -> Self {
        Self {
            embeddings: AlbertEmbeddings::new(config, device),
            encoder: AlbertEncoder::new(config, device),
            pooler: LinearConfig::new(config.hidden_size, config.hidden_size).init(device),
        }
    }

    /// A model with fresh parameters: weights normal with mean 0 and standard deviation `initializer_range`, biases
    /// zero, layer norms the identity and the padding token's embedding zero. The numbers depend on `seed` alone, not on
    /// the backend.
    ///
    /// `config` must be [valid](AlbertConfig::validate).
    pub fn init(config: &AlbertConfig, seed: u64, device: &B::Device) -> Self {
        init::draw(Self::new(config, device), config, seed, |_| true)
    }

    /// Encodes a batch. A padded position changes no real position's output.
    ///
    /// # Panics
    ///
    /// Where the sequence is longer than `max_position_embeddings`; see
    /// [`AlbertConfig::check_length`](AlbertConfig::check_length). What an id beyond its embeddings does is up to the
    /// backend.
    pub fn forward(&self, input: &AlbertInput<B>) -> AlbertOutput<B> {
        let bias = attention_bias(input.attention_mask.clone().equal_elem(0));
        let last_hidden_state = self.encoder.forward(self.embeddings.forward(input), bias);
        let first_token = last_hidden_state.clone().narrow(1, 0, 1).squeeze_dim(1);
        let pooler_output = self.pooler.forward(first_token).tanh();
        AlbertOutput { last_hidden_state, pooler_output }
    }
}
