//! What is kept from the forward pass for the backward pass.

use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;

use crate::kernels::Factors;
use crate::kernels::flex::elements::{TASK, map_chunks, vectorized};
use crate::kernels::flex::operation::tensor;
use crate::kernels::flex::product::bf16;

/// A factor of matrix products in the precision to which they round it. Rounding it once more changes nothing, so the
/// products of the backward pass with it have the same bits as if it had been kept in float32.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    AsGiven(FlexTensor),
    BFloat16 { bits: Vec<u16>, shape: Shape },
}

impl Kept {
    pub(super) fn new(factor: FlexTensor, factors: Factors) -> Self {
        match factors {
            Factors::AsGiven => Self::AsGiven(factor),
            Factors::BFloat16 => Self::BFloat16 {
                bits: converted(factor.storage(), bf16::to_bits),
                shape: factor.layout().shape().clone(),
            },
        }
    }

    /// The factor in float32.
    pub(super) fn restore(&self) -> FlexTensor {
        match self {
            Self::AsGiven(factor) => factor.clone(),
            Self::BFloat16 { bits, shape } => {
                tensor(converted(bits, bf16::from_bits), [bits.len()]).reshape(shape.clone())
            }
        }
    }
}

fn converted<T: Copy + Sync, U: Clone + Default + Send>(
    elements: &[T],
    f: impl Fn(T) -> U + Sync + Send,
) -> Vec<U> {
    let mut results = vec![U::default(); elements.len()];
    map_chunks(&mut results, TASK, |index, results| {
        let elements = &elements[index * TASK..][..results.len()];
        vectorized(
            #[inline(always)]
            || {
                for (result, &x) in results.iter_mut().zip(elements) {
                    *result = f(x);
                }
            },
        );
    });
    results
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::*;
    use crate::kernels::flex::operation::primitive;
    use crate::kernels::flex::testing::draw;

    #[test]
    fn a_kept_factor_is_rounded_as_products_round_it() {
        for [rows, columns] in [[0, 3], [1, 1], [5, 7], [300, 129]] {
            let factor = primitive(draw::<Flex, 2>([rows, columns], 1));
            let elements = factor.storage::<f32>().to_vec();
            for factors in [Factors::AsGiven, Factors::BFloat16] {
                let restored = Kept::new(factor.clone(), factors).restore();
                assert_eq!(restored.layout().shape().as_slice(), [rows, columns]);
                let expected: Vec<f32> = match factors {
                    Factors::AsGiven => elements.clone(),
                    Factors::BFloat16 => elements.iter().map(|&x| bf16::round(x)).collect(),
                };
                assert_eq!(restored.storage::<f32>(), expected);
            }
        }
    }
}
