//! From token ids to vectors.

use crate::kernels::{TokenLayout, dropout};
use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

use crate::config::ModelConfig;
use crate::input::EncoderInput;
use crate::ops::add_layer_norm;

/// dropout(layer_norm(word + segment + position)), the sum of three embeddings.
#[derive(Module, Debug)]
pub struct Embeddings<B: Backend> {
    /// `[vocab_size, embedding_size]`
    pub word_embeddings: Embedding<B>,
    /// `[max_position_embeddings, embedding_size]`
    pub position_embeddings: Embedding<B>,
    /// `[type_vocab_size, embedding_size]`
    pub token_type_embeddings: Embedding<B>,
    /// Over `embedding_size`.
    pub layer_norm: LayerNorm<B>,
    dropout: f64,
    pad_token_id: Option<usize>,
    /// RoBERTa's position of padding, from which the tokens' positions count.
    position_padding: Option<usize>,
    layer_norm_eps: f64,
}

impl<B: Backend> Embeddings<B> {
    pub(crate) fn new(config: &ModelConfig, device: &B::Device) -> Self {
        let embedding = |count| EmbeddingConfig::new(count, config.embedding_size).init(device);
        Self {
            word_embeddings: embedding(config.vocab_size),
            position_embeddings: embedding(config.max_position_embeddings),
            token_type_embeddings: embedding(config.type_vocab_size),
            layer_norm: LayerNormConfig::new(config.embedding_size)
                .with_epsilon(config.layer_norm_eps)
                .init(device),
            dropout: config.hidden_dropout_prob,
            pad_token_id: config.pad_token_id,
            position_padding: config.position_padding(),
            layer_norm_eps: config.layer_norm_eps,
        }
    }

    /// The embedding of every token that has a row, `[rows, embedding_size]`.
    pub(crate) fn forward(&self, input: &EncoderInput<B>, layout: &TokenLayout) -> Tensor<B, 2> {
        let device = input.input_ids.device();
        let row = |ids: &Tensor<B, 2, Int>| -> Tensor<B, 2, Int> {
            let ids = ids.clone().flatten::<1>(0, 1);
            match layout.indices(&device) {
                Some(indices) => ids.select(0, indices).unsqueeze(),
                None => ids.unsqueeze(),
            }
        };
        let positions = match self.position_padding {
            Some(padding) => row(&position_ids(&input.input_ids, padding)),
            None => {
                let positions: Vec<i64> =
                    layout.positions().into_iter().map(|position| position as i64).collect();
                Tensor::<B, 1, Int>::from_data(positions.as_slice(), &device).unsqueeze()
            }
        };
        let segments = match self.token_type_embeddings.weight.dims() {
            [1, _] => positions.zeros_like(),
            _ => row(&input.token_type_ids),
        };
        let words = embed(&self.word_embeddings, row(&input.input_ids), self.pad_token_id);
        let segments = self.token_type_embeddings.forward(segments);
        let positions = embed(&self.position_embeddings, positions, self.position_padding);
        let normal =
            add_layer_norm(&self.layer_norm, self.layer_norm_eps, words + segments, positions);
        dropout(normal.squeeze_dim(0), self.dropout)
    }
}

/// RoBERTa's positions `[batch, sequence]`: `padding` + 1 for a sequence's first token, `padding` + 2 for the second and
/// so on, and `padding` for every token with this id.
fn position_ids<B: Backend>(input_ids: &Tensor<B, 2, Int>, padding: usize) -> Tensor<B, 2, Int> {
    let is_token = input_ids.clone().not_equal_elem(padding as i64).int();
    is_token.clone().cumsum(1) * is_token + padding as i64
}

/// Looks `ids` up. The embedding of `padding` gets no gradient, even where the attention mask counts it as a token.
fn embed<B: Backend>(
    embedding: &Embedding<B>,
    ids: Tensor<B, 2, Int>,
    padding: Option<usize>,
) -> Tensor<B, 3> {
    let vectors = embedding.forward(ids.clone());
    match padding {
        Some(padding) if B::ad_enabled(&vectors.device()) => {
            let is_padding =
                ids.equal_elem(padding as i64).unsqueeze_dim::<3>(2).expand(vectors.dims());
            vectors.clone().mask_where(is_padding, vectors.detach())
        }
        _ => vectors,
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::{Int, Tensor};

    use super::position_ids;
    use crate::encoder::Encoder;
    use crate::testing::{Train, batch, tiny, tiny_roberta, values};

    #[test]
    fn the_padding_token_gets_no_gradient_even_where_it_counts_as_a_token() {
        let config = tiny();
        let model = Encoder::<Train>::init(&config, 1, &Default::default());
        let grads = model.forward(&batch(&[&[2, 0, 7, 3]], 4, 0)).pooler_output.sum().backward();
        let weight = model.embeddings.word_embeddings.weight.val();
        let gradient = values(weight.grad(&grads).unwrap());
        let row =
            |id: usize| &gradient[id * config.embedding_size..(id + 1) * config.embedding_size];
        assert!(row(0).iter().all(|&g| g == 0.0));
        assert!(row(7).iter().any(|&g| g != 0.0));
        assert!(row(8).iter().all(|&g| g == 0.0));
    }

    #[test]
    fn robertas_positions_count_tokens_and_leave_padding_out() {
        // transformers: RobertaEmbeddings.create_position_ids_from_input_ids(ids, padding_idx=1)
        let device = Default::default();
        let ids = Tensor::<Flex, 2, Int>::from_ints([[0, 7, 2, 1, 1], [1, 0, 1, 9, 2]], &device);
        let positions: Vec<i64> = position_ids(&ids, 1).into_data().iter().collect();
        assert_eq!(positions, [2, 3, 4, 1, 1, 1, 2, 1, 3, 4]);
    }

    #[test]
    fn robertas_padding_position_gets_no_gradient_and_tokens_after_padding_move_up() {
        let config = tiny_roberta();
        let model = Encoder::<Train>::init(&config, 1, &Default::default());
        // The padding token in the middle has a mask of 1.
        let input = batch(&[&[0, 9, 1, 7, 2]], 5, 1);
        let output = model.forward(&input);
        let grads = output.pooler_output.sum().backward();
        let gradient = model.embeddings.position_embeddings.weight.val().grad(&grads).unwrap();
        let moved: Vec<bool> =
            values(gradient).chunks(config.hidden_size).map(|row| row != [0.0; 12]).collect();
        assert_eq!(moved[..7], [false, false, true, true, true, true, false]);
    }

    #[test]
    fn a_single_segment_ignores_token_type_ids() {
        let model = Encoder::<Flex>::init(&tiny_roberta(), 1, &Default::default());
        let mut input = batch(&[&[0, 9, 7, 2]], 4, 1);
        let segments = values(model.forward(&input).pooler_output);
        input.token_type_ids = input.token_type_ids.zeros_like();
        assert_eq!(values(model.forward(&input).pooler_output), segments);
    }
}
