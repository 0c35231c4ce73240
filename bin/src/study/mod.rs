//! A study: the same fine-tuning with many seeds and settings, to see how its results are distributed.
//!
//! A [`Plan`] says which runs there are; a [`Study`] is the folder that has them, each in the output folder of an
//! ordinary run. Runs are computed by worker processes ([`worker`]), to which the [`pool`] hands them out: Burn's random
//! number generators belong to a process, and a run that crashes takes nothing else with it.

mod display;
mod folder;
mod init;
mod plan;
mod pool;
mod shard;
pub(crate) mod worker;

pub(crate) use folder::{KeepModels, RunState, Study};
pub(crate) use init::starter_plan;
pub(crate) use plan::Plan;
pub(crate) use pool::{Options, run};
pub(crate) use shard::Shard;
