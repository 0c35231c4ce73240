//! ALBERT with the two heads of its pre-training.

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

use crate::config::{HiddenAct, ModelConfig};
use crate::encoder::Encoder;
use crate::init;
use crate::input::EncoderInput;
use crate::kernels::Factors;
use crate::ops::{activate, linear};

/// ALBERT with the heads for masked language modelling and sentence order prediction. The other types have none.
#[derive(Module, Debug)]
pub struct AlbertForPreTraining<B: Backend> {
    /// The part that fine-tuning starts from.
    pub encoder: Encoder<B>,
    /// Predicts masked words.
    pub predictions: AlbertMlmHead<B>,
    /// Predicts whether the two segments are in their original order.
    pub sop_classifier: AlbertSopHead<B>,
}

/// What [`AlbertForPreTraining`] computes of a batch.
#[derive(Clone, Debug)]
pub struct AlbertForPreTrainingOutput<B: Backend> {
    /// Logits of the vocabulary, `[batch, sequence, vocab_size]`.
    pub prediction_logits: Tensor<B, 3>,
    /// Logits of the original and of the swapped order, `[batch, 2]`.
    pub sop_logits: Tensor<B, 2>,
}

impl<B: Backend> AlbertForPreTraining<B> {
    /// A model whose parameters are initialized on first use, to be replaced by loaded ones.
    ///
    /// `config` must be [valid](ModelConfig::validate). As in Hugging Face's model, the sentence order head has
    /// [`num_labels`](ModelConfig::num_labels) outputs, 2 in every published configuration.
    pub fn new(config: &ModelConfig, device: &B::Device) -> Self {
        Self {
            encoder: Encoder::new(config, device),
            predictions: AlbertMlmHead::new(config, device),
            sop_classifier: AlbertSopHead {
                classifier: LinearConfig::new(config.hidden_size, config.num_labels()).init(device),
                dropout: DropoutConfig::new(config.classifier_dropout()).init(),
            },
        }
    }

    /// A model with freshly drawn parameters; see [`Encoder::init`].
    pub fn init(config: &ModelConfig, seed: u64, device: &B::Device) -> Self {
        init::draw(Self::new(config, device), config, seed, |_| true)
    }

    /// The logits of a batch.
    ///
    /// # Panics
    ///
    /// As [`Encoder::forward`].
    pub fn forward(&self, input: &EncoderInput<B>) -> AlbertForPreTrainingOutput<B> {
        let [batch, length] = input.input_ids.dims();
        let output = self.encoder.forward(input);
        let scores = self.prediction_logits(output.last_hidden_state.flatten(0, 1));
        let [_, vocab_size] = scores.dims();
        AlbertForPreTrainingOutput {
            prediction_logits: scores.reshape([batch, length, vocab_size]),
            sop_logits: self.sop_classifier.forward(output.pooler_output),
        }
    }

    /// The logits of the vocabulary at some positions only, `[n, vocab_size]`, and of the sentence order, `[batch, 2]`.
    /// Training needs the masked positions alone, a seventh of the work.
    ///
    /// `positions` `[n]` are indices into the flattened batch: position `j` of row `i` is `i · sequence + j`. Padding is
    /// not computed, so that the logits there are meaningless.
    ///
    /// # Panics
    ///
    /// As [`Encoder::forward`], or if a position is not in the batch.
    pub fn forward_at(
        &self,
        input: &EncoderInput<B>,
        positions: Tensor<B, 1, Int>,
    ) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let (hidden, pooled) = self.encoder.forward_tokens(input);
        let scores = self.prediction_logits(hidden.select(0, positions));
        (scores, self.sop_classifier.forward(pooled))
    }

    fn prediction_logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let word_embeddings = self.encoder.embeddings.word_embeddings.weight.val();
        self.predictions.forward(hidden, word_embeddings)
    }
}

/// The masked language modelling head: layer_norm(act(dense(h)))·Eᵀ + bias, where E are the word embeddings.
#[derive(Module, Debug)]
pub struct AlbertMlmHead<B: Backend> {
    /// Over `embedding_size`.
    pub layer_norm: LayerNorm<B>,
    /// `[vocab_size]`
    pub bias: Param<Tensor<B, 1>>,
    /// `[hidden_size, embedding_size]`
    pub dense: Linear<B>,
    #[module(skip)]
    hidden_act: HiddenAct,
}

impl<B: Backend> AlbertMlmHead<B> {
    fn new(config: &ModelConfig, device: &B::Device) -> Self {
        Self {
            layer_norm: LayerNormConfig::new(config.embedding_size)
                .with_epsilon(config.layer_norm_eps)
                .init(device),
            bias: burn::module::Initializer::Zeros.init([config.vocab_size], device),
            dense: LinearConfig::new(config.hidden_size, config.embedding_size).init(device),
            hidden_act: config.hidden_act,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the product only reads the view")]
    fn forward(&self, hidden: Tensor<B, 2>, word_embeddings: Tensor<B, 2>) -> Tensor<B, 2> {
        let hidden = linear(&self.dense, hidden, Factors::AsGiven);
        let hidden = activate(self.hidden_act, hidden, Factors::AsGiven);
        let scores = self.layer_norm.forward(hidden).matmul(word_embeddings.transpose());
        scores + self.bias.val().unsqueeze()
    }
}

/// The sentence order head: a linear classifier over the pooled first token, after dropout.
#[derive(Module, Debug)]
pub struct AlbertSopHead<B: Backend> {
    /// `[hidden_size, 2]`
    pub classifier: Linear<B>,
    dropout: Dropout,
}

impl<B: Backend> AlbertSopHead<B> {
    fn forward(&self, pooled: Tensor<B, 2>) -> Tensor<B, 2> {
        self.classifier.forward(self.dropout.forward(pooled))
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::*;
    use crate::testing::{Train, batch, distance, tiny, values};

    const TOKENS: &[i64] = &[2, 11, 4, 3, 9, 3];

    #[test]
    fn outputs_have_their_shapes_and_the_bias_is_added() {
        let config = tiny();
        let mut model = AlbertForPreTraining::<Flex>::init(&config, 3, &Default::default());
        let input = batch(&[TOKENS, TOKENS], 8, 0);
        let before = model.forward(&input);
        assert_eq!(before.prediction_logits.dims(), [2, 8, config.vocab_size]);
        assert_eq!(before.sop_logits.dims(), [2, 2]);

        model.predictions.bias = model.predictions.bias.map(|bias| bias + 1.0);
        let after = model.forward(&input).prediction_logits;
        assert!(distance(&values(after), &values(before.prediction_logits + 1.0)) < 1e-5);
    }

    #[test]
    fn some_positions_score_as_among_all() {
        let model = AlbertForPreTraining::<Flex>::init(&tiny(), 3, &Default::default());
        let input = batch(&[TOKENS, TOKENS], 8, 0);
        let all: Tensor<Flex, 2> = model.forward(&input).prediction_logits.flatten(0, 1);
        let positions = Tensor::from_ints([1, 8 + 4], &Default::default());
        let (some, sop_logits) = model.forward_at(&input, positions.clone());
        assert!(distance(&values(some), &values(all.select(0, positions))) < 1e-6);
        assert_eq!(values(sop_logits), values(model.forward(&input).sop_logits));
    }

    #[test]
    fn the_decoder_is_the_word_embeddings() {
        let model = AlbertForPreTraining::<Train>::init(&tiny(), 3, &Default::default());
        let grads = model.forward(&batch(&[TOKENS], 6, 0)).prediction_logits.sum().backward();
        let gradient =
            values(model.encoder.embeddings.word_embeddings.weight.val().grad(&grads).unwrap());
        // Token 40 is not in the batch: its row is reached through the decoder alone.
        assert!(gradient[40 * 6..41 * 6].iter().any(|&g| g != 0.0));
    }
}
