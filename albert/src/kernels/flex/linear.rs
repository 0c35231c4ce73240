//! The affine map of a linear layer.

use std::sync::{Arc, OnceLock};

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::Factors;
use crate::kernels::flex::elements::{add, column_sums, map_chunks, rows_per_task, vectorized};
use crate::kernels::flex::kept::Kept;
use crate::kernels::flex::operation::{Operation, primitive, run, tensor, width};
use crate::kernels::flex::product::{Matrix, product};

/// [`linear`](crate::kernels::linear) of tensors that [are flex's](crate::kernels::flex::is_flex).
///
/// With G the gradient of a result: that of x is G·Wᵀ, that of W is xᵀ·G, that of b the sum of G's rows.
pub(crate) fn linear<B: Backend, const N: usize>(
    x: Tensor<B, 2>,
    maps: [(Tensor<B, 2>, Tensor<B, 1>); N],
    factors: Factors,
) -> [Tensor<B, 2>; N] {
    let linear = Linear { factors, x: Arc::default() };
    maps.map(|(weight, bias)| {
        run(linear.clone(), [primitive(x.clone()), primitive(weight), primitive(bias)])
    })
}

#[derive(Clone, Debug)]
struct Linear {
    factors: Factors,
    /// What the backward pass needs of x, kept once for all the maps.
    x: Arc<OnceLock<Kept>>,
}

impl Operation<3> for Linear {
    /// W, a parameter, of which no copy is made.
    type Saved = FlexTensor;

    fn forward(
        &self,
        [x, weight, bias]: [FlexTensor; 3],
        keep: bool,
    ) -> (FlexTensor, Option<Self::Saved>) {
        let mut output = product(Matrix::of(&x), Matrix::of(&weight), self.factors);
        let bias = bias.storage::<f32>();
        let size = rows_per_task(bias.len()) * bias.len();
        map_chunks(output.storage_mut::<f32>(), size.max(1), |_, rows| {
            vectorized(
                #[inline(always)]
                || rows.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias)),
            );
        });
        let saved = keep.then(|| {
            self.x.get_or_init(|| Kept::new(x, self.factors));
            weight
        });
        (output, saved)
    }

    fn backward(
        self,
        weight: FlexTensor,
        gradient: FlexTensor,
        [of_x, of_weight, of_bias]: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let width = width(&gradient);
        let [weight, of_output] = [&weight, &gradient].map(Matrix::of);
        [
            of_x.then(|| product(of_output, weight.transposed(), self.factors)),
            self.x.get().filter(|_| of_weight).map(|x| {
                let x = x.restore();
                product(Matrix::of(&x).transposed(), of_output, self.factors)
            }),
            of_bias.then(|| tensor(column_sums(gradient.storage(), width), [width])),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::flex::testing::{Train, assert_close, draw, values};
    use crate::kernels::linear::definition;

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for (rows, inner, outer) in [(1, 1, 1), (3, 5, 7), (130, 33, 65), (700, 12, 257)] {
            compare(rows, inner, outer, Factors::AsGiven, 2e-6);
        }
    }

    /// The definition does not round the factor that both products of the backward pass share, the result's gradient.
    #[test]
    fn bf16_factors_give_the_values_and_gradients_of_the_definition_but_for_rounding() {
        for (rows, inner, outer) in [(1, 1, 1), (3, 5, 7), (130, 33, 65), (700, 12, 257)] {
            compare(rows, inner, outer, Factors::BFloat16, 8e-3);
        }
    }

    fn compare(rows: usize, inner: usize, outer: usize, factors: Factors, tolerance: f32) {
        let definition = |x: Tensor<Train, 2>, maps: [_; 1], factors| {
            maps.map(|(weight, bias)| definition(x.clone(), weight, bias, factors))
        };
        let results = [linear, definition].map(|f| {
            let x = draw::<Train, 2>([rows, inner], 1).require_grad();
            let weight = draw::<Train, 2>([inner, outer], 2).require_grad();
            let bias = draw::<Train, 1>([outer], 3).require_grad();
            let [y] = f(x.clone(), [(weight.clone(), bias.clone())], factors);
            let grads = (y.clone() * draw([rows, outer], 4)).sum().backward();
            [
                values(y),
                values(x.grad(&grads).expect("x")),
                values(weight.grad(&grads).expect("weight")),
                values(bias.grad(&grads).expect("bias")),
            ]
        });
        for (fused, expected) in results[0].iter().zip(&results[1]) {
            assert_close(fused, expected, tolerance);
        }
    }

    #[test]
    fn maps_of_one_input_have_the_bits_of_each_alone() {
        let alone = |x: Tensor<Train, 2>, maps: [_; 2], factors| {
            maps.map(|map| {
                let [y] = linear(x.clone(), [map], factors);
                y
            })
        };
        for factors in [Factors::AsGiven, Factors::BFloat16] {
            let results = [alone, linear].map(|f| {
                let x = draw::<Train, 2>([130, 33], 1).require_grad();
                let weights = [(65, 2), (129, 3)]
                    .map(|(outer, seed)| draw::<Train, 2>([33, outer], seed).require_grad());
                let [v, w] = weights.clone();
                let [y, z] = f(x.clone(), [(v, draw([65], 4)), (w, draw([129], 5))], factors);
                let loss = (y * draw([130, 65], 6)).sum() + (z * draw([130, 129], 7)).sum();
                let grads = loss.backward();
                let [v, w] = weights;
                [x, v, w].map(|tensor| values(tensor.grad(&grads).expect("a gradient")))
            });
            assert_eq!(results[0], results[1]);
        }
    }

    #[test]
    fn untracked_inputs_get_no_gradient() {
        let weight = draw::<Train, 2>([4, 3], 2).require_grad();
        let x = draw::<Train, 2>([5, 4], 1);
        let bias = draw::<Train, 1>([3], 3);
        let [y] = linear(x.clone(), [(weight.clone(), bias.clone())], Factors::AsGiven);
        let grads = y.sum().backward();
        assert!(weight.grad(&grads).is_some());
        assert!(x.grad(&grads).is_none() && bias.grad(&grads).is_none());
    }

    #[test]
    fn no_rows_give_no_rows() {
        let x = Tensor::<Train, 2>::zeros([0, 4], &Default::default());
        let maps = [(draw([4, 3], 2), draw([3], 3))];
        let [y] = linear(x, maps, Factors::AsGiven);
        assert_eq!(y.dims(), [0, 3]);
    }
}
