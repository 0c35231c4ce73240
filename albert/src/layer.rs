//! A transformer layer and a group of them.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::attention::AlbertAttention;
use crate::config::{AlbertConfig, HiddenAct};
use crate::ops::{activate, add_layer_norm};

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
        }
    }

    fn forward(&self, hidden: Tensor<B, 2>, bias: Tensor<B, 4>) -> Tensor<B, 2> {
        let attention = self.attention.forward(hidden, bias);
        let inner = activate(self.hidden_act, self.ffn.forward(attention.clone()));
        add_layer_norm(self.ffn_output.forward(inner), attention, &self.full_layer_layer_norm)
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

    /// `hidden` is `[batch · sequence, hidden_size]`, `bias` is `[batch, 1, 1, sequence]`.
    pub(crate) fn forward(&self, hidden: Tensor<B, 2>, bias: Tensor<B, 4>) -> Tensor<B, 2> {
        self.albert_layers.iter().fold(hidden, |hidden, layer| layer.forward(hidden, bias.clone()))
    }
}
