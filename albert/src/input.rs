//! What a model reads.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

/// A batch of token sequences, padded to one length.
///
/// Every tensor has the shape `[batch, sequence]`, the sequence no longer than `max_position_embeddings`
/// (see [`AlbertConfig::check_length`](crate::AlbertConfig::check_length)).
#[derive(Clone, Debug)]
pub struct AlbertInput<B: Backend> {
    /// Token ids, each below `vocab_size`.
    pub input_ids: Tensor<B, 2, Int>,
    /// 1 where a token stands, 0 where there is only padding.
    pub attention_mask: Tensor<B, 2, Int>,
    /// Segment ids, each below `type_vocab_size`: 0 for the first sentence, 1 for the second.
    pub token_type_ids: Tensor<B, 2, Int>,
}
