//! The Burn backend that the program was built for.

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::BackendTypes;

#[cfg(not(feature = "flex"))]
compile_error!("choose a backend: build with the feature `flex`");

/// Evaluates and predicts.
pub type Inference = Flex;

/// Trains.
pub type Training = Autodiff<Inference>;

/// Where the tensors live.
pub fn device() -> <Inference as BackendTypes>::Device {
    Default::default()
}
