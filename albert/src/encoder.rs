//! The stack of shared layers.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::config::AlbertConfig;
use crate::layer::{AlbertLayer, AlbertLayerGroup};
use crate::ops::{Outputs, Sequences, linear};

/// Projects embeddings to the hidden size and applies `num_hidden_layers` layers, most of them the same one again.
#[derive(Module, Debug)]
pub struct AlbertEncoder<B: Backend> {
    /// `[embedding_size, hidden_size]`
    pub embedding_hidden_mapping_in: Linear<B>,
    /// The `num_hidden_groups` groups.
    pub albert_layer_groups: Vec<AlbertLayerGroup<B>>,
    /// The group each layer applies.
    #[module(skip)]
    group_of_layer: Vec<usize>,
}

impl<B: Backend> AlbertEncoder<B> {
    pub(crate) fn new(config: &AlbertConfig, device: &B::Device) -> Self {
        Self {
            embedding_hidden_mapping_in: LinearConfig::new(
                config.embedding_size,
                config.hidden_size,
            )
            .init(device),
            albert_layer_groups: (0..config.num_hidden_groups)
                .map(|_| AlbertLayerGroup::new(config, device))
                .collect(),
            group_of_layer: (0..config.num_hidden_layers)
                .map(|layer| config.group_of_layer(layer))
                .collect(),
        }
    }

    /// `[rows, embedding_size]` to `[rows, hidden_size]`, or to one row a sequence for its first token.
    ///
    /// The tokens of a batch are the rows of one matrix, so that a linear layer is a single matrix product, and its
    /// weight's gradient as well. Where only the first tokens are wanted, the last layer computes no other.
    pub(crate) fn forward(
        &self,
        embeddings: Tensor<B, 2>,
        sequences: &Sequences<B>,
        outputs: Outputs,
    ) -> Tensor<B, 2> {
        let key_values: Vec<Vec<_>> = self
            .albert_layer_groups
            .iter()
            .map(|group| group.albert_layers.iter().map(|l| l.attention.key_value()).collect())
            .collect();
        let layers: Vec<(&AlbertLayer<B>, _)> = self
            .group_of_layer
            .iter()
            .flat_map(|&group| {
                self.albert_layer_groups[group].albert_layers.iter().zip(&key_values[group])
            })
            .collect();
        let hidden = linear(&self.embedding_hidden_mapping_in, embeddings);
        let Some(((last, last_key_value), before)) = layers.split_last() else { return hidden };
        let hidden = before.iter().fold(hidden, |hidden, (layer, key_value)| {
            layer.forward(hidden, key_value, sequences, Outputs::All)
        });
        last.forward(hidden, last_key_value, sequences, outputs)
    }
}
