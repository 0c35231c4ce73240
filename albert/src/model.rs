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
    num_attention_heads: usize,
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
            num_attention_heads: config.num_attention_heads,
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
        let padding = input.attention_mask.clone().equal_elem(0);
        let bias = attention_bias(padding, self.num_attention_heads);
        let last_hidden_state = self.encoder.forward(self.embeddings.forward(input), bias);
        let first_token = last_hidden_state.clone().narrow(1, 0, 1).squeeze_dim(1);
        let pooler_output = self.pooler.forward(first_token).tanh();
        AlbertOutput { last_hidden_state, pooler_output }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::*;
    use crate::testing::{batch, distance, tiny, values};

    const SHORT: &[i64] = &[2, 11, 4, 3, 9, 3];
    const LONG: &[i64] = &[2, 7, 31, 49, 3, 12, 13, 14, 3];

    #[test]
    fn padding_changes_no_real_position() {
        let config = tiny();
        let model = AlbertModel::<Flex>::init(&config, 5, &Default::default());
        let alone = model.forward(&batch(&[SHORT], SHORT.len(), 0));
        for length in [9, 10, 16, 17, 32] {
            for filler in [0, 42] {
                let padded = model.forward(&batch(&[SHORT, LONG], length, filler));
                let real = padded.last_hidden_state.slice([0..1, 0..SHORT.len()]);
                assert!(distance(&values(real), &values(alone.last_hidden_state.clone())) < 2e-6);
                let pooled = padded.pooler_output.narrow(0, 0, 1);
                assert!(distance(&values(pooled), &values(alone.pooler_output.clone())) < 2e-6);
            }
        }
    }

    #[test]
    fn a_row_of_padding_gives_finite_outputs() {
        let model = AlbertModel::<Flex>::init(&tiny(), 5, &Default::default());
        let output = model.forward(&batch(&[&[], SHORT], 8, 0));
        assert!(values(output.last_hidden_state).iter().all(|x| x.is_finite()));
        assert!(values(output.pooler_output).iter().all(|x| x.is_finite()));
    }

    #[test]
    fn positions_segments_and_words_all_count() {
        let model = AlbertModel::<Flex>::init(&tiny(), 5, &Default::default());
        let input = batch::<Flex>(&[SHORT], SHORT.len(), 0);
        let output = |input: &AlbertInput<Flex>| values(model.forward(input).pooler_output);
        let reference = output(&input);

        let segments =
            AlbertInput { token_type_ids: input.token_type_ids.zeros_like(), ..input.clone() };
        let words = batch(&[&[2, 11, 4, 3, 8, 3]], SHORT.len(), 0);
        let positions = batch(&[&[2, 4, 11, 3, 9, 3]], SHORT.len(), 0);
        for changed in [segments, words, positions] {
            assert!(distance(&output(&changed), &reference) > 1e-3);
        }
    }

    #[test]
    fn layers_run_through_their_groups_and_inner_layers_in_order() {
        let config = AlbertConfig { inner_group_num: 2, ..tiny() };
        let model = AlbertModel::<Flex>::init(&config, 5, &Default::default());
        let input = batch(&[SHORT], SHORT.len(), 0);
        let bias =
            attention_bias(input.attention_mask.clone().equal_elem(0), config.num_attention_heads);
        let encoder = &model.encoder;
        let embeddings = model.embeddings.forward(&input).flatten::<2>(0, 1);
        let mut hidden = encoder.embedding_hidden_mapping_in.forward(embeddings);
        // Three layers over two groups: ⌊0 / 1.5⌋, ⌊1 / 1.5⌋, ⌊2 / 1.5⌋.
        for group in [0, 0, 1] {
            hidden = encoder.albert_layer_groups[group].forward(hidden, bias.clone());
        }
        let output = model.forward(&input).last_hidden_state.flatten::<2>(0, 1);
        assert_eq!(values(output), values(hidden));
        assert_eq!(encoder.albert_layer_groups[0].albert_layers.len(), 2);
    }

    #[test]
    #[should_panic]
    fn a_sequence_beyond_the_position_embeddings_panics() {
        let model = AlbertModel::<Flex>::init(&tiny(), 5, &Default::default());
        model.forward(&batch(&[SHORT], 33, 0));
    }
}
