//! Weights as Hugging Face stores them: `model.safetensors` beside `config.json`.
//!
//! A parameter's path in the Burn module is its name in the file, but for the norms:
//!
//! | Burn | Hugging Face |
//! |---|---|
//! | `albert.embeddings.{word,position,token_type}_embeddings.weight` | the same |
//! | `albert.embeddings.layer_norm.{gamma,beta}` | `albert.embeddings.LayerNorm.{weight,bias}` |
//! | `albert.encoder.embedding_hidden_mapping_in.{weight,bias}` | the same |
//! | `albert.encoder.albert_layer_groups.G.albert_layers.L.` … | the same |
//! | … `attention.{query,key,value,dense}.{weight,bias}` | the same |
//! | … `attention.layer_norm.{gamma,beta}` | … `attention.LayerNorm.{weight,bias}` |
//! | … `{ffn,ffn_output}.{weight,bias}` | the same |
//! | … `full_layer_layer_norm.{gamma,beta}` | … `full_layer_layer_norm.{weight,bias}` |
//! | `albert.pooler.{weight,bias}` | the same |
//! | `classifier.{weight,bias}` | the same |
//! | `predictions.dense.{weight,bias}`, `predictions.bias` | the same |
//! | `predictions.layer_norm.{gamma,beta}` | `predictions.LayerNorm.{weight,bias}` |
//! | `sop_classifier.classifier.{weight,bias}` | the same |
//!
//! A linear weight is `[inputs, outputs]` in Burn and `[outputs, inputs]` in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_store::{
    BurnToPyTorchAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, SafetensorsStore,
    TensorSnapshot,
};
use thiserror::Error;

use crate::classification::AlbertForSequenceClassification;
use crate::config::{AlbertConfig, CONFIG_FILE};
use crate::init;
use crate::model::AlbertModel;
use crate::pretraining::AlbertForPreTraining;

/// The file of a model folder that holds its weights.
const WEIGHTS_FILE: &str = "model.safetensors";

/// The norms' names, Burn's and Hugging Face's: the module's, then those of its scale and shift.
const NORM: (&str, &str) = (".layer_norm.", ".LayerNorm.");
const NORM_PARAMETERS: [(&str, &str); 2] = [(".gamma", ".weight"), (".beta", ".bias")];

/// What the names of the encoder begin with inside a model that has a head.
const ENCODER: &str = "albert.";

/// Tensors that are one and the same in the model but may be stored twice, or under the second name only.
const TIED: [(&str, &str); 2] = [
    ("albert.embeddings.word_embeddings.weight", "predictions.decoder.weight"),
    ("predictions.bias", "predictions.decoder.bias"),
];

/// The Hugging Face name of the parameter at a path of a Burn module.
///
/// ```
/// assert_eq!(
///     albert::hugging_face_name("albert.embeddings.layer_norm.gamma"),
///     "albert.embeddings.LayerNorm.weight"
/// );
/// assert_eq!(albert::hugging_face_name("classifier.bias"), "classifier.bias");
/// ```
pub fn hugging_face_name(path: &str) -> String {
    let name = path.replace(NORM.0, NORM.1);
    for (burn, hugging_face) in NORM_PARAMETERS {
        if let Some(module) = name.strip_suffix(burn) {
            return format!("{module}{hugging_face}");
        }
    }
    name
}

/// What loading left out, by Hugging Face name and in alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters of the model's head that the file lacks, and that were therefore drawn anew.
    pub new: Vec<String>,
    /// Tensors of the file that the model has no place for.
    pub unused: Vec<String>,
}

/// A tensor that has another shape in the file than in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// Its Hugging Face name.
    pub name: String,
    /// Its shape in the file.
    pub found: Vec<usize>,
    /// The shape the model needs, laid out as in the file.
    pub expected: Vec<usize>,
}

impl fmt::Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {:?} in the file and {:?} in the model",
            self.name, self.found, self.expected
        )
    }
}

/// Why weights cannot be loaded or saved.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The folder holds no `model.safetensors`.
    #[error("{} holds no {WEIGHTS_FILE}: {hint}", folder.display())]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// What was found instead, and what to do.
        hint: &'static str,
    },
    /// The file is not a safetensors file, or not a whole one.
    #[error("{} is not a complete safetensors file ({reason}); fetch or write it again", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file's tensors are not those of the model that the configuration describes.
    #[error(
        "{} does not fit the model that its {CONFIG_FILE} describes{}{}{}",
        path.display(),
        list("\n  missing: ", missing),
        list("\n  misshapen: ", misshapen),
        list("\n  not floating point: ", not_float),
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Tensors outside the head that the file lacks.
        missing: Vec<String>,
        /// Tensors of another shape.
        misshapen: Vec<Misshapen>,
        /// Tensors of integers or truth values.
        not_float: Vec<String>,
    },
    /// The file stores two different tensors where the model has a single one.
    #[error("{}: {copy} differs from {name}, but the model ties the two into one", path.display())]
    Untied {
        /// The file.
        path: PathBuf,
        /// The tensor the model has.
        name: &'static str,
        /// Its second copy.
        copy: &'static str,
    },
    /// The folder cannot be written to.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

fn list<T: ToString>(title: &str, items: &[T]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    format!("{title}{}", items.join(", "))
}

impl<B: Backend> AlbertModel<B> {
    /// Loads the encoder of a Hugging Face folder, whatever head its weights have.
    ///
    /// # Errors
    ///
    /// As [`AlbertForSequenceClassification::from_pretrained`].
    pub fn from_pretrained(
        folder: &Path,
        config: &AlbertConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Self, LoadReport), WeightsError> {
        load(Self::new(config, device), folder, config, seed)
    }

    /// Writes a Hugging Face folder that `AlbertModel.from_pretrained` loads in Python.
    ///
    /// # Errors
    ///
    /// As [`AlbertForSequenceClassification::save_pretrained`].
    pub fn save_pretrained(
        &self,
        config: &AlbertConfig,
        folder: &Path,
    ) -> Result<(), WeightsError> {
        save(self, config, "AlbertModel", folder)
    }
}

impl<B: Backend> AlbertForSequenceClassification<B> {
    /// Loads `model.safetensors` of a Hugging Face folder: a classifier, or the encoder of a base or pre-training model
    /// under a classifier that is drawn from `seed` as in [`AlbertModel::init`]. Files in half precision are widened to
    /// float32.
    ///
    /// `config` must be [valid](AlbertConfig::validate); it is usually [read](AlbertConfig::from_folder) from the same
    /// folder.
    ///
    /// # Errors
    ///
    /// No weights in the folder, a file that is damaged or not in the safetensors format, or one that lacks a tensor of
    /// the encoder or has one of another shape; a classifier for another number of labels is one of those. All such
    /// tensors are named.
    pub fn from_pretrained(
        folder: &Path,
        config: &AlbertConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Self, LoadReport), WeightsError> {
        load(Self::new(config, device), folder, config, seed)
    }

    /// Writes a Hugging Face folder that `AlbertForSequenceClassification.from_pretrained` loads in Python:
    /// `model.safetensors` and `config.json`, each written beside and then renamed. The folder is made if need be.
    ///
    /// # Errors
    ///
    /// Names the file or folder that cannot be written.
    pub fn save_pretrained(
        &self,
        config: &AlbertConfig,
        folder: &Path,
    ) -> Result<(), WeightsError> {
        save(self, config, "AlbertForSequenceClassification", folder)
    }
}

impl<B: Backend> AlbertForPreTraining<B> {
    /// Loads `model.safetensors` of a Hugging Face folder; heads the file lacks are drawn from `seed`. The decoder's
    /// weight is the word embeddings, whether or not the file holds it a second time.
    ///
    /// # Errors
    ///
    /// As [`AlbertForSequenceClassification::from_pretrained`], and where the file holds a decoder of its own.
    pub fn from_pretrained(
        folder: &Path,
        config: &AlbertConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Self, LoadReport), WeightsError> {
        load(Self::new(config, device), folder, config, seed)
    }

    /// Writes a Hugging Face folder that `AlbertForPreTraining.from_pretrained` loads in Python.
    ///
    /// # Errors
    ///
    /// As [`AlbertForSequenceClassification::save_pretrained`].
    pub fn save_pretrained(
        &self,
        config: &AlbertConfig,
        folder: &Path,
    ) -> Result<(), WeightsError> {
        save(self, config, "AlbertForPreTraining", folder)
    }
}

fn load<B: Backend, M: Module<B>>(
    mut module: M,
    folder: &Path,
    config: &AlbertConfig,
    seed: u64,
) -> Result<(M, LoadReport), WeightsError> {
    let path = find_weights(folder)?;
    let unreadable = |reason: String| WeightsError::Unreadable { path: path.clone(), reason };

    let mut store = SafetensorsStore::from_file(&path);
    let file = store.get_all_snapshots().map_err(|error| unreadable(error.to_string()))?;

    let mut parameters = Parameters::default();
    module.visit(&mut parameters);
    let has_head = parameters.found.iter().any(|parameter| parameter.name.starts_with(ENCODER));

    let mut unused: BTreeSet<&str> = file.keys().map(String::as_str).collect();
    let (mut found, mut new) = (Vec::new(), BTreeMap::new());
    let (mut missing, mut misshapen, mut not_float) = (Vec::new(), Vec::new(), Vec::new());
    for Parameter { path, name, shape } in &parameters.found {
        match names_in_file(name).into_iter().find_map(|name| file.get_key_value(&name)) {
            Some((stored, tensor)) => {
                unused.remove(stored.as_str());
                if *tensor.shape != *shape {
                    misshapen.push(Misshapen {
                        name: stored.clone(),
                        found: tensor.shape.to_vec(),
                        expected: shape.clone(),
                    });
                }
                if !tensor.dtype.is_float() {
                    not_float.push(stored.clone());
                }
                found.push(as_float32_at(path, tensor));
            }
            None if has_head && !name.starts_with(ENCODER) => {
                new.insert(name.clone(), path.clone());
            }
            None => missing.push(name.clone()),
        }
    }
    if !(missing.is_empty() && misshapen.is_empty() && not_float.is_empty()) {
        return Err(WeightsError::Mismatch { path, missing, misshapen, not_float });
    }
    for (name, copy) in TIED {
        let is_ours = parameters.found.iter().any(|parameter| parameter.name == "predictions.bias");
        if is_ours && unused.remove(copy) && !same_values(file, name, copy).map_err(&unreadable)? {
            return Err(WeightsError::Untied { path, name, copy });
        }
    }

    let result = module.apply(found, None, Some(Box::new(PyTorchToBurnAdapter)), false);
    if let Some(error) = result.errors.first() {
        return Err(unreadable(error.to_string()));
    }
    let drawn: BTreeSet<_> = new.values().cloned().collect();
    let module = init::draw(module, config, seed, |path| drawn.contains(path));
    let report = LoadReport {
        new: new.into_keys().collect(),
        unused: unused.into_iter().map(String::from).collect(),
    };
    Ok((module, report))
}

/// The weights file of a folder, or what stands in its place.
fn find_weights(folder: &Path) -> Result<PathBuf, WeightsError> {
    let path = folder.join(WEIGHTS_FILE);
    if path.is_file() {
        return Ok(path);
    }
    let hint = if !folder.is_dir() {
        "there is no such folder"
    } else if folder.join("model.safetensors.index.json").exists() {
        "its weights are split into shards; load it in Python and save it with a larger max_shard_size"
    } else if folder.join("pytorch_model.bin").exists() {
        "its weights are a pickled pytorch_model.bin; load it in Python and save it with safe_serialization=True"
    } else {
        "a Hugging Face model folder has its weights in that file"
    };
    Err(WeightsError::NoWeights { folder: folder.to_path_buf(), hint })
}

/// A parameter of the model: its path, its Hugging Face name and the shape it has in a file.
struct Parameter {
    path: String,
    name: String,
    shape: Vec<usize>,
}

/// Lists a module's parameters without bringing them into being.
#[derive(Default)]
struct Parameters {
    found: Vec<Parameter>,
    path: Vec<String>,
    containers: Vec<String>,
}

impl<B: Backend> ModuleVisitor<B> for Parameters {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_string());
        self.containers.push(container_type.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let path = self.path.join(".");
        let mut shape = param.lazy_shape().to_vec();
        if self.containers.last().is_some_and(|container| container == "Struct:Linear") {
            shape.reverse();
        }
        self.found.push(Parameter { name: hugging_face_name(&path), path, shape });
    }
}

/// The names under which a file may hold a parameter, best first: its own, with or without the encoder's prefix, and
/// that of a tied copy.
fn names_in_file(name: &str) -> Vec<String> {
    let mut names = vec![name.to_string()];
    match name.strip_prefix(ENCODER) {
        Some(bare) => names.push(bare.to_string()),
        None => names.push(format!("{ENCODER}{name}")),
    }
    let copies = TIED
        .iter()
        .filter(|(tied, _)| names.iter().any(|name| name == tied))
        .map(|(_, copy)| copy.to_string());
    let copies: Vec<_> = copies.collect();
    names.extend(copies);
    names
}

/// The same tensor in float32, under the path of a parameter.
fn as_float32_at(path: &str, tensor: &TensorSnapshot) -> TensorSnapshot {
    let read = tensor.clone_data_fn();
    TensorSnapshot::from_closure(
        Rc::new(move || Ok(read()?.convert_dtype(DType::F32))),
        DType::F32,
        tensor.shape.clone(),
        path.split('.').map(String::from).collect(),
        Vec::new(),
        ParamId::new(),
    )
}

/// Whether two tensors of a file hold the same bytes.
fn same_values(
    file: &BTreeMap<String, TensorSnapshot>,
    one: &str,
    other: &str,
) -> Result<bool, String> {
    let read = |name: &str| {
        file.get(name).map(TensorSnapshot::to_data).transpose().map_err(|error| error.to_string())
    };
    Ok(read(one)? == read(other)?)
}

fn save<B: Backend, M: Module<B>>(
    module: &M,
    config: &AlbertConfig,
    architecture: &str,
    folder: &Path,
) -> Result<(), WeightsError> {
    std::fs::create_dir_all(folder).map_err(|error| WeightsError::Write {
        path: folder.to_path_buf(),
        reason: error.to_string(),
    })?;
    write_beside(&folder.join(WEIGHTS_FILE), |path| {
        SafetensorsStore::from_file(path)
            .with_to_adapter(BurnToPyTorchAdapter)
            .with_key_remapping(regex_of(NORM.0), NORM.1)
            .clear_metadata()
            .metadata("format", "pt")
            .overwrite(true)
            .collect_from(module)
            .map_err(|error| error.to_string())
    })?;
    write_beside(&folder.join(CONFIG_FILE), |path| {
        std::fs::write(path, config.to_json(architecture))
            .map_err(|error: io::Error| error.to_string())
    })
}

/// The pattern that matches a name literally.
fn regex_of(name: &str) -> String {
    name.replace('.', r"\.")
}

/// Writes a file under another name in the same folder and renames it when it is whole.
fn write_beside(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), WeightsError> {
    let beside = path.with_added_extension("tmp");
    write(&beside)
        .and_then(|()| std::fs::rename(&beside, path).map_err(|error| error.to_string()))
        .map_err(|reason| {
            // Nothing half-written stays behind; that there may be nothing to remove is fine.
            std::fs::remove_file(&beside).ok();
            WeightsError::Write { path: path.to_path_buf(), reason }
        })
}
