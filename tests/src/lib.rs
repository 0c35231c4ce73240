//! Shared by the tests: the devices under test, and recorded cases.
//!
//! Cases are in `cases/KIND/NAME` in this crate and, where the environment variable
//! `PARITY_CASES` names a folder, in `$PARITY_CASES/KIND/NAME` too. A case that is missing or
//! malformed fails its test; there is no skipping.
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

pub mod hub;
mod recorded;
pub mod world;

use std::path::PathBuf;

use albert::Precision;
use burn::backend::Flex;
use burn::module::{AutodiffModule, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use l2sp::device::{self, Work};
use l2sp::device::{DeviceName, Found};

pub use recorded::*;

/// Where the cases are in this package.
const CASES: &str = "cases";

/// The backend of the tests that run on a single one.
pub type OneBackend = Flex;

/// The devices under test: those that the environment variable `PARITY_DEVICES` names, as `cpu,tch,vulkan`, each of which
/// must be usable; without it, all usable ones that were built in, except GPUs emulated by the CPU.
///
/// # Panics
/// `PARITY_DEVICES` names a device that cannot be used, or no device can be used.
pub fn devices() -> Vec<Found> {
    if let Ok(names) = std::env::var("PARITY_DEVICES") {
        let device = |name: &str| {
            let name: DeviceName = name.parse().unwrap_or_else(|error| panic!("{error}"));
            device::choose(Some(name), Precision::Float32).unwrap_or_else(|error| panic!("{error}"))
        };
        return names.split(',').map(device).collect();
    }
    let found = device::devices().flat_map(|(_, devices)| devices.unwrap_or_default());
    let usable: Vec<_> = found
        .filter(|it| !it.is_software && device::test(it.name, Precision::Float32).is_ok())
        .collect();
    assert!(!usable.is_empty(), "no device can be used");
    usable
}

/// Run `work`, made for the cases that a device follows, on each of the [devices].
///
/// # Panics
/// As [`devices`].
pub fn on_every_device<W: Work<Output = ()>>(work: impl Fn(Cases) -> W) {
    for device in devices() {
        eprintln!("on {device}");
        let few = device.is_software && std::env::var_os("PARITY_EVERY_CASE").is_none();
        let cases = if few { Cases::Few } else { Cases::All };
        device::run(device.name, work(cases)).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Which of the recorded cases of a model a device follows.
#[derive(Clone, Copy, Debug)]
pub enum Cases {
    /// Those of every shape and option.
    All,
    /// One of each type of model: for a GPU emulated by the CPU, which compiles each of a case's many kernels for a second,
    /// unless the environment variable `PARITY_EVERY_CASE` is set.
    Few,
}

impl Cases {
    /// The folders of these cases of a kind.
    ///
    /// # Panics
    /// As [`cases`].
    pub fn of(self, kind: &str) -> Vec<PathBuf> {
        const FEW: [&str; 5] = [
            "albert/base",
            "bert/deep-relu",
            "roberta/long-padding",
            "trajectory/bert",
            "trajectory/l2sp",
        ];
        let mut folders = cases(kind);
        match self {
            Self::All => {}
            Self::Few => folders.retain(|folder| FEW.iter().any(|few| folder.ends_with(few))),
        }
        folders
    }
}

impl Array {
    /// The array as a float tensor of rank `D`.
    ///
    /// # Panics
    /// The array has another rank.
    pub fn tensor<B: Backend, const D: usize>(&self, device: &B::Device) -> Tensor<B, D> {
        let values: Vec<f32> = self.values.iter().map(|&value| value as f32).collect();
        Tensor::from_data(TensorData::new(values, self.shape.clone()), device)
    }

    /// The array as an integer tensor of rank `D`.
    ///
    /// # Panics
    /// The array has another rank.
    pub fn int_tensor<B: Backend, const D: usize>(&self, device: &B::Device) -> Tensor<B, D, Int> {
        let values: Vec<i64> = self.values.iter().map(|&value| value as i64).collect();
        Tensor::from_data(TensorData::new(values, self.shape.clone()), device)
    }
}

impl<B: Backend, const D: usize> From<Tensor<B, D>> for Array {
    fn from(tensor: Tensor<B, D>) -> Self {
        device::compute_recorded();
        Self { shape: tensor.dims().to_vec(), values: tensor.into_data().iter().collect() }
    }
}

/// `module` with every parameter replaced by its gradient, so that gradients can be saved under
/// the names and in the layout of the parameters. Parameters without one become zero.
pub fn with_gradients<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: M,
    grads: GradientsParams,
) -> M {
    struct Replace(GradientsParams);
    impl<B: AutodiffBackend> ModuleMapper<B> for Replace {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let (id, tensor, mapper) = param.consume();
            let gradient = match self.0.remove::<B::InnerBackend, D>(id) {
                Some(gradient) => Tensor::from_inner(gradient),
                None => tensor.zeros_like(),
            };
            Param::from_mapped_value(id, gradient, mapper)
        }
    }
    let module = module.map(&mut Replace(grads));
    device::compute_recorded();
    module
}
