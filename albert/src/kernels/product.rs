//! Matrix products on any backend.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};

/// a·b over the last two dimensions: `[.., rows, inner]` and `[.., inner, columns]` give `[.., rows, columns]`.
///
/// A single row is multiplied elementwise and summed. Burn 0.21's autotuning chooses one kernel for a range of shapes, and
/// those for vectors fail on a shape in the range that is no multiple of the width of the device's SIMD groups.
pub(super) fn product<B: Backend, const D: usize>(
    a: Tensor<B, D>,
    b: Tensor<B, D>,
) -> Tensor<B, D> {
    let (rows, inner) = (D - 2, D - 1);
    if a.dims()[rows] != 1 {
        return a.matmul(b);
    }
    // Sums of 16-bit products need more than 16 bits.
    let precision = a.dtype();
    let is_16_bit = matches!(precision, DType::BF16 | DType::F16);
    let [a, b] = [a, b].map(|x| if is_16_bit { x.cast(DType::F32) } else { x });
    let mut column = a.dims();
    column.swap(rows, inner);
    let sums = (a.reshape(column) * b).sum_dim(rows);
    if is_16_bit { sums.cast(precision) } else { sums }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::kernels::flex::testing::{Train, assert_close, draw, values};

    #[test]
    fn of_one_row_is_the_first_row_of_the_product_of_two() {
        let results = [1, 2].map(|rows| {
            let a = draw::<Train, 4>([2, 3, 1, 5], 1).require_grad();
            let b = draw::<Train, 4>([2, 3, 5, 7], 2).require_grad();
            let y = product(a.clone().repeat_dim(2, rows), b.clone()).narrow(2, 0, 1);
            let grads = (y.clone() * draw([2, 3, 1, 7], 3)).sum().backward();
            [values(y), values(a.grad(&grads).expect("a")), values(b.grad(&grads).expect("b"))]
        });
        for (one, two) in results[0].iter().zip(&results[1]) {
            assert_close(one, two, 1e-6);
        }
    }
}
