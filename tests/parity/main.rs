//! The same numbers as the original and transformers, on every device that can be used here: one program, since the backends
//! are compiled into each.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod albert;
mod optim;
mod trajectory;
mod unchanged;
