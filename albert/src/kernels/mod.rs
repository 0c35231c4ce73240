//! The operations that account for most of a transformer's time, on any backend.
//!
//! Each is *defined* here in Burn's own operations. For float32 tensors of the flex backend, with or without gradients,
//! the feature `flex` replaces the definition by a CPU kernel of the module `flex`: one multi-threaded, vectorized pass
//! over memory and a hand-written backward pass. Which of the two runs is decided by the tensors at run time, so models
//! stay generic over the backend.
//!
//! | operation | formula |
//! |---|---|
//! | `linear` | x·W + b, for several W and b |
//! | `attention` | softmax(Q·Kᵀ/√d + bias)·V per head |
//! | `add_layer_norm` | layer normalization of a sum |
//! | `activate` | ReLU and GELU |
//! | `dropout` | x∘D, D random |
//!
//! `TokenLayout` says which positions of a padded batch are computed at all.

mod activation;
mod attention;
mod dropout;
mod factors;
#[cfg(feature = "flex")]
mod flex;
mod layer_norm;
mod layout;
mod linear;
mod product;

pub use activation::activate;
pub use attention::{AttentionOptions, attention};
pub use dropout::dropout;
pub use factors::Factors;
#[cfg(feature = "flex")]
pub(crate) use flex::is_flex_backend;
pub use layer_norm::add_layer_norm;
pub use layout::TokenLayout;
pub use linear::linear;
