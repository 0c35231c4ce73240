//! The operations that the modules share.

use crate::kernels::{self, Places};
use burn::nn::{LayerNorm, Linear};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Int, Tensor};

use crate::config::HiddenAct;

/// The tokens whose last hidden state is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outputs {
    /// All that have a row.
    All,
    /// Each sequence's first, for the last layer only.
    First,
}

/// What every layer needs to know about a batch of sequences.
pub(crate) struct Sequences<B: Backend> {
    /// The places that have a row among the hidden states.
    pub(crate) places: Places,
    /// The attention mask in its additive form, `[batch, sequence]`.
    pub(crate) bias: Tensor<B, 2>,
}

impl<B: Backend> Sequences<B> {
    /// Every place has a row.
    pub(crate) fn all(attention_mask: &Tensor<B, 2, Int>) -> Self {
        let [batch, length] = attention_mask.dims();
        Self::new(attention_mask, Places::all(batch, length))
    }

    /// Tokens have a row; padding need not.
    pub(crate) fn of_tokens(attention_mask: &Tensor<B, 2, Int>) -> Self {
        Self::new(attention_mask, Places::of_tokens(attention_mask))
    }

    fn new(attention_mask: &Tensor<B, 2, Int>, places: Places) -> Self {
        Self { places, bias: attention_bias(attention_mask.clone().equal_elem(0)) }
    }

    /// The rows of the first tokens.
    pub(crate) fn first(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let rows: Vec<i64> = self.places.first_rows().into_iter().map(|row| row as i64).collect();
        let rows = Tensor::<B, 1, Int>::from_data(rows.as_slice(), &hidden.device());
        hidden.select(0, rows)
    }
}

/// The additive form of an attention mask: 0 where a token stands and a number far below every score where there is
/// padding.
///
/// Half of the lowest finite number: softmax gives such a place the weight 0 exactly, and no score added to it reaches
/// −∞, so that a row without any token yields equal weights instead of NaN.
fn attention_bias<B: Backend>(padding: Tensor<B, 2, Bool>) -> Tensor<B, 2> {
    let padding = padding.float();
    let lowest = padding.dtype().finfo().map_or(f32::MIN as f64, |info| info.min);
    padding * (lowest / 2.0)
}

/// Applies the activation of a feed-forward layer.
pub(crate) fn activate<B: Backend, const D: usize>(
    act: HiddenAct,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    match act {
        HiddenAct::Gelu => kernels::gelu(x),
        HiddenAct::GeluNew => kernels::gelu_tanh(x),
        HiddenAct::Relu => kernels::relu(x),
    }
}

/// Applies a linear layer, in the precision of its weight.
pub(crate) fn linear<B: Backend>(linear: &Linear<B>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match &linear.bias {
        Some(bias) => affine(x, linear.weight.val(), bias.val()),
        None => linear.forward(cast(x, linear.weight.dtype())),
    }
}

/// x·W + b, in the precision of W and b.
pub(crate) fn affine<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    bias: Tensor<B, 1>,
) -> Tensor<B, 2> {
    kernels::linear(cast(x, weight.dtype()), weight, bias)
}

/// The tensor in a precision.
pub(crate) fn cast<B: Backend, const D: usize>(x: Tensor<B, D>, dtype: DType) -> Tensor<B, D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// Layer norm of the sum of a sublayer's output and its input, in the precision of its own parameters.
pub(crate) fn add_layer_norm<B: Backend, const D: usize>(
    layer_norm: &LayerNorm<B>,
    epsilon: f64,
    output: Tensor<B, D>,
    input: Tensor<B, D>,
) -> Tensor<B, D> {
    let [output, input] = [output, input].map(|x| cast(x, layer_norm.gamma.dtype()));
    match &layer_norm.beta {
        Some(beta) => {
            kernels::add_layer_norm(output, input, layer_norm.gamma.val(), beta.val(), epsilon)
        }
        None => layer_norm.forward(output + input),
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
        let x = Tensor::<Flex, 1>::from_floats(X, &Default::default());
        assert!(distance(&values(activate(HiddenAct::GeluNew, x.clone())), &GELU_NEW) < 5e-7);
        assert!(distance(&values(activate(HiddenAct::Gelu, x.clone())), &GELU) < 5e-7);
        assert_eq!(values(activate(HiddenAct::Relu, x)), X.map(|x| x.max(0.0)));
    }

    #[test]
    fn gelu_new_of_huge_numbers_is_finite() {
        let x = Tensor::<Flex, 1>::from_floats([-1e10, 1e10], &Default::default());
        assert_eq!(values(activate(HiddenAct::GeluNew, x)), [0.0, 1e10]);
    }
}
