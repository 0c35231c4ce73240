//! The kernels for the flex backend.
//!
//! | module | what it holds |
//! |---|---|
//! | `activation`, `attention`, `dropout`, `layer_norm`, `linear` | one operation each, forward and backward |
//! | `operation` | how an operation takes part in Burn's autodiff |
//! | `product` | matrix products, in float32 and of bf16 factors |
//! | `heads` | the heads of attention as blocks of a matrix of tokens |
//! | `kept` | what is kept for the backward pass |
//! | `elements` | parallel, vectorized loops and sums |

mod activation;
mod attention;
mod dropout;
mod elements;
mod heads;
mod kept;
mod layer_norm;
mod linear;
mod operation;
mod product;
#[cfg(test)]
pub(super) mod testing;

pub(super) use activation::activate;
pub(super) use attention::attention;
pub(super) use dropout::dropout;
pub(super) use layer_norm::add_layer_norm;
pub(super) use linear::linear;
pub(super) use operation::is_flex;
pub(crate) use operation::is_flex_backend;
