//! The list of devices.

use std::io::Write;

use albert::Precision;

use crate::ProgramError;
use crate::device;

/// Print the devices that can be used, those that cannot and why, and what the program was built without.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn devices() -> Result<(), ProgramError> {
    let mut lines = Vec::new();
    for (kind, devices) in device::devices() {
        match devices {
            Ok(devices) => lines.extend(devices.into_iter().map(|device| {
                let usable = match device::test(device.name, Precision::Float32) {
                    Ok(()) if device.is_software => {
                        "usable but slow, emulated by the CPU".to_owned()
                    }
                    Ok(()) => "usable".to_owned(),
                    Err(error) => format!("not usable: {error}"),
                };
                format!("{device}: {usable}")
            })),
            Err(reason) => lines.push(format!("{}: not found: {reason}", kind.name())),
        }
    }
    lines.extend(device::not_compiled_in().map(|kind| {
        format!(
            "{}: not built in: {}; to build it in, run `{}`",
            kind.name(),
            kind.description(),
            kind.build_command()
        )
    }));
    let mut stdout = std::io::stdout();
    lines.iter().try_for_each(|line| writeln!(stdout, "{line}")).map_err(ProgramError::stdout)
}
