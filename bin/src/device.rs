//! Devices by name: what `--device` may say, what there is, what can be wrong with it.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kind of device; each is one Burn backend, or one of several ways into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table says what each is")]
pub enum Kind {
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
}

/// What is written, which feature of the build brings it, what it is: best first, where several can be had.
pub const KINDS: [(Kind, &str, &str, &str); 11] = [
    (Kind::Cuda, "cuda", "cuda", "NVIDIA's GPUs, by Burn's own kernels"),
    (Kind::Rocm, "rocm", "rocm", "AMD's GPUs, by Burn's own kernels"),
    (Kind::Metal, "metal", "metal", "Apple's GPUs, by Burn's own kernels in Metal's language"),
    (Kind::Vulkan, "vulkan", "vulkan", "any GPU with Vulkan, by Burn's own kernels in SPIR-V"),
    (Kind::Wgpu, "wgpu", "wgpu", "any GPU that wgpu knows, by Burn's own kernels"),
    (Kind::TchCuda, "tch:cuda", "tch", "NVIDIA's GPUs, by PyTorch's library"),
    (Kind::TchMps, "tch:mps", "tch", "Apple's GPUs, by PyTorch's library"),
    (Kind::Cpu, "cpu", "flex", "the CPU, in Rust: Burn's flex with the operations of this project"),
    (Kind::Tch, "tch", "tch", "the CPU, by PyTorch's library"),
    (Kind::CubeclCpu, "cubecl-cpu", "cpu", "the CPU, by Burn's own kernels"),
    (Kind::NdArray, "ndarray", "ndarray", "the CPU, in Rust: Burn's ndarray"),
];

impl Kind {
    fn row(self) -> (Kind, &'static str, &'static str, &'static str) {
        let row = KINDS.into_iter().find(|(kind, ..)| *kind == self);
        // Every kind has its row; a test says so.
        row.unwrap_or((self, "", "", ""))
    }

    /// As in `--device`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The feature to build the program with.
    pub fn feature(self) -> &'static str {
        self.row().2
    }

    /// In words.
    pub fn description(self) -> &'static str {
        self.row().3
    }

    /// Whether there can be more than one.
    fn is_numbered(self) -> bool {
        !matches!(self, Self::Cpu | Self::Tch | Self::TchMps | Self::CubeclCpu | Self::NdArray)
    }
}

/// A device as it is written: `cpu`, `cuda`, `cuda:1`, `tch:cuda:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName {
    /// Its kind.
    pub kind: Kind,
    /// Which one of its kind, from 0.
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
            "flex" => Some(Kind::Cpu),
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

impl TryFrom<String> for DeviceName {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

/// A device that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// How it is asked for.
    pub name: DeviceName,
    /// What it calls itself.
    pub model: String,
    /// In bytes, where known.
    pub memory: Option<u64>,
    /// Whether it only plays a GPU: its work is done by the CPU, slowly.
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
    /// No such name.
    #[error("{0} is no device; known are {names}, and GPUs are counted as in cuda:1", names = names())]
    Unknown(String),
    /// A device that this build knows nothing of.
    #[error(
        "this program was built without {0}; build it with `cargo build --release -p bin --features {feature}`, or take \
         another --device: `devices` lists what there is", feature = .0.kind.feature()
    )]
    NotCompiledIn(DeviceName),
    /// Nothing of the kind is there, for a reason.
    #[error("there is no {name}: {reason}")]
    Missing {
        /// What was asked for.
        name: DeviceName,
        /// What is missing, and what to do about it.
        reason: String,
    },
    /// The device is there, but does not work.
    #[error(
        "{name} is there, but does not work: {reason}. Look at its driver, or take another --device: `devices` lists \
         what there is"
    )]
    Broken {
        /// What was asked for.
        name: DeviceName,
        /// What it said when it was tried.
        reason: String,
    },
    /// The device does not compute with numbers of this kind.
    #[error("{name} does not compute in {precision}; use --precision fp32")]
    Precision {
        /// The device.
        name: DeviceName,
        /// As `bf16`.
        precision: &'static str,
    },
    /// Nothing that was built in can be used.
    #[error("none of the devices that this program was built for can be used: {0}")]
    None(String),
}

impl DeviceError {
    /// Whether nothing but the command line is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::NotCompiledIn(_) | Self::Precision { .. })
    }
}

fn names() -> String {
    KINDS.map(|row| row.1).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
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
        ] {
            assert_eq!(text.parse::<DeviceName>().expect(text).to_string(), written);
        }
    }

    #[test]
    fn other_names_are_refused_with_the_known_ones() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "tch:0", ":1"] {
            let error = text.parse::<DeviceName>().expect_err(text).to_string();
            assert!(error.contains("tch:cuda, tch:mps, cpu"), "{error}");
        }
    }

    #[test]
    fn every_kind_has_its_row() {
        for (kind, name, feature, description) in KINDS {
            assert_eq!(kind.row(), (kind, name, feature, description));
            assert!(!name.is_empty());
        }
        // A kind more than there are rows would be the last one's successor.
        assert_eq!(Kind::NdArray as usize + 1, KINDS.len());
    }
}
