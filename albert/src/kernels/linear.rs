//! The affine map of a linear layer.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

#[cfg(feature = "flex")]
use crate::kernels::flex;

/// x·W + b: `x` is `[rows, in]`, `weight` `[in, out]`, `bias` `[out]`; the result is `[rows, out]`.
pub fn linear<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Tensor<B, 1>,
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if flex::is_flex(&x) {
        return flex::linear(x, weight, bias);
    }
    definition(x, weight, bias)
}

pub(super) fn definition<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Tensor<B, 1>,
) -> Tensor<B, 2> {
    x.matmul(weight) + bias.unsqueeze()
}
