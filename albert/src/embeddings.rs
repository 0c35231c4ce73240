//! From token ids to vectors.

use crate::kernels::TokenLayout;
use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

use crate::config::AlbertConfig;
use crate::input::AlbertInput;
use crate::ops::add_layer_norm;

/// Word, segment and position embeddings, summed, normalised and dropped out.
#[derive(Module, Debug)]
pub struct AlbertEmbeddings<B: Backend> {
    /// `[vocab_size, embedding_size]`
    pub word_embeddings: Embedding<B>,
    /// `[max_position_embeddings, embedding_size]`
    pub position_embeddings: Embedding<B>,
    /// `[type_vocab_size, embedding_size]`
    pub token_type_embeddings: Embedding<B>,
    /// Over `embedding_size`.
    pub layer_norm: LayerNorm<B>,
    dropout: Dropout,
    pad_token_id: Option<usize>,
    layer_norm_eps: f64,
}

impl<B: Backend> AlbertEmbeddings<B> {
    pub(crate) fn new(config: &AlbertConfig, device: &B::Device) -> Self {
        let embedding = |count| EmbeddingConfig::new(count, config.embedding_size).init(device);
        Self {
            word_embeddings: embedding(config.vocab_size),
            position_embeddings: embedding(config.max_position_embeddings),
            token_type_embeddings: embedding(config.type_vocab_size),
            layer_norm: LayerNormConfig::new(config.embedding_size)
                .with_epsilon(config.layer_norm_eps)
                .init(device),
            dropout: DropoutConfig::new(config.hidden_dropout_prob).init(),
            pad_token_id: config.pad_token_id,
            layer_norm_eps: config.layer_norm_eps,
        }
    }

    /// The embedding of every token that has a row, `[rows, embedding_size]`.
    pub(crate) fn forward(&self, input: &AlbertInput<B>, layout: &TokenLayout) -> Tensor<B, 2> {
        let device = input.input_ids.device();
        let row = |ids: &Tensor<B, 2, Int>| -> Tensor<B, 2, Int> {
            let ids = ids.clone().flatten::<1>(0, 1);
            match layout.indices(&device) {
                Some(indices) => ids.select(0, indices).unsqueeze(),
                None => ids.unsqueeze(),
            }
        };
        let positions: Vec<i64> =
            layout.positions().into_iter().map(|position| position as i64).collect();
        let positions = Tensor::<B, 1, Int>::from_data(positions.as_slice(), &device).unsqueeze();
        let words = self.embed_words(row(&input.input_ids));
        let segments = self.token_type_embeddings.forward(row(&input.token_type_ids));
        let positions = self.position_embeddings.forward(positions);
        let normal =
            add_layer_norm(&self.layer_norm, self.layer_norm_eps, words + segments, positions);
        self.dropout.forward(normal.squeeze_dim(0))
    }

    /// Looks the words up. The padding token's embedding gets no gradient, even where the attention mask counts it as a
    /// token.
    fn embed_words(&self, input_ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let words = self.word_embeddings.forward(input_ids.clone());
        match self.pad_token_id {
            Some(pad) if B::ad_enabled(&words.device()) => {
                let padding =
                    input_ids.equal_elem(pad as i64).unsqueeze_dim::<3>(2).expand(words.dims());
                words.clone().mask_where(padding, words.detach())
            }
            _ => words,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::AlbertModel;
    use crate::testing::{Train, batch, tiny, values};

    #[test]
    fn the_padding_token_gets_no_gradient_even_where_it_counts_as_a_token() {
        let config = tiny();
        let model = AlbertModel::<Train>::init(&config, 1, &Default::default());
        let grads = model.forward(&batch(&[&[2, 0, 7, 3]], 4, 0)).pooler_output.sum().backward();
        let weight = model.embeddings.word_embeddings.weight.val();
        let gradient = values(weight.grad(&grads).unwrap());
        let row =
            |id: usize| &gradient[id * config.embedding_size..(id + 1) * config.embedding_size];
        assert!(row(0).iter().all(|&g| g == 0.0));
        assert!(row(7).iter().any(|&g| g != 0.0));
        assert!(row(8).iter().all(|&g| g == 0.0));
    }
}
