//! A transformer layer and a group of them.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::attention::{AlbertAttention, KeyValue};
use crate::config::{AlbertConfig, HiddenAct};
use crate::ops::{Outputs, Sequences, activate, add_layer_norm, linear};

/// Attention, then a feed-forward network added to its input and normalised. The feed-forward network has no dropout.
#[derive(Module, Debug)]
pub struct AlbertLayer<B: Backend> {
    /// Over `hidden_size`, after the feed-forward network.
    pub full_layer_layer_norm: LayerNorm<B>,
    /// Self-attention with its own residual and norm.
    pub attention: AlbertAttention<B>,
    /// `[hidden_size, intermediate_size]`
    pub ffn: Linear<B>,
    /// `[intermediate_size, hidden_size]`
    pub ffn_output: Linear<B>,
    #[module(skip)]
    hidden_act: HiddenAct,
    layer_norm_eps: f64,
}

impl<B: Backend> AlbertLayer<B> {
    fn new(config: &AlbertConfig, device: &B::Device) -> Self {
        let norm = LayerNormConfig::new(config.hidden_size).with_epsilon(config.layer_norm_eps);
        Self {
            full_layer_layer_norm: norm.init(device),
            attention: AlbertAttention::new(config, device),
            ffn: LinearConfig::new(config.hidden_size, config.intermediate_size).init(device),
            ffn_output: LinearConfig::new(config.intermediate_size, config.hidden_size)
                .init(device),
            hidden_act: config.hidden_act,
            layer_norm_eps: config.layer_norm_eps,
        }
    }

    /// A row of `hidden` `[rows, hidden_size]` is a token; the result has a row for each of the `outputs`.
    pub(crate) fn forward(
        &self,
        hidden: Tensor<B, 2>,
        key_value: &KeyValue<B>,
        sequences: &Sequences<B>,
        outputs: Outputs,
    ) -> Tensor<B, 2> {
        let attention = self.attention.forward(hidden, key_value, sequences, outputs);
        let inner = activate(self.hidden_act, linear(&self.ffn, attention.clone()));
        let output = linear(&self.ffn_output, inner);
        add_layer_norm(&self.full_layer_layer_norm, self.layer_norm_eps, output, attention)
    }
}

/// The `inner_group_num` layers that one application of a group runs through.
#[derive(Module, Debug)]
pub struct AlbertLayerGroup<B: Backend> {
    /// In the order of their application.
    pub albert_layers: Vec<AlbertLayer<B>>,
}

impl<B: Backend> AlbertLayerGroup<B> {
    pub(crate) fn new(config: &AlbertConfig, device: &B::Device) -> Self {
        Self {
            albert_layers: (0..config.inner_group_num)
                .map(|_| AlbertLayer::new(config, device))
                .collect(),
        }
    }
}
