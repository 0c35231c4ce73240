//! The encoder: embeddings, transformer layers and pooler, without a task's head.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::config::ModelConfig;
use crate::embeddings::Embeddings;
use crate::init;
use crate::input::EncoderInput;
use crate::kernels::Factors;
use crate::layer::{Layer, LayerGroup};
use crate::ops::{Outputs, Sequences, linear};

/// A transformer encoder: ALBERT, BERT or RoBERTa.
///
/// The layers come in groups, and layers of one group share their parameters. ALBERT has few groups, usually one, and
/// applies each several times; BERT and RoBERTa have a group for every layer. Only ALBERT projects the embeddings to
/// the hidden size. [`ModelType`](crate::ModelType) lists the other differences.
///
/// Sources: Lan et al., *ALBERT: A Lite BERT for Self-supervised Learning of Language Representations*,
/// <https://arxiv.org/abs/1909.11942>; Devlin et al., *BERT*, <https://arxiv.org/abs/1810.04805>; Liu et al., *RoBERTa*,
/// <https://arxiv.org/abs/1907.11692>.
#[derive(Module, Debug)]
pub struct Encoder<B: Backend> {
    /// From token ids to vectors.
    pub embeddings: Embeddings<B>,
    /// `[embedding_size, hidden_size]`; ALBERT's alone.
    pub embedding_projection: Option<Linear<B>>,
    /// The `num_hidden_groups` groups.
    pub layer_groups: Vec<LayerGroup<B>>,
    /// `[hidden_size, hidden_size]`, applied to the first token. RoBERTa's classifier does without.
    pub pooler: Option<Linear<B>>,
    /// The group each layer applies.
    #[module(skip)]
    group_of_layer: Vec<usize>,
    /// How the products of linear layers and attention round their factors.
    #[module(skip)]
    pub(crate) factors: Factors,
}

/// What [`Encoder`] computes of a batch.
#[derive(Clone, Debug)]
pub struct EncoderOutput<B: Backend> {
    /// Every token's last hidden state, `[batch, sequence, hidden_size]`.
    pub last_hidden_state: Tensor<B, 3>,
    /// tanh of the pooler's projection of the first token, `[batch, hidden_size]`; without a pooler, the first token's
    /// last hidden state.
    pub pooler_output: Tensor<B, 2>,
}

impl<B: Backend> Encoder<B> {
    /// An encoder whose parameters are initialized on first use, to be replaced by loaded ones.
    ///
    /// `config` must be [valid](ModelConfig::validate).
    pub fn new(config: &ModelConfig, device: &B::Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self {
            embeddings: Embeddings::new(config, device),
            embedding_projection: config
                .model_type
                .is_albert()
                .then(|| linear(config.embedding_size, config.hidden_size)),
            layer_groups: (0..config.num_hidden_groups)
                .map(|_| LayerGroup::new(config, device))
                .collect(),
            pooler: Some(linear(config.hidden_size, config.hidden_size)),
            group_of_layer: (0..config.num_hidden_layers)
                .map(|layer| config.group_of_layer(layer))
                .collect(),
            factors: Factors::AsGiven,
        }
    }

    /// An encoder with newly initialized parameters: weights normal with mean 0 and standard deviation `initializer_range`,
    /// biases zero, layer norms the identity, and the padding token's embeddings zero. The values depend on `seed`
    /// alone, not on the backend.
    ///
    /// `config` must be [valid](ModelConfig::validate).
    pub fn init(config: &ModelConfig, seed: u64, device: &B::Device) -> Self {
        init::draw(Self::new(config, device), config, seed, |_| true)
    }

    /// Encodes a batch. Padding does not change the output of any token.
    ///
    /// # Panics
    ///
    /// If the sequence is longer than the position embeddings reach; see
    /// [`ModelConfig::check_length`](ModelConfig::check_length). What an id beyond its embeddings does is up to the
    /// backend.
    pub fn forward(&self, input: &EncoderInput<B>) -> EncoderOutput<B> {
        let [batch, length] = input.input_ids.dims();
        let sequences = Sequences::all(&input.attention_mask, self.factors);
        let hidden = self.encode(input, &sequences, Outputs::All);
        let [_, hidden_size] = hidden.dims();
        EncoderOutput {
            pooler_output: self.pool(sequences.first(hidden.clone())),
            last_hidden_state: hidden.reshape([batch, length, hidden_size]),
        }
    }

    /// The `pooler_output` of [`forward`](Self::forward), without computing what it does not need: padding, and in the
    /// last layer all but the first token.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn pooled(&self, input: &EncoderInput<B>) -> Tensor<B, 2> {
        let sequences = Sequences::of_tokens(&input.attention_mask, self.factors);
        self.pool(self.encode(input, &sequences, Outputs::First))
    }

    /// [`forward`](Self::forward) without computing padding, whose last hidden state is zero: the hidden states as
    /// `[batch · sequence, hidden_size]`, and the pooled output.
    pub(crate) fn forward_tokens(&self, input: &EncoderInput<B>) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let sequences = Sequences::of_tokens(&input.attention_mask, self.factors);
        let hidden = self.encode(input, &sequences, Outputs::All);
        let pooled = self.pool(sequences.first(hidden.clone()));
        (sequences.layout.unpack(hidden), pooled)
    }

    /// One row per token, `[rows, hidden_size]`, or per sequence where only the first tokens are wanted: the last layer
    /// then computes no other.
    ///
    /// The tokens of a batch are the rows of one matrix, so that a linear layer is a single matrix product, and its
    /// weight's gradient as well.
    fn encode(
        &self,
        input: &EncoderInput<B>,
        sequences: &Sequences<B>,
        outputs: Outputs,
    ) -> Tensor<B, 2> {
        let embeddings = self.embeddings.forward(input, &sequences.layout);
        // A group's keys and values are joined once, however often the group is applied.
        let key_values: Vec<Vec<_>> = self
            .layer_groups
            .iter()
            .map(|group| group.layers.iter().map(|layer| layer.attention.key_value()).collect())
            .collect();
        let layers: Vec<(&Layer<B>, _)> = self
            .group_of_layer
            .iter()
            .flat_map(|&group| self.layer_groups[group].layers.iter().zip(&key_values[group]))
            .collect();
        let hidden = match &self.embedding_projection {
            Some(projection) => linear(projection, embeddings, sequences.factors),
            None => embeddings,
        };
        let Some(((last, last_key_value), before)) = layers.split_last() else { return hidden };
        let hidden = before.iter().fold(hidden, |hidden, (layer, key_value)| {
            layer.forward(hidden, key_value, sequences, Outputs::All)
        });
        last.forward(hidden, last_key_value, sequences, outputs)
    }

    fn pool(&self, first_tokens: Tensor<B, 2>) -> Tensor<B, 2> {
        match &self.pooler {
            Some(pooler) => linear(pooler, first_tokens, self.factors).tanh(),
            None => first_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::Int;

    use super::*;
    use crate::testing::{Train, batch, distance, tiny, tiny_bert, tiny_roberta, values};

    const SHORT: &[i64] = &[2, 11, 4, 3, 9, 3];
    const LONG: &[i64] = &[2, 7, 31, 49, 3, 12, 13, 14, 3];

    #[test]
    fn padding_changes_no_real_position() {
        for config in [tiny(), tiny_bert(), tiny_roberta()] {
            let model = Encoder::<Flex>::init(&config, 5, &Default::default());
            let alone = model.forward(&batch(&[SHORT], SHORT.len(), 0));
            for length in [9, 10, 16, 17, config.max_length()] {
                for filler in [0, 42] {
                    let padded = model.forward(&batch(&[SHORT, LONG], length, filler));
                    let real = padded.last_hidden_state.slice([0..1, 0..SHORT.len()]);
                    assert!(
                        distance(&values(real), &values(alone.last_hidden_state.clone())) < 2e-6
                    );
                    let pooled = padded.pooler_output.narrow(0, 0, 1);
                    assert!(distance(&values(pooled), &values(alone.pooler_output.clone())) < 2e-6);
                }
            }
        }
    }

    #[test]
    fn the_pooled_output_alone_is_the_same_with_the_same_gradients() {
        for config in [tiny(), tiny_bert(), tiny_roberta()] {
            let model = Encoder::<Train>::init(&config, 5, &Default::default());
            let mut input = batch(&[SHORT, LONG, &[]], 12, 7);
            // Tokens that a mask hides in the middle and at the start.
            let hidden =
                Tensor::<Train, 2, Int>::from_ints([[0, 1], [1, 0], [0, 0]], &Default::default());
            input.attention_mask = input.attention_mask.slice_assign([0..3, 0..2], hidden);
            let results =
                [model.pooled(&input), model.forward(&input).pooler_output].map(|pooled| {
                    let grads = pooled.clone().powf_scalar(3.0).sum().backward();
                    let layer = &model.layer_groups[0].layers[0];
                    let parameters = [
                        &model.embeddings.word_embeddings.weight,
                        &model.embeddings.position_embeddings.weight,
                        &layer.ffn.weight,
                        &layer.attention.query.weight,
                        &layer.attention.value.weight,
                    ];
                    let mut results = vec![values(pooled)];
                    results.extend(parameters.map(|p| values(p.val().grad(&grads).unwrap())));
                    results
                });
            for (alone, full) in results[0].iter().zip(&results[1]) {
                let scale = full.iter().fold(1.0, |largest: f32, x| largest.max(x.abs()));
                assert!(distance(alone, full) < 5e-6 * scale, "{} {scale}", distance(alone, full));
            }
        }
    }

    #[test]
    fn a_row_of_padding_gives_finite_outputs() {
        let model = Encoder::<Flex>::init(&tiny(), 5, &Default::default());
        let output = model.forward(&batch(&[&[], SHORT], 8, 0));
        assert!(values(output.last_hidden_state).iter().all(|x| x.is_finite()));
        assert!(values(output.pooler_output).iter().all(|x| x.is_finite()));
    }

    #[test]
    fn positions_segments_and_words_all_count() {
        let model = Encoder::<Flex>::init(&tiny(), 5, &Default::default());
        let input = batch::<Flex>(&[SHORT], SHORT.len(), 0);
        let output = |input: &EncoderInput<Flex>| values(model.forward(input).pooler_output);
        let reference = output(&input);

        let segments =
            EncoderInput { token_type_ids: input.token_type_ids.zeros_like(), ..input.clone() };
        let words = batch(&[&[2, 11, 4, 3, 8, 3]], SHORT.len(), 0);
        let positions = batch(&[&[2, 4, 11, 3, 9, 3]], SHORT.len(), 0);
        for changed in [segments, words, positions] {
            assert!(distance(&output(&changed), &reference) > 1e-3);
        }
    }

    #[test]
    fn layers_run_through_their_groups_and_inner_layers_in_order() {
        let config = ModelConfig { inner_group_num: 2, ..tiny() };
        let model = Encoder::<Flex>::init(&config, 5, &Default::default());
        let input = batch(&[SHORT], SHORT.len(), 0);
        let sequences = Sequences::all(&input.attention_mask, Factors::AsGiven);
        let embeddings = model.embeddings.forward(&input, &sequences.layout);
        let mut hidden =
            linear(model.embedding_projection.as_ref().unwrap(), embeddings, Factors::AsGiven);
        // Three layers over two groups: ⌊0 / 1.5⌋, ⌊1 / 1.5⌋, ⌊2 / 1.5⌋.
        for group in [0, 0, 1] {
            for layer in &model.layer_groups[group].layers {
                let key_value = layer.attention.key_value();
                hidden = layer.forward(hidden, &key_value, &sequences, Outputs::All);
            }
        }
        let output = model.forward(&input).last_hidden_state.flatten::<2>(0, 1);
        assert_eq!(values(output), values(hidden));
        assert_eq!(model.layer_groups[0].layers.len(), 2);
    }

    #[test]
    #[should_panic]
    fn a_sequence_beyond_the_position_embeddings_panics() {
        let model = Encoder::<Flex>::init(&tiny(), 5, &Default::default());
        model.forward(&batch(&[SHORT], 33, 0));
    }
}
