//! Dropout.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

use crate::kernels::flex::elements::{map_chunks, rows_per_task, vectorized};
use crate::kernels::flex::operation::{Operation, primitive, run};

/// [`dropout`](crate::kernels::dropout) of a tensor that [is flex's](crate::kernels::flex::is_flex).
pub(crate) fn dropout<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    probability: f64,
) -> Tensor<B, D> {
    run(Mask::draw(probability), [primitive(x)])
}

/// The factors of one dropout, 0 or 1/(1 − p). They follow from a seed, so that the backward pass computes them again
/// instead of keeping them in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask {
    seed: u64,
    /// p · 2¹⁶
    threshold: u16,
    /// 1/(1 − p)
    scale: f32,
}

impl Mask {
    /// New ones, with a seed from flex's generator.
    pub(crate) fn draw(probability: f64) -> Self {
        let bits = Distribution::Uniform(0.0, f64::from(1 << 16));
        let bits = Tensor::<Flex, 1>::random([4], bits, &Default::default()).into_data();
        let seed = bits.iter::<f32>().fold(0, |seed, bits| seed << 16 | bits as u64);
        Self::new(probability, seed)
    }

    pub(crate) fn new(probability: f64, seed: u64) -> Self {
        let threshold = (probability * f64::from(1 << 16)).round() as u16;
        let kept = 1.0 - f64::from(threshold) / f64::from(1 << 16);
        Self { seed, threshold, scale: (1.0 / kept) as f32 }
    }

    /// Multiplies `elements` by the factors of a stream. Streams are independent of one another.
    pub(crate) fn apply(&self, stream: usize, elements: &mut [f32]) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(self.seed.wrapping_add(stream as u64));
        vectorized(
            #[inline(always)]
            || {
                let (quadruples, rest) = elements.as_chunks_mut::<4>();
                for quadruple in quadruples {
                    self.multiply(quadruple, rng.next_u64());
                }
                self.multiply(rest, rng.next_u64());
            },
        );
    }

    /// Multiplies up to four elements by the factors that follow from random bits.
    #[inline(always)]
    fn multiply(&self, elements: &mut [f32], bits: u64) {
        for (i, x) in elements.iter_mut().enumerate() {
            let is_kept = (bits >> (16 * i)) as u16 >= self.threshold;
            *x *= if is_kept { self.scale } else { 0.0 };
        }
    }

    fn apply_to_all(&self, mut x: FlexTensor) -> FlexTensor {
        map_chunks(x.storage_mut(), rows_per_task(1), |task, chunk| self.apply(task, chunk));
        x
    }
}

impl Operation<1> for Mask {
    type Saved = ();

    fn forward(&self, [x]: [FlexTensor; 1], keep: bool) -> (FlexTensor, Option<()>) {
        (self.apply_to_all(x), keep.then_some(()))
    }

    fn backward(self, (): (), gradient: FlexTensor, _wanted: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.apply_to_all(gradient))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::flex::testing::{Train, values};

    #[test]
    fn elements_are_dropped_with_the_probability_and_keep_their_mean() {
        for probability in [0.1, 0.5, 0.9] {
            let n = 1 << 20;
            let mut elements = vec![1.0; n];
            Mask::new(probability, 7).apply(3, &mut elements);
            let dropped = elements.iter().filter(|&&x| x == 0.0).count() as f64 / n as f64;
            // Five standard deviations of a binomial share.
            let tolerance = 5.0 * (probability * (1.0 - probability) / n as f64).sqrt() + 1e-5;
            assert!((dropped - probability).abs() < tolerance, "{dropped} of {probability}");
            let scale = elements.iter().copied().fold(0.0, f32::max);
            assert!((f64::from(scale) * (1.0 - probability) - 1.0).abs() < 2e-4);
            assert!(elements.iter().all(|&x| x == 0.0 || x == scale));
        }
    }

    /// Neighbours, elements a stream's word apart, and the same element of two streams: each pair is dropped together in
    /// a hundredth of the cases.
    #[test]
    fn elements_are_dropped_independently() {
        let n = 1 << 20;
        let draw = |stream| {
            let mut elements = vec![1.0; n];
            Mask::new(0.1, 7).apply(stream, &mut elements);
            elements
        };
        let [first, second] = [draw(0), draw(1)];
        let both = |a: &[f32], b: &[f32]| {
            let pairs = a.iter().zip(b);
            pairs.filter(|&(&a, &b)| a == 0.0 && b == 0.0).count() as f64 / n as f64
        };
        for share in [both(&first, &first[1..]), both(&first, &first[4..]), both(&first, &second)] {
            assert!((share - 0.01).abs() < 5e-4, "{share}");
        }
    }

    #[test]
    fn an_extreme_probability_leaves_finite_factors() {
        for probability in [0.0, 1e-9, 1.0 - 1e-9, 1.0] {
            let mut elements = [1.0; 64];
            Mask::new(probability, 1).apply(0, &mut elements);
            assert!(elements.iter().all(|x| x.is_finite()), "{probability}");
            if probability < 0.5 {
                assert_eq!(elements, [1.0; 64]);
            }
        }
    }

    #[test]
    fn the_gradient_has_the_same_factors() {
        let device = Default::default();
        for length in [0, 5, 100_000] {
            Train::seed(&device, 4);
            let x = Tensor::<Train, 1>::ones([length], &device).require_grad();
            let y = dropout(x.clone(), 0.3);
            let gradient = x.grad(&y.clone().sum().backward()).expect("a gradient");
            assert_eq!(values(gradient), values(y.clone()));
            let another = values(dropout(x.clone(), 0.3));
            Train::seed(&device, 4);
            assert_eq!(values(dropout(x, 0.3)), values(y.clone()));
            assert!(length < 10 || another != values(y));
        }
    }
}
