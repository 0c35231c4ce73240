//! The operations in which a transformer spends its time, as functions of Burn's tensors on any backend.
//!
//! Each has a plain form in Burn's own operations, which is its definition, and a form for the flex backend that goes
//! over the numbers once, on all cores, with the CPU's widest vectors, and whose backward pass is written by hand. Which
//! one runs is decided by the tensors; see the module `operation`.
//!
//! | part | what it is |
//! |---|---|
//! | [`linear`] | x·W + b |
//! | [`attention`] | softmax(Q·Kᵀ/√d + bias)·V of many heads |
//! | [`Places`] | which places of a padded batch are computed at all |
//! | [`layer_norm`], [`add_layer_norm`] | layer normalisation, of a sum |
//! | [`relu`], [`gelu`], [`gelu_tanh`] | activations |
//!
//! ```
//! use burn::backend::Flex;
//! use burn::tensor::Tensor;
//!
//! let x = Tensor::<Flex, 1>::from_floats([-1.0, 0.0, 1.0], &Default::default());
//! let y: Vec<f32> = albert::kernels::gelu(x).into_data().to_vec()?;
//! assert!((y[2] - 0.841_344_7).abs() < 1e-6);
//! # Ok::<(), burn::tensor::DataError>(())
//! ```

mod activation;
mod attention;
mod layer_norm;
mod linear;
mod numbers;
mod operation;
mod places;
mod product;
#[cfg(test)]
mod testing;

pub use activation::{gelu, gelu_tanh, relu};
pub use attention::{AttentionOptions, attention};
pub use layer_norm::{add_layer_norm, layer_norm};
pub use linear::linear;
pub use places::Places;
