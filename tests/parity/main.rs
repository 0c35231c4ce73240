//! The same results as the original optimizer and transformers, on every device that can be used here. One test program,
//! since each has all backends compiled in.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod layouts;
mod models;
mod optim;
mod trajectory;
mod unchanged;
