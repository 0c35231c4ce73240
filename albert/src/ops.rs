//! The operations that the modules share.

use burn::nn::{LayerNorm, Linear};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Int, Tensor};

pub(crate) use crate::kernels::activate;
use crate::kernels::{self, Factors, TokenLayout};

/// The tokens whose last hidden state is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outputs {
    /// All tokens that have a row.
    All,
    /// Each sequence's first token, in the last layer.
    First,
}

/// What every layer needs to know about a batch of sequences.
pub(crate) struct Sequences<B: Backend> {
    /// The positions that have a row among the hidden states.
    pub(crate) layout: TokenLayout,
    /// The additive attention mask, `[batch, sequence]`.
    pub(crate) bias: Tensor<B, 2>,
    /// How products round their factors.
    pub(crate) factors: Factors,
}

impl<B: Backend> Sequences<B> {
    /// Every position has a row.
    pub(crate) fn all(attention_mask: &Tensor<B, 2, Int>, factors: Factors) -> Self {
        let [batch, length] = attention_mask.dims();
        Self::new(attention_mask, TokenLayout::padded(batch, length), factors)
    }

    /// Tokens have a row; padding need not.
    pub(crate) fn of_tokens(attention_mask: &Tensor<B, 2, Int>, factors: Factors) -> Self {
        Self::new(attention_mask, TokenLayout::packed(attention_mask), factors)
    }

    fn new(attention_mask: &Tensor<B, 2, Int>, layout: TokenLayout, factors: Factors) -> Self {
        Self { layout, bias: attention_bias(attention_mask.clone().equal_elem(0)), factors }
    }

    /// The rows of the first tokens.
    pub(crate) fn first(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let rows: Vec<i64> = self.layout.first_rows().into_iter().map(|row| row as i64).collect();
        let rows = Tensor::<B, 1, Int>::from_data(rows.as_slice(), &hidden.device());
        hidden.select(0, rows)
    }
}

/// The additive attention mask: 0 for a token and half of the lowest finite value for padding.
///
/// Softmax gives such a position the weight 0 exactly, and no score added to it reaches −∞, so that a row without any
/// token yields equal weights instead of NaN.
fn attention_bias<B: Backend>(padding: Tensor<B, 2, Bool>) -> Tensor<B, 2> {
    let padding = padding.float();
    let lowest = padding.dtype().finfo().map_or(f32::MIN as f64, |info| info.min);
    padding * (lowest / 2.0)
}

/// Applies a linear layer, in the precision of its weight. Without a bias it adds zeros.
pub(crate) fn linear<B: Backend>(
    linear: &Linear<B>,
    x: Tensor<B, 2>,
    factors: Factors,
) -> Tensor<B, 2> {
    let [y] = affine(x, [parameters(linear)], factors);
    y
}

/// The bias of a linear layer; zeros where it has none.
pub(crate) fn bias<B: Backend>(linear: &Linear<B>) -> Tensor<B, 1> {
    let Linear { weight, bias } = linear;
    bias.as_ref().map_or_else(
        || Tensor::zeros([weight.dims()[1]], (&weight.device(), weight.dtype())),
        |bias| bias.val(),
    )
}

/// The weight and the bias of a linear layer.
pub(crate) fn parameters<B: Backend>(linear: &Linear<B>) -> (Tensor<B, 2>, Tensor<B, 1>) {
    (linear.weight.val(), bias(linear))
}

/// x·W + b for each W and b, in the precision of the first W.
pub(crate) fn affine<B: Backend, const N: usize>(
    x: Tensor<B, 2>,
    maps: [(Tensor<B, 2>, Tensor<B, 1>); N],
    factors: Factors,
) -> [Tensor<B, 2>; N] {
    let dtype = maps.first().map_or_else(|| x.dtype(), |(weight, _)| weight.dtype());
    kernels::linear(cast(x, dtype), maps, factors)
}

/// `x` in `dtype`; not copied if it is so already.
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
