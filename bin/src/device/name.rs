//! Devices by name: what `--device` accepts, and what can be wrong with it.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of device: a Burn backend, or one of the devices of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table describes each")]
pub enum DeviceKind {
    Cuda,
    Rocm,
    Metal,
    Vulkan,
    Wgpu,
    TchCuda,
    TchMps,
    Cpu,
    Tch,
    CubeclCpu,
    NdArray,
    Xla,
}

/// The name of each kind, the Cargo feature it needs and a description; the preferred ones first.
#[rustfmt::skip]
pub const KINDS: [(DeviceKind, &str, &str, &str); 12] = {
    use DeviceKind::*;
    [
        (Cuda, "cuda", "cuda", "NVIDIA GPUs, with Burn's own kernels"),
        (Rocm, "rocm", "rocm", "AMD GPUs, with Burn's own kernels"),
        (Metal, "metal", "metal", "Apple GPUs, with Burn's own kernels in Metal"),
        (Vulkan, "vulkan", "vulkan", "any GPU with Vulkan, with Burn's own kernels in SPIR-V"),
        (Wgpu, "wgpu", "wgpu", "any GPU that wgpu supports, with Burn's own kernels in WGSL"),
        (TchCuda, "tch:cuda", "tch", "NVIDIA GPUs, with libtorch"),
        (TchMps, "tch:mps", "tch", "Apple GPUs, with libtorch"),
        (Cpu, "cpu", "flex", "the CPU, in Rust: Burn's flex backend with kernels of this project"),
        (Tch, "tch", "tch", "the CPU, with libtorch"),
        (CubeclCpu, "cubecl-cpu", "cpu", "the CPU, with Burn's own kernels"),
        (NdArray, "ndarray", "ndarray", "the CPU, in Rust: Burn's ndarray backend"),
        (Xla, "xla", "xla", "TPUs and whatever else torch_xla reaches, with libtorch; experimental"),
    ]
};

impl DeviceKind {
    fn row(self) -> (DeviceKind, &'static str, &'static str, &'static str) {
        let row = KINDS.into_iter().find(|(kind, ..)| *kind == self);
        // Every kind has its row; a test checks that.
        row.unwrap_or((self, "", "", ""))
    }

    /// The name that `--device` accepts.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The Cargo feature that it needs.
    pub fn feature(self) -> &'static str {
        self.row().2
    }

    /// The command that builds this program with it.
    pub fn build_command(self) -> String {
        let program = match self {
            Self::Xla => "python bin/xla/cargo.py",
            Self::Tch => "LIBTORCH_USE_PYTORCH=1 cargo",
            _ => "cargo",
        };
        format!("{program} build --release -p bin --features {}", self.feature())
    }

    /// What it computes on, and how.
    pub fn description(self) -> &'static str {
        self.row().3
    }

    /// Whether a computation is compiled, in seconds to minutes, for each shape of its batches.
    pub fn compiles_each_shape(self) -> bool {
        self == Self::Xla
    }

    /// Whether there can be more than one, so that they are numbered.
    fn is_numbered(self) -> bool {
        !matches!(self, Self::Cpu | Self::Tch | Self::TchMps | Self::CubeclCpu | Self::NdArray)
    }
}

/// The name of a device: `cpu`, `cuda`, `cuda:1`, `tch:cuda:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceName {
    /// The kind of the device.
    pub kind: DeviceKind,
    /// The index among the devices of its kind, from 0.
    pub index: usize,
}

impl Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.is_numbered() {
            true => write!(f, "{}:{}", self.kind.name(), self.index),
            false => f.write_str(self.kind.name()),
        }
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let known = |name: &str| match name {
            "flex" => Some(DeviceKind::Cpu),
            _ => KINDS.into_iter().find(|row| row.1 == name).map(|row| row.0),
        };
        if let Some(kind) = known(text) {
            return Ok(Self { kind, index: 0 });
        }
        text.rsplit_once(':')
            .and_then(|(name, index)| Some((known(name)?, index.parse().ok()?)))
            .filter(|(kind, _)| kind.is_numbered())
            .map(|(kind, index)| Self { kind, index })
            .ok_or_else(|| DeviceError::Unknown(text.into()))
    }
}

/// The devices of a run, all of one kind, such as `cuda:0,cuda:1`; a device may be named more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Devices(Vec<DeviceName>);

impl Devices {
    /// The device that holds the model and the optimizer.
    pub fn first(&self) -> DeviceName {
        self.0[0]
    }

    /// All devices, at least one.
    pub fn names(&self) -> &[DeviceName] {
        &self.0
    }
}

impl From<DeviceName> for Devices {
    fn from(name: DeviceName) -> Self {
        Self(vec![name])
    }
}

impl Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Devices {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let names = text.split(',').map(|name| name.trim().parse());
        let names: Vec<DeviceName> = names.collect::<Result<_, _>>()?;
        let first = names[0];
        match names.iter().find(|name| name.kind != first.kind) {
            Some(&other) => Err(DeviceError::Mixed(first, other)),
            None => Ok(Self(names)),
        }
    }
}

impl TryFrom<String> for Devices {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

impl From<Devices> for String {
    fn from(devices: Devices) -> Self {
        devices.to_string()
    }
}

/// A device that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The name that `--device` accepts.
    pub name: DeviceName,
    /// The name that its driver gives it.
    pub model: String,
    /// Its memory in bytes, where known.
    pub memory: Option<u64>,
    /// Whether it is a GPU emulated by the CPU, and slow.
    pub is_software: bool,
}

impl Display for Found {
    /// As `cuda:0 (NVIDIA H100, 80 GB)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.model)?;
        if let Some(bytes) = self.memory {
            write!(f, ", {:.0} GB", bytes as f64 / 1e9)?;
        }
        f.write_str(")")
    }
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// An unknown name.
    #[error("unknown device {0}; the devices are {names}; a number selects one of several GPUs, as in cuda:1", names = names())]
    Unknown(String),
    /// Devices of different kinds for one run.
    #[error("{0} and {1} are of different kinds; the devices of a run must be of one kind")]
    Mixed(DeviceName, DeviceName),
    /// A device that this program was built without.
    #[error(
        "this program was built without {0}; build it with `{command}`, or use another --device: `l2sp devices` lists them",
        command = .0.kind.build_command()
    )]
    NotCompiledIn(DeviceName),
    /// No device of this kind was found.
    #[error("there is no {name}: {reason}")]
    Missing {
        /// The name requested.
        name: DeviceName,
        /// Which library or driver is missing, and how to install it.
        reason: String,
    },
    /// The device is there but does not work.
    #[error(
        "{name} does not work: {reason}. Check its driver, or use another --device: `l2sp devices` \
         lists them"
    )]
    Broken {
        /// The name requested.
        name: DeviceName,
        /// Why it does not work.
        reason: String,
    },
    /// The device does not support the precision.
    #[error("{name} does not support {precision}; use --precision fp32")]
    Precision {
        /// The name of the device.
        name: DeviceName,
        /// The precision, such as `bf16`.
        precision: &'static str,
    },
    /// No device can be used.
    #[error("no device can be used: {0}")]
    None(String),
}

impl DeviceError {
    /// Whether the command line is at fault.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Unknown(_) | Self::Mixed(..) | Self::NotCompiledIn(_) | Self::Precision { .. }
        )
    }
}

fn names() -> String {
    KINDS.map(|row| row.1).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for (text, written) in [
            ("cpu", "cpu"),
            ("flex", "cpu"),
            ("tch", "tch"),
            ("tch:cuda", "tch:cuda:0"),
            ("tch:cuda:1", "tch:cuda:1"),
            ("tch:mps", "tch:mps"),
            ("cuda", "cuda:0"),
            ("cuda:12", "cuda:12"),
            ("vulkan:0", "vulkan:0"),
            ("xla:1", "xla:1"),
        ] {
            assert_eq!(text.parse::<DeviceName>().expect(text).to_string(), written);
        }
    }

    #[test]
    fn a_run_has_devices_of_one_kind() {
        for (text, written) in
            [("cpu", "cpu"), ("cpu, cpu", "cpu,cpu"), ("cuda,cuda:1", "cuda:0,cuda:1")]
        {
            assert_eq!(text.parse::<Devices>().expect(text).to_string(), written);
        }
        for text in ["", "cpu,", ",cpu", "cpu,gpu"] {
            assert!(matches!(text.parse::<Devices>(), Err(DeviceError::Unknown(_))), "{text}");
        }
        let error = "cuda:0,vulkan:1".parse::<Devices>().expect_err("two kinds").to_string();
        assert!(error.starts_with("cuda:0 and vulkan:1 are of different kinds"), "{error}");
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "tch:0", ":1"] {
            let error = text.parse::<DeviceName>().expect_err(text).to_string();
            assert!(error.contains("tch:cuda, tch:mps, cpu"), "{error}");
        }
    }

    #[test]
    fn every_kind_has_a_row() {
        for (kind, name, feature, description) in KINDS {
            assert_eq!(kind.row(), (kind, name, feature, description));
            assert!(!name.is_empty());
        }
        // A kind more than there are rows would be the last one's successor.
        assert_eq!(DeviceKind::Xla as usize + 1, KINDS.len());
    }
}
