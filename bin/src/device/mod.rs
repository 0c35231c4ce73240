//! What a run computes on: devices by [`name`](DeviceName), and the Burn backends behind them.

mod backend;
mod lazy;
mod name;
mod precision;
#[cfg(feature = "xla")]
mod xla;

pub use backend::{
    Work, WorkOnAll, choose, choose_all, devices, not_compiled_in, run, run_on_all, test,
};
pub(crate) use lazy::{compilations, seed};
pub use lazy::{compute_recorded, finish};
pub use name::{DeviceError, DeviceKind, DeviceName, Devices, Found, KINDS};
pub use precision::PrecisionName;
