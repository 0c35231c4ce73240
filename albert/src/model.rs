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
use crate::ops::{Outputs, Sequences, linear};

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
        let [batch, length] = input.input_ids.dims();
        let sequences = Sequences::all(&input.attention_mask);
        let hidden = self.encode(input, &sequences, Outputs::All);
        let [_, hidden_size] = hidden.dims();
        AlbertOutput {
            pooler_output: self.pool(sequences.first(hidden.clone())),
            last_hidden_state: hidden.reshape([batch, length, hidden_size]),
        }
    }

    /// [`forward`](Self::forward) for the pooled output alone, without computing what it does not need: padding, and in
    /// the last layer all but the first token.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn pooled(&self, input: &AlbertInput<B>) -> Tensor<B, 2> {
        let sequences = Sequences::of_tokens(&input.attention_mask);
        self.pool(self.encode(input, &sequences, Outputs::First))
    }

    /// [`forward`](Self::forward) without computing padding, whose last hidden state is zero: every place's, as
    /// `[batch · sequence, hidden_size]`, and the pooled output.
    pub(crate) fn forward_tokens(&self, input: &AlbertInput<B>) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let sequences = Sequences::of_tokens(&input.attention_mask);
        let hidden = self.encode(input, &sequences, Outputs::All);
        let pooled = self.pool(sequences.first(hidden.clone()));
        (sequences.layout.unpack(hidden), pooled)
    }

    fn encode(
        &self,
        input: &AlbertInput<B>,
        sequences: &Sequences<B>,
        outputs: Outputs,
    ) -> Tensor<B, 2> {
        let embeddings = self.embeddings.forward(input, &sequences.layout);
        self.encoder.forward(embeddings, sequences, outputs)
    }

    fn pool(&self, first_tokens: Tensor<B, 2>) -> Tensor<B, 2> {
        linear(&self.pooler, first_tokens).tanh()
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::Int;

    use super::*;
    use crate::testing::{Train, batch, distance, tiny, values};

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
    fn the_pooled_output_alone_is_the_same_with_the_same_gradients() {
        let model = AlbertModel::<Train>::init(&tiny(), 5, &Default::default());
        let mut input = batch(&[SHORT, LONG, &[]], 12, 7);
        // Tokens that a mask hides in the middle and at the start.
        let hidden =
            Tensor::<Train, 2, Int>::from_ints([[0, 1], [1, 0], [0, 0]], &Default::default());
        input.attention_mask = input.attention_mask.slice_assign([0..3, 0..2], hidden);
        let results = [model.pooled(&input), model.forward(&input).pooler_output].map(|pooled| {
            let grads = pooled.clone().powf_scalar(3.0).sum().backward();
            let layer = &model.encoder.albert_layer_groups[0].albert_layers[0];
            let parameters = [
                &model.embeddings.word_embeddings.weight,
                &model.embeddings.position_embeddings.weight,
                &layer.ffn.weight,
                &layer.attention.query.weight,
                &layer.attention.value.weight,
            ];
            let mut numbers = vec![values(pooled)];
            numbers.extend(parameters.map(|p| values(p.val().grad(&grads).unwrap())));
            numbers
        });
        for (alone, full) in results[0].iter().zip(&results[1]) {
            let scale = full.iter().fold(1.0, |largest: f32, x| largest.max(x.abs()));
            assert!(distance(alone, full) < 5e-6 * scale, "{} {scale}", distance(alone, full));
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
        let sequences = Sequences::all(&input.attention_mask);
        let encoder = &model.encoder;
        let embeddings = model.embeddings.forward(&input, &sequences.layout);
        let mut hidden = linear(&encoder.embedding_hidden_mapping_in, embeddings);
        // Three layers over two groups: ⌊0 / 1.5⌋, ⌊1 / 1.5⌋, ⌊2 / 1.5⌋.
        for group in [0, 0, 1] {
            for layer in &encoder.albert_layer_groups[group].albert_layers {
                let key_value = layer.attention.key_value();
                hidden = layer.forward(hidden, &key_value, &sequences, Outputs::All);
            }
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
