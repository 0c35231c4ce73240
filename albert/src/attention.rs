//! Multi-head self-attention.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::config::AlbertConfig;
use crate::ops::{add_layer_norm, masked_softmax};

/// softmax(Q·Kᵀ/√d + bias)·V per head of width d, projected, added to the input and normalised.
///
/// Dropout falls on the probabilities and on the projection.
#[derive(Module, Debug)]
pub struct AlbertAttention<B: Backend> {
    /// `[hidden_size, hidden_size]`, like the three that follow.
    pub query: Linear<B>,
    /// Keys. A bias here shifts all scores of a query alike, so its gradient is zero but for rounding.
    pub key: Linear<B>,
    /// Values.
    pub value: Linear<B>,
    /// Projection of the heads' joined outputs.
    pub dense: Linear<B>,
    /// Over `hidden_size`.
    pub layer_norm: LayerNorm<B>,
    attention_dropout: Dropout,
    output_dropout: Dropout,
    num_attention_heads: usize,
}

impl<B: Backend> AlbertAttention<B> {
    pub(crate) fn new(config: &AlbertConfig, device: &B::Device) -> Self {
        let linear = || LinearConfig::new(config.hidden_size, config.hidden_size).init(device);
        Self {
            query: linear(),
            key: linear(),
            value: linear(),
            dense: linear(),
            layer_norm: LayerNormConfig::new(config.hidden_size)
                .with_epsilon(config.layer_norm_eps)
                .init(device),
            attention_dropout: DropoutConfig::new(config.attention_probs_dropout_prob).init(),
            output_dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
            num_attention_heads: config.num_attention_heads,
        }
    }

    /// `hidden` is `[batch · sequence, hidden_size]`, `bias` is `[batch, heads, sequence, sequence]`.
    pub(crate) fn forward(&self, hidden: Tensor<B, 2>, bias: Tensor<B, 4>) -> Tensor<B, 2> {
        let [batch, _, _, length] = bias.dims();
        let [tokens, hidden_size] = hidden.dims();
        let head_size = hidden_size / self.num_attention_heads;
        let split_heads = |x: Tensor<B, 2>| {
            x.reshape([batch, length, self.num_attention_heads, head_size]).swap_dims(1, 2)
        };

        let query = split_heads(self.query.forward(hidden.clone()) / (head_size as f64).sqrt());
        let key = split_heads(self.key.forward(hidden.clone()));
        let value = split_heads(self.value.forward(hidden.clone()));

        let probabilities = masked_softmax(query.matmul(key.transpose()), bias);
        let context = self.attention_dropout.forward(probabilities).matmul(value);
        let joined = context.swap_dims(1, 2).reshape([tokens, hidden_size]);

        let output = self.output_dropout.forward(self.dense.forward(joined));
        add_layer_norm(output, hidden, &self.layer_norm)
    }
}
