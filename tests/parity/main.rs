//! The same results as the original optimizer and transformers, on every usable device. A single test program, because each
//! contains all backends.
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod layouts;
mod models;
mod optim;
mod trajectory;
mod unchanged;
