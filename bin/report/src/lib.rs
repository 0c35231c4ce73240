//! The statistics.
#![allow(dead_code)]
mod statistics;
