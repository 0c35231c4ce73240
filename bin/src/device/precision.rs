//! The precision that `--precision` names.

use albert::Precision;
use serde::{Deserialize, Serialize};

use super::backend::test;
use super::name::{DeviceKind, Found};

/// A precision, or `auto`, which is resolved for the devices of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionName {
    /// [`Precision::Float32`].
    #[default]
    Fp32,
    /// [`Precision::BFloat16`].
    Bf16,
    /// [`Precision::Float16`].
    Fp16,
    /// bf16 where that is fast, otherwise fp32.
    Auto,
}

impl From<Precision> for PrecisionName {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Float32 => Self::Fp32,
            Precision::BFloat16 => Self::Bf16,
            Precision::Float16 => Self::Fp16,
        }
    }
}

impl PrecisionName {
    /// The precision that a device must support.
    pub fn required(self) -> Precision {
        match self {
            Self::Fp32 | Self::Auto => Precision::Float32,
            Self::Bf16 => Precision::BFloat16,
            Self::Fp16 => Precision::Float16,
        }
    }

    /// The precision to use on these devices. They must support the [required](Self::required) one.
    pub fn on(self, devices: &[Found]) -> Precision {
        match self == Self::Auto && devices.iter().all(is_fast_in_bf16) {
            true => Precision::BFloat16,
            false => self.required(),
        }
    }
}

fn is_fast_in_bf16(device: &Found) -> bool {
    let has_instructions = match device.name.kind {
        DeviceKind::Cpu | DeviceKind::Tch => Precision::BFloat16.is_native_on_cpu(),
        DeviceKind::NdArray | DeviceKind::CubeclCpu | DeviceKind::Xla => false,
        _ => !device.is_software,
    };
    has_instructions && test(device.name, Precision::BFloat16).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceName;

    fn device(kind: DeviceKind, is_software: bool) -> Found {
        let name = DeviceName { kind, index: 0 };
        Found { name, model: String::new(), memory: None, is_software }
    }

    #[test]
    fn auto_is_bf16_only_where_every_device_is_fast_in_it() {
        let cpu = device(DeviceKind::Cpu, false);
        let native = match Precision::BFloat16.is_native_on_cpu() {
            true => Precision::BFloat16,
            false => Precision::Float32,
        };
        assert_eq!(PrecisionName::Auto.on(&[cpu.clone(), cpu.clone()]), native);
        for other in [device(DeviceKind::NdArray, false), device(DeviceKind::Vulkan, true)] {
            assert_eq!(PrecisionName::Auto.on(&[cpu.clone(), other]), Precision::Float32);
        }
    }

    #[test]
    fn a_named_precision_is_kept() {
        let cpu = [device(DeviceKind::Cpu, false)];
        for precision in [Precision::Float32, Precision::BFloat16, Precision::Float16] {
            assert_eq!(PrecisionName::from(precision).on(&cpu), precision);
            assert_eq!(PrecisionName::from(precision).required(), precision);
        }
    }
}
