//! What can be computed on.

use std::io::Write;

use albert::Precision;
use clap::Args;

use crate::ProgramError;
use crate::backend;
use crate::device::{DeviceError, DeviceName, Found};

/// [`backend::choose`], with what was chosen said on standard error.
///
/// # Errors
/// As there.
pub fn choose(asked: Option<DeviceName>, precision: Precision) -> Result<Found, DeviceError> {
    let device = backend::choose(asked, precision)?;
    eprintln!("device {device}, {}", precision.name());
    Ok(device)
}

/// The flags of `devices`.
#[derive(Args, Debug)]
pub struct DevicesArgs {}

/// Print the devices that the program can use, those that it cannot and why, and what it was built without.
///
/// # Errors
/// Standard output that cannot be written.
pub fn devices(_: &DevicesArgs) -> Result<(), ProgramError> {
    let mut lines = Vec::new();
    for (kind, devices) in backend::devices() {
        match devices {
            Ok(devices) => lines.extend(devices.into_iter().map(|device| {
                let usable = match backend::try_out(device.name, Precision::Float32) {
                    Ok(()) if device.is_software => {
                        "usable, but slow: the CPU plays a GPU".to_owned()
                    }
                    Ok(()) => "usable".to_owned(),
                    Err(error) => format!("not usable: {error}"),
                };
                format!("{device}: {usable}")
            })),
            Err(reason) => lines.push(format!("{}: not there: {reason}", kind.name())),
        }
    }
    lines.extend(backend::not_compiled_in().map(|kind| {
        format!(
            "{}: not built in: {}; it comes with --features {}",
            kind.name(),
            kind.description(),
            kind.feature()
        )
    }));
    let mut stdout = std::io::stdout();
    lines.iter().try_for_each(|line| writeln!(stdout, "{line}")).map_err(ProgramError::stdout)
}
