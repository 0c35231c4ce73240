//! The stack of shared layers.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::config::AlbertConfig;
use crate::layer::AlbertLayerGroup;

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

    /// `[batch, sequence, embedding_size]` to `[batch, sequence, hidden_size]`; `bias` is `[batch, heads, sequence, sequence]`.
    ///
    /// Inside, the tokens of a batch are the rows of one matrix, so that a linear layer is a single matrix product, and
    /// its weight's gradient as well.
    pub(crate) fn forward(&self, embeddings: Tensor<B, 3>, bias: Tensor<B, 4>) -> Tensor<B, 3> {
        let [batch, length, _] = embeddings.dims();
        let hidden = self.embedding_hidden_mapping_in.forward(embeddings.flatten::<2>(0, 1));
        let hidden = self.group_of_layer.iter().fold(hidden, |hidden, &group| {
            self.albert_layer_groups[group].forward(hidden, bias.clone())
        });
        let [_, hidden_size] = hidden.dims();
        hidden.reshape([batch, length, hidden_size])
    }
}
