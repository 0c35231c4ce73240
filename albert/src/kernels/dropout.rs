//! Dropout.

use burn::nn::DropoutConfig;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

#[cfg(feature = "flex")]
use crate::kernels::flex;

/// x∘D, where an element of D is 0 with `probability` p and 1/(1 − p) otherwise; x itself where the backend does not
/// track gradients.
///
/// D comes from the backend's generator. Flex rounds p to a multiple of 2⁻¹⁶.
///
/// Source: Srivastava et al., <https://jmlr.org/papers/v15/srivastava14a.html>.
pub fn dropout<B: Backend, const D: usize>(x: Tensor<B, D>, probability: f64) -> Tensor<B, D> {
    if probability == 0.0 || !B::ad_enabled(&x.device()) {
        return x;
    }
    #[cfg(feature = "flex")]
    if flex::is_flex(&x) {
        return flex::dropout(x, probability);
    }
    DropoutConfig::new(probability).init().forward(x)
}
