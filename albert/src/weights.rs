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
    /// The file's tensors are not those of the configured model.
    #[error(
        "{} does not fit the configured model{}{}{}",
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

    /// [`from_pretrained`](Self::from_pretrained) from the bytes of a `model.safetensors`; `name` is what errors call
    /// it.
    ///
    /// # Errors
    ///
    /// As [`from_pretrained`](Self::from_pretrained).
    pub fn from_bytes(
        bytes: &[u8],
        name: &str,
        config: &AlbertConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Self, LoadReport), WeightsError> {
        let store = SafetensorsStore::from_bytes(Some(bytes.to_vec()));
        load_store(Self::new(config, device), store, name.into(), config, seed)
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
    module: M,
    folder: &Path,
    config: &AlbertConfig,
    seed: u64,
) -> Result<(M, LoadReport), WeightsError> {
    let path = find_weights(folder)?;
    load_store(module, SafetensorsStore::from_file(&path), path, config, seed)
}

fn load_store<B: Backend, M: Module<B>>(
    mut module: M,
    mut store: SafetensorsStore,
    path: PathBuf,
    config: &AlbertConfig,
    seed: u64,
) -> Result<(M, LoadReport), WeightsError> {
    let unreadable = |reason: String| WeightsError::Unreadable { path: path.clone(), reason };

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

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};
    use tempfile::TempDir;

    use super::*;
    use crate::testing::{batch, tiny, values};

    type Classifier = AlbertForSequenceClassification<Flex>;
    type PreTraining = AlbertForPreTraining<Flex>;
    type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

    fn read(folder: &Path) -> Tensors {
        let bytes = std::fs::read(folder.join(WEIGHTS_FILE)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor =
            |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        file.tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect()
    }

    fn write(folder: &Path, tensors: &Tensors) {
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        std::fs::write(folder.join(WEIGHTS_FILE), safetensors::serialize(views, None).unwrap())
            .unwrap();
    }

    /// A folder with the weights of a classifier.
    fn classifier_folder() -> (Classifier, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let model = Classifier::init(&tiny(), 11, &Default::default());
        model.save_pretrained(&tiny(), folder.path()).unwrap();
        (model, folder)
    }

    /// A folder with the weights of a pre-training model.
    fn pretraining_folder() -> (PreTraining, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let model = PreTraining::init(&tiny(), 12, &Default::default());
        model.save_pretrained(&tiny(), folder.path()).unwrap();
        (model, folder)
    }

    fn load_classifier(folder: &Path) -> Result<(Classifier, LoadReport), WeightsError> {
        Classifier::from_pretrained(folder, &tiny(), 99, &Default::default())
    }

    fn pooled(model: &AlbertModel<Flex>) -> Vec<f32> {
        values(model.forward(&batch(&[&[2, 5, 8, 3, 44, 3]], 7, 0)).pooler_output)
    }

    fn error<T>(result: Result<T, WeightsError>) -> String {
        result.err().expect("an error").to_string()
    }

    /// Names in the file of a layer, of the encoder around it, and of the heads.
    fn expected_names(prefix: &str, heads: &[&str]) -> Vec<String> {
        let mut names: Vec<String> = heads.iter().map(|name| name.to_string()).collect();
        for name in [
            "embeddings.LayerNorm.bias",
            "embeddings.LayerNorm.weight",
            "embeddings.position_embeddings.weight",
            "embeddings.token_type_embeddings.weight",
            "embeddings.word_embeddings.weight",
            "encoder.embedding_hidden_mapping_in.bias",
            "encoder.embedding_hidden_mapping_in.weight",
            "pooler.bias",
            "pooler.weight",
        ] {
            names.push(format!("{prefix}{name}"));
        }
        for group in 0..2 {
            for module in [
                "attention.LayerNorm",
                "attention.dense",
                "attention.key",
                "attention.query",
                "attention.value",
                "ffn",
                "ffn_output",
                "full_layer_layer_norm",
            ] {
                for kind in ["bias", "weight"] {
                    let layer =
                        format!("{prefix}encoder.albert_layer_groups.{group}.albert_layers.0");
                    names.push(format!("{layer}.{module}.{kind}"));
                }
            }
        }
        names.sort();
        names
    }

    #[test]
    fn files_have_exactly_hugging_faces_names() {
        let names = |folder: &Path| read(folder).into_keys().collect::<Vec<_>>();
        let (model, folder) = classifier_folder();
        assert_eq!(
            names(folder.path()),
            expected_names("albert.", &["classifier.bias", "classifier.weight"])
        );

        model.albert.save_pretrained(&tiny(), folder.path()).unwrap();
        assert_eq!(names(folder.path()), expected_names("", &[]));

        let (_, folder) = pretraining_folder();
        let heads = [
            "predictions.LayerNorm.bias",
            "predictions.LayerNorm.weight",
            "predictions.bias",
            "predictions.dense.bias",
            "predictions.dense.weight",
            "sop_classifier.classifier.bias",
            "sop_classifier.classifier.weight",
        ];
        assert_eq!(names(folder.path()), expected_names("albert.", &heads));
    }

    #[test]
    fn files_are_laid_out_as_hugging_faces_and_say_so() {
        let (model, folder) = classifier_folder();
        let tensors = read(folder.path());
        let name = "albert.encoder.albert_layer_groups.1.albert_layers.0.ffn.weight";
        let (dtype, shape, data) = &tensors[name];
        assert_eq!((*dtype, shape.as_slice()), (Dtype::F32, [20, 12].as_slice()));
        let weight = &model.albert.encoder.albert_layer_groups[1].albert_layers[0].ffn.weight;
        #[expect(clippy::disallowed_methods, reason = "the view is only read")]
        let bytes: Vec<u8> =
            values(weight.val().transpose()).iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(*data, bytes);

        let bytes = std::fs::read(folder.path().join(WEIGHTS_FILE)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        assert_eq!(
            metadata.into_iter().collect::<Vec<_>>(),
            [("format".to_string(), "pt".to_string())]
        );

        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["config.json", "model.safetensors"]);
    }

    #[test]
    fn what_was_saved_loads_bit_for_bit() {
        let (model, folder) = classifier_folder();
        let (loaded, report) = load_classifier(folder.path()).unwrap();
        assert_eq!(report, LoadReport::default());
        let input = batch(&[&[2, 5, 8, 3, 44, 3]], 7, 0);
        assert_eq!(values(loaded.forward(&input)), values(model.forward(&input)));

        let again = tempfile::tempdir().unwrap();
        loaded.save_pretrained(&tiny(), again.path()).unwrap();
        for file in [WEIGHTS_FILE, CONFIG_FILE] {
            let bytes = |folder: &TempDir| std::fs::read(folder.path().join(file)).unwrap();
            assert_eq!(bytes(&folder), bytes(&again), "{file}");
        }
        assert_eq!(AlbertConfig::from_folder(again.path()).unwrap(), tiny());
    }

    #[test]
    fn a_base_model_loads_under_a_new_classifier_with_or_without_prefix() {
        let (model, folder) = classifier_folder();
        let mut tensors = read(folder.path());
        tensors.retain(|name, _| !name.starts_with("classifier."));
        let bare: Tensors = tensors
            .iter()
            .map(|(name, tensor)| (name["albert.".len()..].to_string(), tensor.clone()))
            .collect();
        let mut heads = Vec::new();
        for tensors in [tensors, bare] {
            write(folder.path(), &tensors);
            let (loaded, report) = load_classifier(folder.path()).unwrap();
            assert_eq!(report.new, ["classifier.bias", "classifier.weight"]);
            assert!(report.unused.is_empty());
            assert_eq!(pooled(&loaded.albert), pooled(&model.albert));
            assert_eq!(values(loaded.classifier.bias.as_ref().unwrap().val()), [0.0; 2]);
            heads.push(values(loaded.classifier.weight.val()));

            let (base, report) = AlbertModel::<Flex>::from_pretrained(
                folder.path(),
                &tiny(),
                0,
                &Default::default(),
            )
            .unwrap();
            assert_eq!(report, LoadReport::default());
            assert_eq!(pooled(&base), pooled(&model.albert));
        }
        assert_eq!(heads[0], heads[1], "the seed decides");
        assert!(heads[0].iter().all(|&x| x != 0.0 && x.abs() < 6.0 * 0.4));
        let (other, _) =
            Classifier::from_pretrained(folder.path(), &tiny(), 100, &Default::default()).unwrap();
        assert_ne!(values(other.classifier.weight.val()), heads[0]);
    }

    #[test]
    fn a_pretraining_model_loads_under_a_new_classifier_and_its_heads_are_reported() {
        let (model, folder) = pretraining_folder();
        let (loaded, report) = load_classifier(folder.path()).unwrap();
        assert_eq!(report.new, ["classifier.bias", "classifier.weight"]);
        let heads = [
            "predictions.LayerNorm.bias",
            "predictions.LayerNorm.weight",
            "predictions.bias",
            "predictions.dense.bias",
            "predictions.dense.weight",
            "sop_classifier.classifier.bias",
            "sop_classifier.classifier.weight",
        ];
        assert_eq!(report.unused, heads);
        assert_eq!(pooled(&loaded.albert), pooled(&model.albert));

        let (classifier, folder) = classifier_folder();
        let (loaded, report) =
            PreTraining::from_pretrained(folder.path(), &tiny(), 0, &Default::default()).unwrap();
        assert_eq!(report.new, heads);
        assert_eq!(report.unused, ["classifier.bias", "classifier.weight"]);
        assert_eq!(pooled(&loaded.albert), pooled(&classifier.albert));
    }

    #[test]
    fn the_decoder_may_be_stored_twice_or_under_its_own_name_but_not_differ() {
        let (model, folder) = pretraining_folder();
        let input = batch(&[&[2, 5, 8, 3, 44, 3]], 7, 0);
        let expected = values(model.forward(&input).prediction_logits);
        let load = || PreTraining::from_pretrained(folder.path(), &tiny(), 0, &Default::default());

        let mut tensors = read(folder.path());
        for (name, copy) in TIED {
            tensors.insert(copy.to_string(), tensors[name].clone());
        }
        write(folder.path(), &tensors);
        let (loaded, report) = load().unwrap();
        assert_eq!(report, LoadReport::default());
        assert_eq!(values(loaded.forward(&input).prediction_logits), expected);

        let mut renamed = tensors.clone();
        for (name, _) in TIED {
            renamed.remove(name);
        }
        write(folder.path(), &renamed);
        let (loaded, report) = load().unwrap();
        assert_eq!(report, LoadReport::default());
        assert_eq!(values(loaded.forward(&input).prediction_logits), expected);

        tensors.get_mut("predictions.decoder.weight").unwrap().2[17] ^= 1;
        write(folder.path(), &tensors);
        let message = error(load());
        assert!(message.contains("predictions.decoder.weight differs"), "{message}");
        assert!(load_classifier(folder.path()).is_ok(), "a classifier has no decoder to tie");
    }

    #[test]
    fn a_classifier_for_other_labels_is_named_with_both_shapes() {
        let (_, folder) = classifier_folder();
        let three = tiny().with_labels(&["a", "b", "c"]);
        let message =
            error(Classifier::from_pretrained(folder.path(), &three, 0, &Default::default()));
        assert!(
            message.contains("classifier.weight is [2, 12] in the file and [3, 12] in the model"),
            "{message}"
        );
        assert!(
            message.contains("classifier.bias is [2] in the file and [3] in the model"),
            "{message}"
        );
    }

    #[test]
    fn everything_that_does_not_fit_is_named() {
        let (_, folder) = classifier_folder();
        let mut tensors = read(folder.path());
        let key = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.key.weight";
        tensors.remove(key);
        tensors.remove("albert.embeddings.LayerNorm.weight");
        tensors.get_mut("albert.pooler.bias").unwrap().1 = vec![3, 4];
        tensors.get_mut("albert.encoder.embedding_hidden_mapping_in.weight").unwrap().1 =
            vec![6, 12];
        tensors.get_mut("albert.pooler.weight").unwrap().0 = Dtype::I32;
        write(folder.path(), &tensors);
        let Err(WeightsError::Mismatch { path, missing, misshapen, not_float }) =
            load_classifier(folder.path())
        else {
            panic!("a mismatch");
        };
        assert_eq!(path, folder.path().join(WEIGHTS_FILE));
        assert_eq!(missing, ["albert.embeddings.LayerNorm.weight", key]);
        let misshapen: Vec<_> = misshapen.iter().map(ToString::to_string).collect();
        assert_eq!(
            misshapen,
            [
                "albert.encoder.embedding_hidden_mapping_in.weight is [6, 12] in the file and [12, 6] in the model",
                "albert.pooler.bias is [3, 4] in the file and [12] in the model",
            ]
        );
        assert_eq!(not_float, ["albert.pooler.weight"]);
        let message = error(load_classifier(folder.path()));
        assert!(
            message.contains("missing: albert.embeddings.LayerNorm.weight, albert.encoder"),
            "{message}"
        );
    }

    #[test]
    fn tensors_the_model_has_no_place_for_are_reported() {
        let (_, folder) = classifier_folder();
        let mut tensors = read(folder.path());
        tensors
            .insert("albert.embeddings.position_ids".into(), (Dtype::I64, vec![1, 2], vec![0; 16]));
        write(folder.path(), &tensors);
        let (_, report) = load_classifier(folder.path()).unwrap();
        assert_eq!(report.unused, ["albert.embeddings.position_ids"]);
    }

    #[test]
    fn half_precision_files_load_as_float32() {
        let (model, folder) = classifier_folder();
        let tensors = read(folder.path());
        type Narrow = fn(f32) -> u16;
        // Both formats by dropping low bits, which is off by less than one unit in the last place.
        let formats: [(Dtype, Narrow, f32); 2] = [
            (Dtype::BF16, |x| (x.to_bits() >> 16) as u16, 1.0 / 128.0),
            (Dtype::F16, half_bits, 1.0 / 1024.0),
        ];
        for (dtype, narrow, tolerance) in formats {
            let mut half = tensors.clone();
            for (tensor_dtype, _, data) in half.values_mut() {
                let wide = data.chunks(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]]));
                *data = wide.flat_map(|x| narrow(x).to_le_bytes()).collect();
                *tensor_dtype = dtype;
            }
            write(folder.path(), &half);
            let (loaded, _) = load_classifier(folder.path()).unwrap();
            let weight = loaded.classifier.weight.val();
            assert_eq!(weight.dtype(), DType::F32);
            for (loaded, exact) in
                values(weight).into_iter().zip(values(model.classifier.weight.val()))
            {
                assert!(
                    (loaded - exact).abs() <= tolerance * exact.abs(),
                    "{dtype:?}: {loaded} for {exact}"
                );
            }
        }
    }

    /// The bits of a float16, truncated; zero below its normal numbers.
    fn half_bits(x: f32) -> u16 {
        let bits = x.to_bits();
        let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
        if exponent <= 0 {
            0
        } else {
            (bits >> 16 & 0x8000 | (exponent as u32) << 10 | bits >> 13 & 0x3ff) as u16
        }
    }

    #[test]
    fn a_truncated_file_is_an_error_wherever_it_is_cut() {
        let (_, folder) = classifier_folder();
        let path = folder.path().join(WEIGHTS_FILE);
        let bytes = std::fs::read(&path).unwrap();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let ends = (0..header)
            .step_by(7)
            .chain((header..bytes.len()).step_by(997))
            .chain([8, bytes.len() - 1]);
        for end in ends {
            std::fs::write(&path, &bytes[..end]).unwrap();
            let Err(error @ WeightsError::Unreadable { .. }) = load_classifier(folder.path())
            else {
                panic!("cut at {end}");
            };
            assert!(error.to_string().contains(WEIGHTS_FILE), "{error}");
        }
    }

    #[test]
    fn foreign_and_hostile_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let with_header = |header: &str, data: usize| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.resize(bytes.len() + data, 0);
            bytes
        };
        let tensor = |shape: &str, end: &str| {
            format!(
                r#"{{"classifier.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#
            )
        };
        for bytes in [
            b"PK\x03\x04 a zip archive, as pytorch_model.bin is".to_vec(),
            b"version https://git-lfs.github.com/spec/v1".to_vec(),
            vec![0xff; 64],
            with_header("{", 0),
            with_header(&"[".repeat(100_000), 0),
            with_header(&tensor("[2,12]", "18446744073709551615"), 96),
            with_header(&tensor("[4294967296,4294967296,4]", "96"), 96),
            with_header(&tensor("[2,12]", "95"), 96),
            with_header(&tensor("[-1]", "96"), 96),
        ] {
            std::fs::write(folder.path().join(WEIGHTS_FILE), bytes).unwrap();
            assert!(matches!(load_classifier(folder.path()), Err(WeightsError::Unreadable { .. })));
        }
        std::fs::write(folder.path().join(WEIGHTS_FILE), with_header("{}", 0)).unwrap();
        assert!(matches!(load_classifier(folder.path()), Err(WeightsError::Mismatch { .. })));
    }

    #[test]
    fn a_folder_without_the_file_says_what_it_has_instead() {
        let folder = tempfile::tempdir().unwrap();
        let message = || error(load_classifier(folder.path()));
        assert!(message().contains("holds no model.safetensors"), "{}", message());
        std::fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
        assert!(message().contains("safe_serialization"), "{}", message());
        std::fs::write(folder.path().join("model.safetensors.index.json"), "").unwrap();
        assert!(message().contains("shards"), "{}", message());
        let message = error(load_classifier(&folder.path().join("nowhere")));
        assert!(message.contains("nowhere") && message.contains("no such folder"), "{message}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let model = Classifier::init(&tiny(), 1, &Default::default());
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = error(model.save_pretrained(&tiny(), &file));
        assert!(message.contains("cannot write") && message.contains("file"), "{message}");

        let blocked = folder.path().join("blocked");
        std::fs::create_dir_all(blocked.join(WEIGHTS_FILE).join("occupied")).unwrap();
        let message = error(model.save_pretrained(&tiny(), &blocked));
        assert!(message.contains(WEIGHTS_FILE), "{message}");
        assert_eq!(std::fs::read_dir(&blocked).unwrap().count(), 1);
    }

    #[test]
    fn only_norms_change_their_names() {
        let model = PreTraining::new(&tiny(), &Default::default());
        let mut parameters = Parameters::default();
        model.visit(&mut parameters);
        let changed = parameters.found.iter().filter(|parameter| parameter.name != parameter.path);
        for Parameter { path, name, .. } in changed {
            assert!(
                path.contains("norm.") && (path.ends_with(".gamma") || path.ends_with(".beta")),
                "{path}"
            );
            assert!(
                name.contains("orm.") && (name.ends_with(".weight") || name.ends_with(".bias")),
                "{name}"
            );
        }
        let names: BTreeSet<_> = parameters.found.iter().map(|parameter| &parameter.name).collect();
        assert_eq!(names.len(), parameters.found.len());
    }
}
