//! Shared by the parity tests: finding cases, reading their tensors, comparing.
//!
//! Cases are in `cases/KIND/NAME` in this crate and, where the environment variable
//! `PARITY_CASES` names a folder, in `$PARITY_CASES/KIND/NAME` too. A case that is missing or
//! malformed fails its test; there is no skipping.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

pub mod hub;
pub mod world;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use albert::Precision;
use burn::backend::Flex;
use burn::module::{AutodiffModule, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use l2sp::device::{self, Work};
use l2sp::device::{DeviceName, Found};
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

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

/// Run `work` on each of the [devices].
///
/// # Panics
/// As [`devices`].
pub fn on_every_device(work: impl Work<Output = ()> + Copy) {
    for device in devices() {
        eprintln!("on {device}");
        device::run(device.name, work).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// The folder of the cases in this crate.
pub fn own_cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// The folders of all cases of a kind.
///
/// # Panics
/// A folder of cases cannot be read or has none of this kind.
pub fn cases(kind: &str) -> Vec<PathBuf> {
    let roots = [Some(own_cases()), std::env::var_os("PARITY_CASES").map(PathBuf::from)];
    let mut cases = Vec::new();
    for root in roots.into_iter().flatten() {
        let folder = root.join(kind);
        let entries = ok(std::fs::read_dir(&folder), &folder);
        let before = cases.len();
        cases.extend(entries.map(|entry| ok(entry, &folder).path()).filter(|path| path.is_dir()));
        assert!(cases.len() > before, "{}: no cases", folder.display());
        cases[before..].sort();
    }
    cases
}

/// The value of a result about the file `path`.
///
/// # Panics
/// The result is an error; the message names the file.
pub fn ok<T, E: Display>(result: Result<T, E>, path: &Path) -> T {
    result.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Read a JSON file.
///
/// # Panics
/// The file cannot be read or parsed.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> T {
    let text = ok(std::fs::read_to_string(path), path);
    ok(serde_json::from_str(&text), path)
}

/// A tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// The elements in row-major order.
    pub values: Vec<f64>,
}

/// A safetensors file, by name.
pub struct Arrays {
    path: PathBuf,
    arrays: BTreeMap<String, Array>,
}

impl Arrays {
    /// Read a file of float32, int64, int32 or uint8 tensors.
    ///
    /// # Panics
    /// The file cannot be read, or has a tensor of another type.
    pub fn read(path: &Path) -> Self {
        let bytes = ok(std::fs::read(path), path);
        let file = ok(SafeTensors::deserialize(&bytes), path);
        let arrays = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let data = view.data();
                let values = match view.dtype() {
                    Dtype::F32 => elements(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
                    Dtype::I64 => elements(data, |bytes| i64::from_le_bytes(bytes) as f64),
                    Dtype::I32 => elements(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
                    Dtype::U8 => data.iter().copied().map(f64::from).collect(),
                    other => panic!("{}: {name} is {other:?}", path.display()),
                };
                (name, Array { shape: view.shape().to_vec(), values })
            })
            .collect();
        Self { path: path.to_path_buf(), arrays }
    }

    /// The tensor `name`.
    ///
    /// # Panics
    /// The file lacks the tensor.
    pub fn get(&self, name: &str) -> &Array {
        self.find(name).unwrap_or_else(|| panic!("{}: no tensor {name}", self.path.display()))
    }

    /// The tensor `name`, or `None` if the file lacks it.
    pub fn find(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    /// The tensors whose name begins with `prefix`, by the rest of the name.
    ///
    /// # Panics
    /// There are none.
    pub fn below(&self, prefix: &str) -> BTreeMap<&str, &Array> {
        let found: BTreeMap<&str, &Array> = self
            .arrays
            .iter()
            .filter_map(|(name, array)| Some((name.strip_prefix(prefix)?, array)))
            .collect();
        assert!(!found.is_empty(), "{}: nothing below {prefix}", self.path.display());
        found
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }
}

fn elements<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
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

    /// ‖a − b‖ / ‖b‖ for this array b.
    pub fn relative_error(&self, actual: &Array) -> f64 {
        assert_eq!(actual.shape, self.shape);
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let difference = norm(&mut actual.values.iter().zip(&self.values).map(|(a, b)| a - b));
        difference / norm(&mut self.values.iter().copied()).max(f64::MIN_POSITIVE)
    }

    /// max |a − b| for this array b.
    pub fn absolute_error(&self, actual: &Array) -> f64 {
        assert_eq!(actual.shape, self.shape);
        let differences = actual.values.iter().zip(&self.values).map(|(a, b)| (a - b).abs());
        // `f64::max` would ignore a NaN.
        differences
            .fold(0.0, |worst, next| if next.is_nan() || next > worst { next } else { worst })
    }
}

impl<B: Backend, const D: usize> From<Tensor<B, D>> for Array {
    fn from(tensor: Tensor<B, D>) -> Self {
        Self { shape: tensor.dims().to_vec(), values: tensor.into_data().iter().collect() }
    }
}

/// Collects the errors beyond their tolerance, and the largest error of each check.
#[derive(Default)]
pub struct Report {
    failures: Vec<String>,
    worst: BTreeMap<(String, &'static str), (f64, f64)>,
}

impl Report {
    /// Record whether the `error` of `what` in a case is within `tolerance`.
    pub fn check(
        &mut self,
        case: &Path,
        check: &'static str,
        what: &str,
        error: f64,
        tolerance: f64,
    ) {
        let name = case.file_name().map(|name| name.to_string_lossy().into_owned());
        let worst = self.worst.entry((name.unwrap_or_default(), check)).or_insert((0.0, tolerance));
        // Written so that a NaN, for which every comparison is false, fails.
        let error = if error.is_nan() { f64::INFINITY } else { error };
        worst.0 = worst.0.max(error);
        if error > tolerance {
            self.failures.push(format!("{}: {check} of {what}: {error:e}", case.display()));
        }
    }

    /// Print the largest error of each check.
    ///
    /// # Panics
    /// An error was beyond its tolerance.
    pub fn finish(self) {
        for ((case, check), (error, tolerance)) in &self.worst {
            eprintln!("{case:28} {check:28} {error:9.2e}  (tolerance {tolerance:.0e})");
        }
        assert!(!self.worst.is_empty(), "nothing was checked");
        assert!(self.failures.is_empty(), "out of tolerance:\n{}", self.failures.join("\n"));
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
    module.map(&mut Replace(grads))
}
