//! Layer normalization of a residual sum.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

#[cfg(feature = "flex")]
use crate::kernels::flex;

/// (s − mean s)/√(var s + ε)·γ + β with s = x + residual, over the last dimension; the variance divides by the width.
///
/// Source: Ba, Kiros & Hinton, [arXiv 1607.06450](https://arxiv.org/abs/1607.06450).
pub fn add_layer_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    residual: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, D> {
    #[cfg(feature = "flex")]
    if flex::is_flex(&x) {
        return flex::add_layer_norm(x, residual, gamma, beta, epsilon);
    }
    definition(x, residual, gamma, beta, epsilon)
}

pub(super) fn definition<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    residual: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, D> {
    let sum = x + residual;
    let (variance, mean) = sum.clone().var_mean_bias(D - 1);
    (sum - mean) / (variance + epsilon).sqrt() * gamma.unsqueeze() + beta.unsqueeze()
}
