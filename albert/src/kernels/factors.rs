//! The precision of the factors of matrix products.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};

/// How linear layers and attention round the factors of their matrix products, in the forward and the backward pass.
/// Sums have the precision of the tensors in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Factors {
    /// Not at all.
    #[default]
    AsGiven,
    /// To the nearest bf16, ties to even.
    BFloat16,
}

impl Factors {
    /// A factor, rounded; its gradient is rounded, too.
    pub(super) fn round<B: Backend, const D: usize>(self, factor: Tensor<B, D>) -> Tensor<B, D> {
        let dtype = factor.dtype();
        match self {
            Self::AsGiven => factor,
            Self::BFloat16 if dtype == DType::BF16 => factor,
            Self::BFloat16 => factor.cast(DType::BF16).cast(dtype),
        }
    }
}
