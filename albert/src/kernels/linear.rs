//! The affine map of a linear layer.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::Factors;
#[cfg(feature = "flex")]
use crate::kernels::flex;

/// x·W + b, with x and W rounded to `factors`: `x` is `[rows, in]`, `weight` `[in, out]`, `bias` `[out]`; the result is
/// `[rows, out]`.
pub fn linear<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Tensor<B, 1>,
    factors: Factors,
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if flex::is_flex(&x) {
        return flex::linear(x, weight, bias, factors);
    }
    definition(x, weight, bias, factors)
}

pub(super) fn definition<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Tensor<B, 1>,
    factors: Factors,
) -> Tensor<B, 2> {
    factors.round(x).matmul(factors.round(weight)) + bias.unsqueeze()
}
