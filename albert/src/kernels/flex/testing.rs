//! What the unit tests share.

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

pub(crate) type Train = Autodiff<Flex>;

/// Pseudo-random elements between −1 and 1, the same for the same seed.
pub(crate) fn draw<B: Backend, const D: usize>(shape: [usize; D], seed: u32) -> Tensor<B, D> {
    let mut state = seed.wrapping_mul(2_654_435_769).wrapping_add(1);
    let values = (0..shape.iter().product()).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    });
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), shape), &Default::default())
}

pub(crate) fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Asserts that no element is off by more than `tolerance` times the largest magnitude.
#[track_caller]
pub(crate) fn assert_close(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len());
    let scale = expected.iter().fold(1.0, |largest: f32, x| largest.max(x.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= tolerance * scale, "element {i}: {a} instead of {e}");
    }
}
