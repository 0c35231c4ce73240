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
    let [y] = linear_maps(x, [(weight, bias)], factors);
    y
}

/// [`linear`] of the same x with each W and b. On flex, x is kept once for the backward pass of all.
pub fn linear_maps<B: Backend, const N: usize>(
    x: Tensor<B, 2>,
    maps: [(Tensor<B, 2>, Tensor<B, 1>); N],
    factors: Factors,
) -> [Tensor<B, 2>; N] {
    #[cfg(feature = "flex")]
    if flex::is_flex(&x) {
        return flex::linear_maps(x, maps, factors);
    }
    maps.map(|(weight, bias)| definition(x.clone(), weight, bias, factors))
}

pub(super) fn definition<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Tensor<B, 1>,
    factors: Factors,
) -> Tensor<B, 2> {
    factors.round(x).matmul(factors.round(weight)) + bias.unsqueeze()
}
