//! A batch of token ids.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

/// A batch of token sequences, padded to one length.
///
/// Every tensor has the shape `[batch, sequence]`, the sequence no longer than
/// [`ModelConfig::max_length`](crate::ModelConfig::max_length).
#[derive(Clone, Debug)]
pub struct EncoderInput<B: Backend> {
    /// Token ids, each below `vocab_size`.
    pub input_ids: Tensor<B, 2, Int>,
    /// 1 for a token, 0 for padding.
    pub attention_mask: Tensor<B, 2, Int>,
    /// Segment ids, each below `type_vocab_size`: 0 for the first sentence, 1 for the second. Ignored by a model with a
    /// single segment, such as RoBERTa.
    pub token_type_ids: Tensor<B, 2, Int>,
}
