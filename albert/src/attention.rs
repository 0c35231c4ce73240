//! Multi-head self-attention.

use crate::kernels::{self, AttentionOptions, dropout};
use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::config::ModelConfig;
use crate::ops::{Outputs, Sequences, add_layer_norm, affine, bias, linear, parameters};

/// layer_norm(x + dropout(W·heads)), where a head of width d is dropout(softmax(Q·Kᵀ/√d + bias))·V.
///
/// Source: Vaswani et al., *Attention Is All You Need*, <https://arxiv.org/abs/1706.03762>.
#[derive(Module, Debug)]
pub struct SelfAttention<B: Backend> {
    /// `[hidden_size, hidden_size]`, as the other three projections.
    pub query: Linear<B>,
    /// Its bias shifts all scores of a query alike, so the bias's gradient is zero but for rounding.
    pub key: Linear<B>,
    /// `[hidden_size, hidden_size]`
    pub value: Linear<B>,
    /// Projects the heads' concatenated outputs.
    pub dense: Linear<B>,
    /// Over the sum of the input and the projected heads.
    pub layer_norm: LayerNorm<B>,
    attention_dropout: f64,
    output_dropout: f64,
    num_attention_heads: usize,
    layer_norm_eps: f64,
}

/// The projections of keys and values concatenated, once for all the layers that share them.
pub(crate) struct KeyValue<B: Backend> {
    /// `[hidden_size, 2 · hidden_size]`
    weight: Tensor<B, 2>,
    /// `[2 · hidden_size]`
    bias: Tensor<B, 1>,
}

impl<B: Backend> SelfAttention<B> {
    pub(crate) fn new(config: &ModelConfig, device: &B::Device) -> Self {
        let linear = || LinearConfig::new(config.hidden_size, config.hidden_size).init(device);
        Self {
            query: linear(),
            key: linear(),
            value: linear(),
            dense: linear(),
            layer_norm: LayerNormConfig::new(config.hidden_size)
                .with_epsilon(config.layer_norm_eps)
                .init(device),
            attention_dropout: config.attention_probs_dropout_prob,
            output_dropout: config.hidden_dropout_prob,
            num_attention_heads: config.num_attention_heads,
            layer_norm_eps: config.layer_norm_eps,
        }
    }

    pub(crate) fn key_value(&self) -> KeyValue<B> {
        let biases = [&self.key, &self.value].map(bias);
        KeyValue {
            weight: Tensor::cat(vec![self.key.weight.val(), self.value.weight.val()], 1),
            bias: Tensor::cat(biases.to_vec(), 0),
        }
    }

    /// `hidden` has a row for each token, `[rows, hidden_size]`; the result has a row for each of the `outputs`.
    pub(crate) fn forward(
        &self,
        hidden: Tensor<B, 2>,
        key_value: &KeyValue<B>,
        sequences: &Sequences<B>,
        outputs: Outputs,
    ) -> Tensor<B, 2> {
        let Sequences { layout: keys, bias, factors } = sequences;
        let factors = *factors;
        let query = parameters(&self.query);
        let key_value = (key_value.weight.clone(), key_value.bias.clone());
        let (input, queries, [query, key_value]) = match outputs {
            Outputs::All => {
                let projected = affine(hidden.clone(), [query, key_value], factors);
                (hidden, keys.clone(), projected)
            }
            Outputs::First => {
                let first = sequences.first(hidden.clone());
                let [query] = affine(first.clone(), [query], factors);
                let [key_value] = affine(hidden, [key_value], factors);
                (first, keys.first_tokens(), [query, key_value])
            }
        };

        let heads = self.num_attention_heads;
        let options = AttentionOptions {
            heads,
            bias: bias.clone(),
            dropout: self.attention_dropout,
            factors,
        };
        let joined = kernels::attention(query, key_value, &queries, keys, options);

        let output = dropout(linear(&self.dense, joined, factors), self.output_dropout);
        add_layer_norm(&self.layer_norm, self.layer_norm_eps, output, input)
    }
}
