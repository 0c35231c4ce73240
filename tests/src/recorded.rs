//! Finding recorded cases, reading their tensors, comparing. Nothing here depends on Burn: this file is also part of
//! `tests/burn-0-22`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use adamw_l2sp::{AdamWL2SP, AdamWL2SPConfig};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The folder of the cases.
pub fn own_cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(crate::CASES)
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

/// `case.json` of a recorded run of the original optimizer. `tensors.safetensors` has `init/NAME`, `grad/STEP/NAME` and
/// `param/STEP/NAME`; a parameter without a gradient at a step is unchanged.
#[derive(Deserialize)]
pub struct OptimCase {
    /// The number of steps.
    pub steps: usize,
    /// The learning rate of each step.
    pub lr: Vec<f64>,
    beta1: f64,
    beta2: f64,
    eps: f64,
    decay_source: f64,
    decay_novel: f64,
    amsgrad: bool,
    maximize: bool,
    source: Vec<String>,
    decayed: Vec<String>,
}

impl OptimCase {
    /// Read the case in `folder` and its tensors.
    ///
    /// # Panics
    /// One of the files cannot be read or is malformed.
    pub fn read(folder: &Path) -> (Self, Arrays) {
        let case: Self = read_json(&folder.join("case.json"));
        assert_eq!(case.lr.len(), case.steps, "{}", folder.display());
        (case, Arrays::read(&folder.join("tensors.safetensors")))
    }

    /// The rule of the parameter `name`.
    ///
    /// # Panics
    /// A value of the case is out of range.
    pub fn rule(&self, name: &str) -> AdamWL2SP {
        let rule = AdamWL2SPConfig::new()
            .with_beta_1(self.beta1)
            .with_beta_2(self.beta2)
            .with_epsilon(self.eps)
            .with_source_decay(self.decay_source)
            .with_novel_decay(self.decay_novel)
            .with_amsgrad(self.amsgrad)
            .with_maximize(self.maximize)
            .build()
            .expect("a valid case");
        let listed = |names: &[String]| names.iter().any(|other| other == name);
        let rule = if listed(&self.source) { rule } else { rule.novel() };
        if listed(&self.decayed) { rule } else { rule.undecayed() }
    }
}

/// The relative tolerance of an [`OptimCase`]. The original itself is within 2e-6 of the exact rule.
pub const OPTIM_TOLERANCE: f64 = 5e-6;
