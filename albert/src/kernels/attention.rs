//! Scaled dot-product attention with several heads.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, activation};

#[cfg(feature = "flex")]
use crate::kernels::flex;
use crate::kernels::product::product;
use crate::kernels::{Factors, TokenLayout, dropout};

/// What attention takes besides queries, keys and values. None of it gets a gradient.
#[derive(Clone, Debug)]
pub struct AttentionOptions<B: Backend> {
    /// The number of heads h; a head is `width / h` wide.
    pub heads: usize,
    /// Added to every query's score of a key: `[batch, keys]`.
    ///
    /// A key is masked by a bias far below every score, but finite, so that a sequence without any key yields equal
    /// probabilities.
    pub bias: Tensor<B, 2>,
    /// The probability of dropout for each of the softmax's results.
    pub dropout: f64,
    /// How the factors of both products are rounded.
    pub factors: Factors,
}

/// dropout(softmax(Q·Kᵀ/√d + bias))·V for each sequence and each head of width d.
///
/// `query` is `[rows of queries, width]`, `key_value` is `[rows of keys, 2 · width]`, the keys left of the values; the
/// result has a row for each query. `queries` and `keys` are their layouts, of the same batch size.
///
/// Source: Vaswani et al., [arXiv 1706.03762](https://arxiv.org/abs/1706.03762).
pub fn attention<B: Backend>(
    query: Tensor<B, 2>,
    key_value: Tensor<B, 2>,
    queries: &TokenLayout,
    keys: &TokenLayout,
    options: AttentionOptions<B>,
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if flex::is_flex(&query) {
        return flex::attention(query, key_value, queries, keys, options);
    }
    let probability = options.dropout;
    definition(query, key_value, queries, keys, options, |x| dropout(x, probability))
}

#[expect(clippy::disallowed_methods, reason = "every view is only read: by a product or by a copy")]
pub(super) fn definition<B: Backend>(
    query: Tensor<B, 2>,
    key_value: Tensor<B, 2>,
    queries: &TokenLayout,
    keys: &TokenLayout,
    AttentionOptions { heads, bias, dropout: _, factors }: AttentionOptions<B>,
    dropout: impl FnOnce(Tensor<B, 4>) -> Tensor<B, 4>,
) -> Tensor<B, 2> {
    let [_, width] = query.dims();
    let size = width / heads;
    let split_heads = |x: Tensor<B, 2>, layout: &TokenLayout| {
        let shape = [layout.batch(), layout.length(), heads, size];
        layout.unpack(x).reshape(shape).swap_dims(1, 2)
    };
    let key = split_heads(key_value.clone().narrow(1, 0, width), keys);
    let value = split_heads(key_value.narrow(1, width, width), keys);
    let query = split_heads(factors.round(query) / (size as f64).sqrt(), queries);
    let scores = product(query, factors.round(key).transpose());
    // The sums of the softmax need more than 16 bits.
    let precision = scores.dtype();
    let is_16_bit = matches!(precision, DType::BF16 | DType::F16);
    let scores = if is_16_bit { scores.cast(DType::F32) } else { scores };
    let probabilities = dropout(activation::softmax(scores + bias.unsqueeze_dims(&[1, 1]), 3));
    let probabilities = if is_16_bit { probabilities.cast(precision) } else { probabilities };
    let context = product(factors.round(probabilities), factors.round(value)).swap_dims(1, 2);
    queries.pack(context.reshape([queries.batch() * queries.length(), width]))
}
