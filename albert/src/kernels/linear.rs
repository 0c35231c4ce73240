//! The affine map of a linear layer.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::Factors;
#[cfg(feature = "flex")]
use crate::kernels::flex;
use crate::kernels::product::product;

/// x·W + b for each W and b, with x and W rounded to `factors`: `x` is `[rows, in]`, each `weight` `[in, out]` and `bias`
/// `[out]`; a result is `[rows, out]`. On flex, x is kept once for the backward pass of all.
pub fn linear<B: Backend, const N: usize>(
    x: Tensor<B, 2>,
    maps: [(Tensor<B, 2>, Tensor<B, 1>); N],
    factors: Factors,
) -> [Tensor<B, 2>; N] {
    #[cfg(feature = "flex")]
    if flex::is_flex(&x) {
        return flex::linear(x, maps, factors);
    }
    maps.map(|(weight, bias)| definition(x.clone(), weight, bias, factors))
}

pub(super) fn definition<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Tensor<B, 1>,
    factors: Factors,
) -> Tensor<B, 2> {
    product(factors.round(x), factors.round(weight)) + bias.unsqueeze()
}
