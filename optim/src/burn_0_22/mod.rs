//! The optimizer for Burn 0.22.
//!
#![cfg_attr(not(doctest), doc = include_str!("guide.md"))]

// The example of the guide imports Burn 0.22 as `burn`, as its readers do. It is compiled and run in the package
// tests-burn-0-22: the tests of this one have Burn 0.21 under that name.

mod anchors;
mod clip;
mod groups;
mod optimizer;
mod rule;
mod schedule;

use burn_0_22::config::Config;

pub use anchors::{Anchors, AnyTensor};
pub use clip::{clip_grad_norm, grad_norm, scale_grads};
pub use groups::Groups;
pub use rule::AdamWL2SPState;

use crate::{AdamWL2SPConfig, ScheduleConfig};

impl Config for AdamWL2SPConfig {}

impl Config for ScheduleConfig {}
