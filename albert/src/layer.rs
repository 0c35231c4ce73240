//! A transformer layer, and a group of layers.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::attention::{KeyValue, SelfAttention};
use crate::config::{HiddenAct, ModelConfig};
use crate::kernels::dropout;
use crate::ops::{Outputs, Sequences, activate, add_layer_norm, linear};

/// Attention, then a feed-forward network: layer_norm(h + dropout(W₂·act(W₁·h))), where h is the attention's output.
///
/// ALBERT has no dropout here.
#[derive(Module, Debug)]
pub struct Layer<B: Backend> {
    /// Over `hidden_size`, after the feed-forward network.
    pub layer_norm: LayerNorm<B>,
    /// Self-attention with its own residual and norm.
    pub attention: SelfAttention<B>,
    /// `[hidden_size, intermediate_size]`
    pub ffn: Linear<B>,
    /// `[intermediate_size, hidden_size]`
    pub ffn_output: Linear<B>,
    output_dropout: f64,
    #[module(skip)]
    hidden_act: HiddenAct,
    layer_norm_eps: f64,
}

impl<B: Backend> Layer<B> {
    fn new(config: &ModelConfig, device: &B::Device) -> Self {
        let norm = LayerNormConfig::new(config.hidden_size).with_epsilon(config.layer_norm_eps);
        Self {
            layer_norm: norm.init(device),
            attention: SelfAttention::new(config, device),
            ffn: LinearConfig::new(config.hidden_size, config.intermediate_size).init(device),
            ffn_output: LinearConfig::new(config.intermediate_size, config.hidden_size)
                .init(device),
            output_dropout: config.feed_forward_dropout(),
            hidden_act: config.hidden_act,
            layer_norm_eps: config.layer_norm_eps,
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
        let attention = self.attention.forward(hidden, key_value, sequences, outputs);
        let factors = sequences.factors;
        let inner = linear(&self.ffn, attention.clone(), factors);
        let inner = activate(self.hidden_act, inner, factors);
        let output = dropout(linear(&self.ffn_output, inner, factors), self.output_dropout);
        add_layer_norm(&self.layer_norm, self.layer_norm_eps, output, attention)
    }
}

/// The `inner_group_num` layers that are applied together, and again with the same parameters in every application of
/// the group.
#[derive(Module, Debug)]
pub struct LayerGroup<B: Backend> {
    /// In the order of their application.
    pub layers: Vec<Layer<B>>,
}

impl<B: Backend> LayerGroup<B> {
    pub(crate) fn new(config: &ModelConfig, device: &B::Device) -> Self {
        Self { layers: (0..config.inner_group_num).map(|_| Layer::new(config, device)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::kernels::Factors;
    use crate::testing::{Train, batch, distance, tiny, tiny_bert, tiny_roberta, values};

    /// With nearly everything dropped, what a sublayer adds to its input shows whether it has a dropout.
    #[test]
    fn only_albert_has_no_dropout_in_the_feed_forward_network() {
        let device = Default::default();
        for (config, drops) in [(tiny(), false), (tiny_bert(), true), (tiny_roberta(), true)] {
            let config = ModelConfig { hidden_dropout_prob: 1.0 - 1e-7, ..config };
            let layer = Layer::<Train>::new(&config, &device);
            let input = batch::<Train>(&[&[2, 5, 7, 3]], 4, 0);
            let sequences = Sequences::all(&input.attention_mask, Factors::AsGiven);
            let hidden = Tensor::random([4, 12], Distribution::Default, &device);
            let key_value = layer.attention.key_value();
            let output = layer.forward(hidden.clone(), &key_value, &sequences, Outputs::All);

            let attention = layer.attention.layer_norm.forward(hidden);
            let untouched = values(layer.layer_norm.forward(attention));
            assert_eq!(distance(&values(output), &untouched) < 1e-4, drops, "{config:?}");
        }
    }
}
