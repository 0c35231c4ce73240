//! AdamW for fine-tuning: decoupled weight decay that pulls pretrained weights back to where they
//! started (L²-SP, "starting point") instead of to zero. For any [Burn](https://burn.dev) model, on any backend.
//!
//! A step of learning rate η moves a *source* (pretrained) parameter θ by η·λ₁·(θ⁰ − θ) towards its
//! pretrained value θ⁰ and a *novel* one, such as a new head, by η·λ₂·θ towards zero, each in addition
//! to AdamW's own step. The full rule is documented at [`AdamWL2SP`].
//!
//! # Supported versions of Burn
//!
//! | Burn | feature | where |
//! |---|---|---|
//! | 0.21 | `burn-0-21` (default) | the root of this crate |
//! | 0.22 | `burn-0-22` | the module `burn_0_22`; `AdamWL2SPConfig`, `ScheduleConfig` and `OptimizerError` are at the root for both |
//!
//! For Burn 0.22 alone, without compiling Burn 0.21:
//!
//! ```toml
//! adamw-l2sp = { version = "0.1", default-features = false, features = ["burn-0-22"] }
//! ```
//!
#![cfg_attr(feature = "burn-0-21", doc = include_str!("burn_0_21/guide.md"))]
//!
//! # Features
//!
//! | feature | default | effect |
//! |---|---|---|
//! | `burn-0-21` | yes | the optimizer for Burn 0.21 |
//! | `burn-0-22` | no | the optimizer for Burn 0.22 |
//! | `flex` | yes | on Burn 0.21's flex backend an update is one multi-threaded, vectorized pass over memory; on other backends, without the feature and with Burn 0.22 it is computed by the backend's operations |

#[cfg(not(any(feature = "burn-0-21", feature = "burn-0-22")))]
compile_error!("adamw-l2sp needs one of its features `burn-0-21` and `burn-0-22`");

mod anchors;
#[cfg(feature = "burn-0-21")]
mod burn_0_21;
#[cfg(feature = "burn-0-22")]
pub mod burn_0_22;
mod config;
mod error;
mod groups;
mod parameters;
mod rule;
mod schedule;

pub use anchors::AnchorMap;
#[cfg(feature = "burn-0-21")]
pub use burn_0_21::{
    AdamWL2SPOptimizer, AdamWL2SPRecord, AdamWL2SPState, Anchors, Groups, clip_grad_norm,
    grad_norm, scale_grads,
};
pub use config::AdamWL2SPConfig;
pub use error::OptimizerError;
pub use groups::{ParameterGroups, Role};
pub use rule::AdamWL2SP;
pub use schedule::{Schedule, ScheduleConfig, ScheduleKind, TotalPull};
