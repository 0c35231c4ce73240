//! Shared by the tests of the optimizer with Burn 0.22: the recorded cases, and the examples of its documentation.
#![cfg(feature = "burn-0-22")]
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "../../src/recorded.rs"]
mod recorded;

use burn::tensor::{Device, Tensor, TensorData};

pub use recorded::*;

/// Where the cases are, from this package.
const CASES: &str = "../cases";

impl Array {
    /// The array as a float tensor of rank `D`.
    ///
    /// # Panics
    /// The array has another rank.
    pub fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        let values: Vec<f32> = self.values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, self.shape.clone()), device)
    }
}

impl<const D: usize> From<Tensor<D>> for Array {
    fn from(tensor: Tensor<D>) -> Self {
        Self { shape: tensor.dims().to_vec(), values: tensor.into_data().iter().collect() }
    }
}

/// The example of the module `burn_0_22`, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../optim/src/burn_0_22/guide.md")]
struct Guide;

/// The example of the crate's README.
#[cfg(doctest)]
#[doc = include_str!("../../../optim/README.md")]
struct Readme;
