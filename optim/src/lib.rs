//! `AdamWL2SP`: AdamW whose decoupled weight decay pulls pretrained weights back to where they
//! started (L²-SP, "starting point") instead of to zero. A plug-in for any [Burn](burn) model, on
//! any backend.
//!
//! | part | what it is |
//! |---|---|
//! | [`AdamWL2SPConfig`] | the hyper-parameters; [`build`](AdamWL2SPConfig::build)s one group, [`init`](AdamWL2SPConfig::init)s a whole module |
//! | [`AdamWL2SP`] | the update rule, a [`SimpleOptimizer`](burn::optim::SimpleOptimizer) |
//! | [`Groups`] | which parameters are source, novel or undecayed |
//! | [`Anchors`] | the pretrained values θ⁰, by name, and the distance ‖θ − θ⁰‖² from them |
//! | [`AdamWL2SPOptimizer`] | the rule applied to a module: goes wherever Burn takes an optimizer |
//! | [`clip_grad_norm`] | global-norm gradient clipping without a host synchronisation |
//! | [`ScheduleConfig`] | warm-up, then linear, cosine or constant learning rate, as in transformers |
//!
//! ```
//! use adamw_l2sp::{AdamWL2SPConfig, Groups, clip_grad_norm};
//! use burn::backend::{Autodiff, Flex};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::{GradientsParams, Optimizer};
//! use burn::prelude::*;
//!
//! type B = Autodiff<Flex>;
//!
//! #[derive(Module, Debug)]
//! struct Classifier<B: Backend> {
//!     encoder: Linear<B>,
//!     head: Linear<B>,
//! }
//!
//! let device = Default::default();
//! let mut model = Classifier::<B> {
//!     encoder: LinearConfig::new(4, 8).init(&device), // pretrained, in real life
//!     head: LinearConfig::new(8, 2).init(&device),
//! };
//!
//! let mut optimizer = AdamWL2SPConfig::new()
//!     .with_source_decay(0.5)
//!     .with_novel_decay(0.01)
//!     .init(&model, Groups::new().source("encoder").biases_and_norms_undecayed())?;
//!
//! let input = Tensor::<B, 2>::ones([3, 4], &device);
//! let loss = model.head.forward(model.encoder.forward(input)).powf_scalar(2.0).mean();
//! let mut grads = GradientsParams::from_grads(loss.backward(), &model);
//! let _norm = clip_grad_norm(&mut grads, &model, 1.0);
//! model = optimizer.step(2e-5, model, grads);
//! # Ok::<(), adamw_l2sp::OptimizerError>(())
//! ```

mod adamw_l2sp;
mod anchors;
mod clip;
mod config;
mod error;
#[cfg(feature = "flex")]
mod flex;
mod groups;
mod optimizer;
mod parameters;
mod rule;
mod schedule;

pub use adamw_l2sp::{AdamWL2SP, AdamWL2SPState};
pub use anchors::Anchors;
pub use clip::{clip_grad_norm, grad_norm, scale_grads};
pub use config::AdamWL2SPConfig;
pub use error::OptimizerError;
pub use groups::{Groups, Role};
pub use optimizer::{AdamWL2SPOptimizer, AdamWL2SPRecord};
pub use schedule::{Schedule, ScheduleConfig, ScheduleKind};
