//! AdamW for fine-tuning: decoupled weight decay that pulls pretrained weights back to where they
//! started (L²-SP, "starting point") instead of to zero. For any [Burn](burn) model, on any backend.
//!
//! A step of learning rate η moves a *source* (pretrained) parameter θ by η·λ₁·(θ⁰ − θ) towards its
//! pretrained value θ⁰ and a *novel* one, such as a new head, by η·λ₂·θ towards zero, each besides
//! AdamW's own step. The full rule is documented at [`AdamWL2SP`].
//!
//! # Example
//!
//! ```
//! use adamw_l2sp::{AdamWL2SPConfig, Groups, ScheduleConfig, clip_grad_norm};
//! use burn::backend::{Autodiff, Flex};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::optim::lr_scheduler::LrScheduler;
//! use burn::optim::{GradientsParams, Optimizer};
//! use burn::prelude::*;
//!
//! type B = Autodiff<Flex>;
//!
//! #[derive(Module, Debug)]
//! struct Classifier<B: Backend> {
//!     encoder: Linear<B>, // pretrained, in practice
//!     head: Linear<B>,
//! }
//!
//! let device = Default::default();
//! let mut model = Classifier::<B> {
//!     encoder: LinearConfig::new(4, 8).init(&device),
//!     head: LinearConfig::new(8, 2).init(&device),
//! };
//!
//! // The encoder is source; biases and norms do not decay.
//! let groups = Groups::new().source("encoder").biases_and_norms_undecayed();
//! let mut optimizer = AdamWL2SPConfig::new()
//!     .with_source_decay(0.5)
//!     .with_novel_decay(0.01)
//!     .init(&model, groups)?;
//! let mut schedule = ScheduleConfig::new(2e-5, 10, 100).init()?;
//!
//! for _ in 0..3 {
//!     let input = Tensor::<B, 2>::ones([3, 4], &device);
//!     let loss = model.head.forward(model.encoder.forward(input)).powf_scalar(2.0).mean();
//!     let mut grads = GradientsParams::from_grads(loss.backward(), &model);
//!     let _norm = clip_grad_norm(&mut grads, &model, 1.0);
//!     model = optimizer.step(schedule.step(), model, grads);
//! }
//! # Ok::<(), adamw_l2sp::OptimizerError>(())
//! ```
//!
//! # Which type do I need?
//!
//! | to … | use |
//! |---|---|
//! | choose the hyper-parameters | [`AdamWL2SPConfig`]; [`init`](AdamWL2SPConfig::init) makes an optimizer for a whole module |
//! | say which parameters are source, undecayed or frozen, and scale their learning rates | [`Groups`] |
//! | step a module, in a custom loop or in burn-train's Learner | [`AdamWL2SPOptimizer`], which implements [`Optimizer`](burn::optim::Optimizer) |
//! | resume a run with its original anchors | [`AdamWL2SPRecord`] |
//! | pull back to the weights of a file or of another module | [`Anchors`] with [`Groups::anchored_at`], or [`Groups::source_in`] |
//! | measure ‖θ − θ⁰‖² | [`Anchors::squared_distance`] |
//! | clip by the global gradient norm | [`clip_grad_norm`] |
//! | schedule the learning rate as in transformers | [`ScheduleConfig`] |
//! | compare the strength of the pull between runs | [`ScheduleConfig::total_pull`] |
//! | step a single tensor | [`AdamWL2SP`], a [`SimpleOptimizer`](burn::optim::SimpleOptimizer) |
//!
//! # Features
//!
//! `flex` (default): on Burn's flex backend the update is one multi-threaded, vectorised pass over
//! memory. On other backends, and without the feature, it is computed by the backend's operations.

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
pub use schedule::{Schedule, ScheduleConfig, ScheduleKind, TotalPull};
