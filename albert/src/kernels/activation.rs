//! The activations of a feed-forward layer.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

use crate::config::HiddenAct;
use crate::kernels::Factors;
#[cfg(feature = "flex")]
use crate::kernels::flex;

/// Applies an activation to each element:
///
/// ```text
/// Relu      max(x, 0), whose derivative at 0 is 0
/// Gelu      x·Φ(x), with Φ the distribution function of the standard normal distribution
/// GeluNew   ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), an approximation of it
/// ```
///
/// With bf16 `factors`, the kernel for the flex backend keeps the derivative for the backward pass in bf16: it is
/// multiplied by a gradient that becomes such a factor itself. Everything else ignores `factors`.
///
/// Source: Hendrycks & Gimpel, [arXiv 1606.08415](https://arxiv.org/abs/1606.08415).
#[cfg_attr(
    not(feature = "flex"),
    expect(unused_variables, reason = "only the kernel uses factors")
)]
pub fn activate<B: Backend, const D: usize>(
    act: HiddenAct,
    x: Tensor<B, D>,
    factors: Factors,
) -> Tensor<B, D> {
    #[cfg(feature = "flex")]
    if flex::is_flex(&x) {
        return flex::activate(act, x, factors);
    }
    definition(act, x)
}

pub(super) fn definition<B: Backend, const D: usize>(
    act: HiddenAct,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    match act {
        HiddenAct::Relu => activation::relu(x),
        // Not Burn's gelu: on most backends its derivative is that of the tanh approximation, off by 1e-3.
        HiddenAct::Gelu => {
            let erf = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf();
            x * ((erf + 1.0) * 0.5)
        }
        HiddenAct::GeluNew => {
            let scale = (2.0 / std::f64::consts::PI).sqrt();
            // A product, because a power is many times slower on a CPU.
            let square = x.clone() * x.clone();
            let inner = x.clone() * (square * (0.044715 * scale) + scale);
            x * ((inner.tanh() + 1.0) * 0.5)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::*;
    use crate::testing::{distance, values};

    // import torch; x = torch.tensor(X, dtype=torch.float64); gelu = torch.nn.functional.gelu
    // print(gelu(x, approximate="tanh")); print(gelu(x))
    const X: [f32; 9] = [-10.0, -3.0, -1.0, -0.5, 0.0, 0.3, 1.0, 2.5, 8.0];
    const GELU_NEW: [f32; 9] = [
        0.0,
        -0.003_637_392,
        -0.158_808,
        -0.154_286,
        0.0,
        0.185_370_92,
        0.841_192,
        2.484_915_7,
        8.0,
    ];
    const GELU: [f32; 9] = [
        0.0,
        -0.004_049_694,
        -0.158_655_25,
        -0.154_268_77,
        0.0,
        0.185_373_43,
        0.841_344_8,
        2.484_475_7,
        8.0,
    ];

    #[test]
    fn activations_have_their_known_values() {
        let x = || Tensor::<Flex, 1>::from_floats(X, &Default::default());
        let activate = |act, x| activate::<Flex, 1>(act, x, Factors::AsGiven);
        for f in [activate, definition] {
            assert!(distance(&values(f(HiddenAct::GeluNew, x())), &GELU_NEW) < 5e-7);
            assert!(distance(&values(f(HiddenAct::Gelu, x())), &GELU) < 5e-7);
            assert_eq!(values(f(HiddenAct::Relu, x())), X.map(|x| x.max(0.0)));
        }
    }

    #[test]
    fn gelu_new_of_huge_inputs_is_finite() {
        let x = Tensor::<Flex, 1>::from_floats([-1e10, 1e10], &Default::default());
        assert_eq!(values(activate(HiddenAct::GeluNew, x, Factors::AsGiven)), [0.0, 1e10]);
    }
}
