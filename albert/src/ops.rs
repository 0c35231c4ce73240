//! The few element-wise operations in which a model spends its time outside of matrix products, each a function of its
//! own so that a backend-specific form can take its place.

use burn::nn::LayerNorm;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor, activation};

use crate::config::HiddenAct;

/// Applies the activation of a feed-forward layer.
pub(crate) fn activate<B: Backend, const D: usize>(
    act: HiddenAct,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    match act {
        HiddenAct::Gelu => activation::gelu(x),
        HiddenAct::GeluNew => gelu_new(x),
        HiddenAct::Relu => activation::relu(x),
    }
}

/// ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
///
/// The cube is written as a product, for a general power is many times slower on a CPU.
fn gelu_new<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let scale = (2.0 / std::f64::consts::PI).sqrt();
    let square = x.clone() * x.clone();
    let inner = x.clone() * (square * (0.044715 * scale) + scale);
    x * ((inner.tanh() + 1.0) * 0.5)
}

/// The additive form of an attention mask: 0 where a token stands and a number far below every score where there is
/// padding, `[batch, sequence]` to `[batch, heads, sequence, sequence]`.
///
/// Half of the lowest finite number: softmax gives such a place the weight 0 exactly, and no score added to it reaches
/// −∞, so that a row without any token yields equal weights instead of NaN. It is spread over heads and queries once for
/// all layers: adding equal shapes is many times faster on a CPU than broadcasting over the dimensions in the middle.
pub(crate) fn attention_bias<B: Backend>(
    padding: Tensor<B, 2, Bool>,
    num_attention_heads: usize,
) -> Tensor<B, 4> {
    let [_, length] = padding.dims();
    let padding = padding.float();
    let lowest = padding.dtype().finfo().map_or(f32::MIN as f64, |info| info.min);
    let bias: Tensor<B, 4> = (padding * (lowest / 2.0)).unsqueeze_dims(&[1, 1]);
    bias.repeat_dim(2, length).repeat_dim(1, num_attention_heads)
}

/// Attention probabilities: softmax over the last dimension of scores plus bias.
pub(crate) fn masked_softmax<B: Backend>(scores: Tensor<B, 4>, bias: Tensor<B, 4>) -> Tensor<B, 4> {
    activation::softmax(scores + bias, 3)
}

/// Layer norm of the sum of a sublayer's output and its input.
pub(crate) fn add_layer_norm<B: Backend, const D: usize>(
    output: Tensor<B, D>,
    input: Tensor<B, D>,
    layer_norm: &LayerNorm<B>,
) -> Tensor<B, D> {
    layer_norm.forward(output + input)
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
        let x = Tensor::<Flex, 1>::from_floats(X, &Default::default());
        assert!(distance(&values(activate(HiddenAct::GeluNew, x.clone())), &GELU_NEW) < 5e-7);
        assert!(distance(&values(activate(HiddenAct::Gelu, x.clone())), &GELU) < 5e-7);
        assert_eq!(values(activate(HiddenAct::Relu, x)), X.map(|x| x.max(0.0)));
    }

    #[test]
    fn gelu_new_of_huge_numbers_is_finite() {
        let x = Tensor::<Flex, 1>::from_floats([-1e10, 1e10], &Default::default());
        assert_eq!(values(gelu_new(x)), [0.0, 1e10]);
    }

    #[test]
    fn padding_gets_no_attention_and_a_row_of_padding_gets_equal_shares() {
        let device = Default::default();
        let scores = Tensor::<Flex, 4>::from_floats(
            [[[[1.0, 900.0, 1.0]]], [[[-900.0, 5.0, 900.0]]]],
            &device,
        );
        let padding =
            Tensor::<Flex, 2, Bool>::from_data([[false, true, false], [true, true, true]], &device);
        let probabilities =
            values(masked_softmax(scores, attention_bias(padding, 1).narrow(2, 0, 1)));
        assert_eq!(probabilities[..3], [0.5, 0.0, 0.5]);
        assert!(distance(&probabilities[3..], &[1.0 / 3.0; 3]) < 1e-6);
    }
}
