//! What a run computes on: devices by [`name`](DeviceName), and the Burn backends behind them.

mod backend;
mod name;

pub use backend::{Work, choose, devices, not_compiled_in, run, test};
pub use name::{DeviceError, DeviceKind, DeviceName, Found, KINDS};
