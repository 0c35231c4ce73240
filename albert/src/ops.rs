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
/// padding, `[batch, sequence]` to `[batch, 1, 1, sequence]`.
///
/// Half of the lowest finite number: softmax gives such a place the weight 0 exactly, and no score added to it reaches
/// −∞, so that a row without any token yields equal weights instead of NaN.
pub(crate) fn attention_bias<B: Backend>(padding: Tensor<B, 2, Bool>) -> Tensor<B, 4> {
    let padding = padding.float();
    let lowest = padding.dtype().finfo().map_or(f32::MIN as f64, |info| info.min);
    (padding * (lowest / 2.0)).unsqueeze_dims(&[1, 1])
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
