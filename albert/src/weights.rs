//! Weights as Hugging Face stores them: `model.safetensors`, whole or in shards, next to `config.json`.
//!
//! The module `names` has the table of the parameters' names.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_store::{
    BurnToPyTorchAdapter, ModuleAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter,
    SafetensorsStore, TensorSnapshot,
};

use crate::classification::SequenceClassifier;
use crate::config::{CONFIG_FILE, ConfigError, ModelConfig};
use crate::encoder::Encoder;
use crate::init;
use crate::model_type::ModelType;
use crate::names::{ENCODER, TIED, WEIGHTS_FILE, hugging_face_name, names_in_file};
use crate::pretraining::AlbertForPreTraining;
use crate::weights_error::{ShapeMismatch, WeightsError};
use crate::weights_file::{WeightsFile, read_tensors};

/// Which parameters were not loaded from the file and which of its tensors were not needed, by Hugging Face name and in
/// alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Parameters that were initialized instead of loaded: those of the head or pooler that the file lacks, and those that
    /// [`from_pretrained_encoder`](SequenceClassifier::from_pretrained_encoder) or
    /// [`reinit_layers`](SequenceClassifier::reinit_layers) replaced.
    pub new: Vec<String>,
    /// Tensors of the file that the model does not have.
    pub unused: Vec<String>,
    /// The paths of the new parameters in the module.
    new_paths: BTreeSet<String>,
}

impl LoadReport {
    /// Whether the parameter at this path of the module, such as `classifier.weight`, is new.
    pub fn is_new(&self, path: &str) -> bool {
        self.new_paths.contains(path)
    }
}

impl<B: Backend> Encoder<B> {
    /// Loads the encoder of a Hugging Face folder, whatever head its weights have. A pooler that they lack is drawn from
    /// `seed`.
    ///
    /// # Errors
    ///
    /// As [`SequenceClassifier::from_pretrained`].
    pub fn from_pretrained(
        folder: &Path,
        config: &ModelConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Self, LoadReport), WeightsError> {
        load(Self::new(config, device), folder, config, seed, Head::Loaded)
    }

    /// Writes a Hugging Face folder that `AutoModel.from_pretrained` loads in Python.
    ///
    /// # Errors
    ///
    /// As [`SequenceClassifier::save_pretrained`].
    pub fn save_pretrained(&self, config: &ModelConfig, folder: &Path) -> Result<(), WeightsError> {
        save(self, config, "Model", folder)
    }
}

impl<B: Backend> SequenceClassifier<B> {
    /// Loads a Hugging Face folder: a classifier, or the encoder of a base or pre-training model with a classifier that is
    /// initialized with `seed` as in [`Encoder::init`]. 16-bit weights are widened to float32.
    ///
    /// `config` must be [valid](ModelConfig::validate); it is usually [read](ModelConfig::from_folder) from the same
    /// folder.
    ///
    /// # Errors
    ///
    /// No weights in the folder; a file that is damaged or not in the safetensors format; one that lacks a tensor of
    /// the encoder, has one of another shape, such as a classifier for another number of labels, or holds a NaN or an infinity.
    pub fn from_pretrained(
        folder: &Path,
        config: &ModelConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Self, LoadReport), WeightsError> {
        load(Self::new(config, device), folder, config, seed, Head::Loaded)
    }

    /// [`from_pretrained`](Self::from_pretrained) for another task: the classifier is drawn even where the folder holds
    /// one, whose tensors are then [unused](LoadReport::unused).
    ///
    /// # Errors
    ///
    /// As [`from_pretrained`](Self::from_pretrained).
    pub fn from_pretrained_encoder(
        folder: &Path,
        config: &ModelConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Self, LoadReport), WeightsError> {
        load(Self::new(config, device), folder, config, seed, Head::New)
    }

    /// Initializes the parameters that were [new](LoadReport::new) when this model was loaded with another seed: the result
    /// is the model as if it had been loaded with that seed.
    pub fn redraw_new(self, report: &LoadReport, config: &ModelConfig, seed: u64) -> Self {
        init::draw(self, config, seed, |path| report.is_new(path))
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
        config: &ModelConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Self, LoadReport), WeightsError> {
        let store = SafetensorsStore::from_bytes(Some(bytes.to_vec()));
        let tensors = read_tensors(store, Path::new(name))?;
        let file = WeightsFile { path: name.into(), tensors };
        load_file(Self::new(config, device), file, config, seed, Head::Loaded)
    }

    /// Reinitializes the `count` layers nearest the output and the pooler (RoBERTa's `dense`), as Zhang et al. propose for
    /// fine-tuning on few examples (*Revisiting Few-sample BERT Fine-tuning*, <https://arxiv.org/abs/2006.05987>). With a
    /// `count` of 0, only the pooler.
    ///
    /// `report` is that of loading the model, and counts the layers as new afterwards. All new parameters, the classifier
    /// too where it is one, are drawn together from `seed`.
    ///
    /// # Errors
    ///
    /// The model has fewer layers, or its layers share their parameters.
    pub fn reinit_layers(
        self,
        count: usize,
        config: &ModelConfig,
        seed: u64,
        report: LoadReport,
    ) -> Result<(Self, LoadReport), ConfigError> {
        let layers = config.num_hidden_layers;
        let kept = layers.checked_sub(count);
        let kept = kept.ok_or(ConfigError::TooFewLayers { asked: count, layers })?;
        if count > 0 {
            config.check_layers_unshared()?;
        }
        let is_drawn = |path: &str| match layer_of(path) {
            Some(layer) => layer >= kept,
            None => path.starts_with("encoder.pooler.") || path.starts_with("dense."),
        };
        let mut parameters = Parameters { model_type: config.model_type, ..Parameters::default() };
        self.visit(&mut parameters);
        let LoadReport { new, unused, mut new_paths } = report;
        let mut new: BTreeSet<String> = new.into_iter().collect();
        for Parameter { path, name, .. } in parameters.found {
            if is_drawn(&path) {
                new.insert(name);
                new_paths.insert(path);
            }
        }
        let model = init::draw(self, config, seed, |path| new_paths.contains(path));
        Ok((model, LoadReport { new: new.into_iter().collect(), unused, new_paths }))
    }

    /// Writes a Hugging Face folder that `AutoModelForSequenceClassification.from_pretrained` loads in Python:
    /// `model.safetensors` and `config.json`, each under a temporary name first. The folder is created if need be.
    ///
    /// # Errors
    ///
    /// Names the file or folder that cannot be written.
    pub fn save_pretrained(&self, config: &ModelConfig, folder: &Path) -> Result<(), WeightsError> {
        save(self, config, "ForSequenceClassification", folder)
    }
}

impl<B: Backend> AlbertForPreTraining<B> {
    /// Loads a Hugging Face folder of the type `albert`; heads that its weights lack are drawn from `seed`. The decoder's
    /// weight is the word embeddings, whether or not the file holds it a second time.
    ///
    /// # Errors
    ///
    /// As [`SequenceClassifier::from_pretrained`], and where the file holds a decoder of its own.
    pub fn from_pretrained(
        folder: &Path,
        config: &ModelConfig,
        seed: u64,
        device: &B::Device,
    ) -> Result<(Self, LoadReport), WeightsError> {
        load(Self::new(config, device), folder, config, seed, Head::Loaded)
    }

    /// Writes a Hugging Face folder that `AlbertForPreTraining.from_pretrained` loads in Python.
    ///
    /// # Errors
    ///
    /// As [`SequenceClassifier::save_pretrained`].
    pub fn save_pretrained(&self, config: &ModelConfig, folder: &Path) -> Result<(), WeightsError> {
        save(self, config, "ForPreTraining", folder)
    }
}

/// Where the parameters of a head come from.
#[derive(Clone, Copy, PartialEq)]
enum Head {
    /// The file, as far as it has them.
    Loaded,
    /// They are drawn.
    New,
}

fn load<B: Backend, M: Module<B>>(
    module: M,
    folder: &Path,
    config: &ModelConfig,
    seed: u64,
    head: Head,
) -> Result<(M, LoadReport), WeightsError> {
    load_file(module, WeightsFile::open(folder)?, config, seed, head)
}

fn load_file<B: Backend, M: Module<B>>(
    mut module: M,
    file: WeightsFile,
    config: &ModelConfig,
    seed: u64,
    head: Head,
) -> Result<(M, LoadReport), WeightsError> {
    let WeightsFile { path, tensors } = file;
    let unreadable = |reason: String| WeightsError::Unreadable { path: path.clone(), reason };

    let mut parameters = Parameters { model_type: config.model_type, ..Parameters::default() };
    module.visit(&mut parameters);
    let has_head = parameters.found.iter().any(|parameter| parameter.path.starts_with(ENCODER));

    let not_finite = Rc::default();
    let mut unused: BTreeSet<&str> = tensors.keys().map(String::as_str).collect();
    let (mut found, mut new) = (Vec::new(), BTreeMap::new());
    let (mut missing, mut shape_mismatch, mut not_float) = (Vec::new(), Vec::new(), Vec::new());
    for Parameter { path, name, shape } in &parameters.found {
        let is_head = has_head && !path.starts_with(ENCODER);
        let stored = names_in_file(config.model_type, name)
            .into_iter()
            .find_map(|name| tensors.get_key_value(&name))
            .filter(|_| !(is_head && head == Head::New));
        match stored {
            Some((stored, tensor)) => {
                unused.remove(stored.as_str());
                if *tensor.shape != *shape {
                    shape_mismatch.push(ShapeMismatch {
                        name: stored.clone(),
                        found: tensor.shape.to_vec(),
                        expected: shape.clone(),
                    });
                }
                if !tensor.dtype.is_float() {
                    not_float.push(stored.clone());
                }
                found.push(as_float32_at(path, stored, tensor, &not_finite));
            }
            // Models trained for masked language modelling alone have no pooler.
            None if is_head || path.contains("pooler.") => {
                new.insert(name.clone(), path.clone());
            }
            None => missing.push(name.clone()),
        }
    }
    if !(missing.is_empty() && shape_mismatch.is_empty() && not_float.is_empty()) {
        return Err(WeightsError::Mismatch { path, missing, shape_mismatch, not_float });
    }
    let has_decoder = parameters.found.iter().any(|parameter| parameter.name == "predictions.bias");
    for (name, copy) in TIED.into_iter().filter(|_| has_decoder) {
        let mut names = names_in_file(config.model_type, name).into_iter();
        if let Some(stored) = names.find(|name| tensors.contains_key(name))
            && unused.remove(copy)
            && !same_values(&tensors, &stored, copy).map_err(&unreadable)?
        {
            return Err(WeightsError::Untied { path, name, copy });
        }
    }

    let result = module.apply(found, None, Some(Box::new(PyTorchToBurnAdapter)), false);
    if let Some(error) = result.errors.first() {
        return Err(unreadable(error.to_string()));
    }
    if !not_finite.borrow().is_empty() {
        return Err(WeightsError::NotFinite { path, tensors: not_finite.take() });
    }
    let new_paths: BTreeSet<_> = new.values().cloned().collect();
    let module = init::draw(module, config, seed, |path| new_paths.contains(path));
    let report = LoadReport {
        new: new.into_keys().collect(),
        unused: unused.into_iter().map(String::from).collect(),
        new_paths,
    };
    Ok((module, report))
}

/// The group of layers, counted from 0, that a classifier's parameter belongs to.
fn layer_of(path: &str) -> Option<usize> {
    path.strip_prefix("encoder.layer_groups.")?.split('.').next()?.parse().ok()
}

/// A parameter of the model: its path, its Hugging Face name and the shape it has in a file.
struct Parameter {
    path: String,
    name: String,
    shape: Vec<usize>,
}

/// Lists a module's parameters without initializing them.
#[derive(Default)]
struct Parameters {
    model_type: ModelType,
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
        let name = hugging_face_name(self.model_type, &path);
        self.found.push(Parameter { path, name, shape });
    }
}

/// The same tensor in float32, under the path of a parameter. Reading it notes its name where a value is not finite.
fn as_float32_at(
    path: &str,
    name: &str,
    tensor: &TensorSnapshot,
    not_finite: &Rc<RefCell<Vec<String>>>,
) -> TensorSnapshot {
    let read = tensor.clone_data_fn();
    let (name, not_finite) = (name.to_string(), not_finite.clone());
    TensorSnapshot::from_closure(
        Rc::new(move || {
            let data = read()?.convert_dtype(DType::F32);
            let is_finite = match data.as_slice::<f32>() {
                Ok(values) => values.iter().all(|value| value.is_finite()),
                // Bytes that are not aligned.
                Err(_) => data.iter::<f32>().all(f32::is_finite),
            };
            if !is_finite {
                not_finite.borrow_mut().push(name.clone());
            }
            Ok(data)
        }),
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

/// Gives tensors their Hugging Face names.
#[derive(Clone)]
struct HuggingFaceNames(ModelType);

impl ModuleAdapter for HuggingFaceNames {
    fn adapt(&self, tensor: &TensorSnapshot) -> TensorSnapshot {
        let name = hugging_face_name(self.0, &tensor.full_path());
        let mut tensor = tensor.clone();
        tensor.path_stack = Some(name.split('.').map(String::from).collect());
        tensor
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}

/// Writes a model; `head` is what the name of its Python class ends with.
fn save<B: Backend, M: Module<B>>(
    module: &M,
    config: &ModelConfig,
    head: &str,
    folder: &Path,
) -> Result<(), WeightsError> {
    fs::create_dir_all(folder).map_err(|error| WeightsError::Write {
        path: folder.to_path_buf(),
        reason: error.to_string(),
    })?;
    let written = |path: PathBuf, result: io::Result<()>| {
        result.map_err(|error| WeightsError::Write { path, reason: error.to_string() })
    };
    let path = folder.join(WEIGHTS_FILE);
    let saved = files::write_with(&path, |temporary| {
        SafetensorsStore::from_file(temporary)
            .with_to_adapter(BurnToPyTorchAdapter.chain(HuggingFaceNames(config.model_type)))
            .clear_metadata()
            .metadata("format", "pt")
            .overwrite(true)
            .collect_from(module)
            .map_err(io::Error::other)
    });
    written(path, saved)?;
    let path = folder.join(CONFIG_FILE);
    let architecture = format!("{}{head}", config.model_type.class_prefix());
    let saved = files::write(&path, config.to_json(&architecture).as_bytes());
    written(path, saved)
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};
    use tempfile::TempDir;

    use super::*;
    use crate::names::INDEX_FILE;
    use crate::testing::{batch, tiny, tiny_bert, tiny_roberta, values};
    use crate::weights_error::LISTED;

    type Classifier = SequenceClassifier<Flex>;
    type PreTraining = AlbertForPreTraining<Flex>;
    type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

    fn read(folder: &Path) -> Tensors {
        let bytes = fs::read(folder.join(WEIGHTS_FILE)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor =
            |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        file.tensors().into_iter().map(|(name, view)| (name, tensor(view))).collect()
    }

    fn write(folder: &Path, tensors: &Tensors) {
        let views = tensors.iter().map(|(name, (dtype, shape, data))| {
            (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        fs::write(folder.join(WEIGHTS_FILE), safetensors::serialize(views, None).unwrap()).unwrap();
    }

    #[test]
    fn the_top_layers_and_the_pooler_are_drawn_anew() {
        for (config, pooler) in
            [(tiny_bert(), "bert.pooler.dense"), (tiny_roberta(), "classifier.dense")]
        {
            let device = Default::default();
            let loaded = Classifier::init(&config, 1, &device);
            let report = LoadReport::default();
            let layers = config.num_hidden_layers;
            let (model, report) =
                loaded.clone().reinit_layers(1, &config, 2, report).expect("reinitialized");
            let top = format!("encoder.layer_groups.{}.layers.0.", layers - 1);
            let paths = loaded.collect(None, None, false);
            assert_eq!(paths.len(), model.collect(None, None, false).len());
            for (before, after) in paths.iter().zip(model.collect(None, None, false)) {
                let path = after.full_path();
                let is_new = path.starts_with(&top)
                    || path.starts_with("encoder.pooler.")
                    || path.starts_with("dense.");
                assert_eq!(report.is_new(&path), is_new, "{path}");
                let same = before.to_data().expect("data") == after.to_data().expect("data");
                // Biases and norms are drawn as they were.
                let is_drawn = is_new && path.ends_with("weight");
                assert_eq!(same, !is_drawn, "{path}");
            }
            assert!(report.new.contains(&format!("{pooler}.weight")), "{:?}", report.new);
            assert!(report.new.is_sorted());

            let error = loaded.reinit_layers(layers + 1, &config, 2, report).err();
            assert!(matches!(error, Some(ConfigError::TooFewLayers { .. })), "{error:?}");
        }
    }

    #[test]
    fn shared_layers_cannot_be_drawn_anew() {
        let config = ModelConfig { num_hidden_groups: 1, num_hidden_layers: 2, ..tiny() };
        let reinit = |config: &ModelConfig, count| {
            let model = Classifier::init(config, 1, &Default::default());
            model.reinit_layers(count, config, 2, LoadReport::default()).map(|(_, report)| report)
        };
        let error = reinit(&config, 1).expect_err("refused");
        assert!(matches!(error, ConfigError::SharedLayers { layers: 2, groups: 1 }), "{error}");
        assert_eq!(reinit(&config, 0).expect("the pooler").new.len(), 2);
        let config = ModelConfig { num_hidden_groups: 2, ..config };
        reinit(&config, 1).expect("a group for each layer");
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

    fn pooled(model: &Encoder<Flex>) -> Vec<f32> {
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

        model.encoder.save_pretrained(&tiny(), folder.path()).unwrap();
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
        let weight = &model.encoder.layer_groups[1].layers[0].ffn.weight;
        #[expect(clippy::disallowed_methods, reason = "the view is only read")]
        let bytes: Vec<u8> =
            values(weight.val().transpose()).iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(*data, bytes);

        let bytes = fs::read(folder.path().join(WEIGHTS_FILE)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        assert_eq!(
            metadata.into_iter().collect::<Vec<_>>(),
            [("format".to_string(), "pt".to_string())]
        );

        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
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
            let bytes = |folder: &TempDir| fs::read(folder.path().join(file)).unwrap();
            assert_eq!(bytes(&folder), bytes(&again), "{file}");
        }
        assert_eq!(ModelConfig::from_folder(again.path()).unwrap(), tiny());
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
            assert_eq!(pooled(&loaded.encoder), pooled(&model.encoder));
            assert_eq!(values(loaded.classifier.bias.as_ref().unwrap().val()), [0.0; 2]);
            heads.push(values(loaded.classifier.weight.val()));

            let (base, report) =
                Encoder::<Flex>::from_pretrained(folder.path(), &tiny(), 0, &Default::default())
                    .unwrap();
            assert_eq!(report, LoadReport::default());
            assert_eq!(pooled(&base), pooled(&model.encoder));
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
        assert_eq!(pooled(&loaded.encoder), pooled(&model.encoder));

        let (classifier, folder) = classifier_folder();
        let (loaded, report) =
            PreTraining::from_pretrained(folder.path(), &tiny(), 0, &Default::default()).unwrap();
        assert_eq!(report.new, heads);
        assert_eq!(report.unused, ["classifier.bias", "classifier.weight"]);
        assert_eq!(pooled(&loaded.encoder), pooled(&classifier.encoder));
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

        // The encoder's names may lack their prefix.
        let bare = |(name, tensor): (&String, &(Dtype, Vec<usize>, Vec<u8>))| {
            (name.trim_start_matches("albert.").to_owned(), tensor.clone())
        };
        write(folder.path(), &tensors.iter().map(bare).collect());
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
        let Err(WeightsError::Mismatch { path, missing, shape_mismatch, not_float }) =
            load_classifier(folder.path())
        else {
            panic!("a mismatch");
        };
        assert_eq!(path, folder.path().join(WEIGHTS_FILE));
        assert_eq!(missing, ["albert.embeddings.LayerNorm.weight", key]);
        let shape_mismatch: Vec<_> = shape_mismatch.iter().map(ToString::to_string).collect();
        assert_eq!(
            shape_mismatch,
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
        let bytes = fs::read(&path).unwrap();
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let ends = (0..header)
            .step_by(7)
            .chain((header..bytes.len()).step_by(997))
            .chain([8, bytes.len() - 1]);
        for end in ends {
            fs::write(&path, &bytes[..end]).unwrap();
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
            fs::write(folder.path().join(WEIGHTS_FILE), bytes).unwrap();
            assert!(matches!(load_classifier(folder.path()), Err(WeightsError::Unreadable { .. })));
        }
        fs::write(folder.path().join(WEIGHTS_FILE), with_header("{}", 0)).unwrap();
        assert!(matches!(load_classifier(folder.path()), Err(WeightsError::Mismatch { .. })));
    }

    #[test]
    fn a_folder_without_the_file_says_what_it_has_instead() {
        let folder = tempfile::tempdir().unwrap();
        let message = || error(load_classifier(folder.path()));
        assert!(message().contains("holds no model.safetensors"), "{}", message());
        fs::write(folder.path().join("pytorch_model.bin"), "").unwrap();
        assert!(message().contains("safe_serialization"), "{}", message());
        fs::write(folder.path().join("model.safetensors.index.json"), "").unwrap();
        assert!(message().contains("shards"), "{}", message());
        fs::remove_file(folder.path().join("model.safetensors.index.json")).unwrap();
        let message = error(load_classifier(&folder.path().join("nowhere")));
        assert!(message.contains("nowhere") && message.contains("no such folder"), "{message}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let model = Classifier::init(&tiny(), 1, &Default::default());
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let message = error(model.save_pretrained(&tiny(), &file));
        assert!(message.contains("cannot write") && message.contains("file"), "{message}");

        let blocked = folder.path().join("blocked");
        fs::create_dir_all(blocked.join(WEIGHTS_FILE).join("occupied")).unwrap();
        let message = error(model.save_pretrained(&tiny(), &blocked));
        assert!(message.contains(WEIGHTS_FILE), "{message}");
        assert_eq!(fs::read_dir(&blocked).unwrap().count(), 1);
    }

    /// A classifier of each type, with its configuration and a folder that holds it.
    fn classifier_folders() -> impl Iterator<Item = (ModelConfig, Classifier, TempDir)> {
        [tiny(), tiny_bert(), tiny_roberta()].into_iter().map(|config| {
            let folder = tempfile::tempdir().unwrap();
            let model = Classifier::init(&config, 11, &Default::default());
            model.save_pretrained(&config, folder.path()).unwrap();
            (config, model, folder)
        })
    }

    fn renamed(tensors: &Tensors, rename: impl Fn(&str) -> String) -> Tensors {
        tensors.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect()
    }

    fn logits(model: &Classifier) -> Vec<f32> {
        values(model.forward(&batch(&[&[2, 5, 8, 3, 44, 3]], 7, 0)))
    }

    #[test]
    fn every_type_is_saved_and_loaded_bit_for_bit_under_its_own_names() {
        for (config, model, folder) in classifier_folders() {
            let read_config = ModelConfig::from_folder(folder.path()).unwrap();
            assert_eq!(read_config.to_json(""), config.to_json(""));
            let device = Default::default();
            let (loaded, report) =
                Classifier::from_pretrained(folder.path(), &read_config, 0, &device).unwrap();
            assert_eq!(report, LoadReport::default());
            assert_eq!(logits(&loaded), logits(&model));

            let keys: serde_json::Value =
                serde_json::from_slice(&fs::read(folder.path().join(CONFIG_FILE)).unwrap())
                    .unwrap();
            let prefix = config.model_type.class_prefix();
            assert_eq!(keys["architectures"][0], format!("{prefix}ForSequenceClassification"));
        }
    }

    #[test]
    fn bert_as_on_the_hub_loads_with_old_norm_names_and_unused_heads() {
        let (config, model, folder) = classifier_folders().nth(1).unwrap();
        let mut tensors = read(folder.path());
        tensors.retain(|name, _| !name.starts_with("classifier."));
        let mut old = renamed(&tensors, |name| {
            name.replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta")
        });
        let bias = old["bert.pooler.dense.bias"].clone();
        for head in ["cls.predictions.bias", "cls.seq_relationship.bias"] {
            old.insert(head.into(), bias.clone());
        }
        let bare = renamed(&tensors, |name| name["bert.".len()..].to_string());
        for (tensors, unused) in
            [(old, vec!["cls.predictions.bias", "cls.seq_relationship.bias"]), (bare, vec![])]
        {
            write(folder.path(), &tensors);
            let (loaded, report) =
                Classifier::from_pretrained(folder.path(), &config, 0, &Default::default())
                    .unwrap();
            assert_eq!(report.new, ["classifier.bias", "classifier.weight"]);
            assert_eq!(report.unused, unused);
            assert_eq!(pooled(&loaded.encoder), pooled(&model.encoder));
        }
    }

    #[test]
    fn roberta_as_on_the_hub_loads_and_its_language_model_and_pooler_are_unused() {
        let (config, model, folder) = classifier_folders().nth(2).unwrap();
        let mut tensors = read(folder.path());
        let dense = tensors["classifier.dense.weight"].clone();
        tensors.retain(|name, _| !name.starts_with("classifier."));
        tensors.insert("roberta.pooler.dense.weight".into(), dense.clone());
        tensors.insert("lm_head.dense.weight".into(), dense);
        write(folder.path(), &tensors);
        let (loaded, report) =
            Classifier::from_pretrained(folder.path(), &config, 0, &Default::default()).unwrap();
        assert_eq!(
            report.new,
            [
                "classifier.dense.bias",
                "classifier.dense.weight",
                "classifier.out_proj.bias",
                "classifier.out_proj.weight"
            ]
        );
        assert!(report.is_new("dense.weight") && report.is_new("classifier.bias"));
        assert!(!report.is_new("encoder.embeddings.word_embeddings.weight"));
        assert_eq!(report.unused, ["lm_head.dense.weight", "roberta.pooler.dense.weight"]);
        assert_eq!(pooled(&loaded.encoder), pooled(&model.encoder));
    }

    #[test]
    fn a_masked_language_models_missing_pooler_is_drawn_and_reported() {
        let (config, _, folder) = classifier_folders().nth(1).unwrap();
        let mut tensors = read(folder.path());
        tensors.retain(|name, _| !name.starts_with("bert.pooler."));
        write(folder.path(), &tensors);
        let (_, report) =
            Classifier::from_pretrained(folder.path(), &config, 0, &Default::default()).unwrap();
        assert_eq!(report.new, ["bert.pooler.dense.bias", "bert.pooler.dense.weight"]);
        assert!(report.is_new("encoder.pooler.weight") && !report.is_new("classifier.weight"));
    }

    #[test]
    fn another_task_gets_a_new_classifier_with_its_own_labels() {
        for (config, model, folder) in classifier_folders() {
            let three = config.clone().with_labels(&["a", "b", "c"]);
            let device = Default::default();
            let (loaded, report) =
                Classifier::from_pretrained_encoder(folder.path(), &three, 5, &device).unwrap();
            assert_eq!(loaded.classifier.weight.dims(), [12, 3]);
            assert_eq!(pooled(&loaded.encoder), pooled(&model.encoder));
            assert_eq!(report.new, report.unused, "the file's classifier is not used");
            assert!(report.is_new("classifier.weight"));
        }
    }

    /// Splits the weights of a folder into two shards with an index.
    fn shard(folder: &Path) {
        let tensors = read(folder);
        fs::remove_file(folder.join(WEIGHTS_FILE)).unwrap();
        let mut weight_map = BTreeMap::new();
        let mut shards = [Tensors::new(), Tensors::new()];
        for (index, (name, tensor)) in tensors.into_iter().enumerate() {
            weight_map
                .insert(name.clone(), format!("model-0000{}-of-00002.safetensors", index % 2));
            shards[index % 2].insert(name, tensor);
        }
        for (index, tensors) in shards.iter().enumerate() {
            write(folder, tensors);
            let name = format!("model-0000{index}-of-00002.safetensors");
            fs::rename(folder.join(WEIGHTS_FILE), folder.join(name)).unwrap();
        }
        let index =
            serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": weight_map });
        fs::write(folder.join(INDEX_FILE), index.to_string()).unwrap();
    }

    #[test]
    fn sharded_weights_load_as_a_whole() {
        let (model, folder) = classifier_folder();
        shard(folder.path());
        let (loaded, report) = load_classifier(folder.path()).unwrap();
        assert_eq!(report, LoadReport::default());
        assert_eq!(logits(&loaded), logits(&model));

        fs::remove_file(folder.path().join("model-00001-of-00002.safetensors")).unwrap();
        let message = error(load_classifier(folder.path()));
        assert!(
            message.contains("it lists model-00001-of-00002.safetensors, which is missing"),
            "{message}"
        );
    }

    #[test]
    fn an_index_that_leads_out_of_the_folder_or_nowhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for (text, expected) in [
            (
                r#"{"weight_map": {"a": "../model.safetensors"}}"#,
                "not the name of a file in the same folder",
            ),
            (
                r#"{"weight_map": {"a": "/etc/passwd"}}"#,
                "not the name of a file in the same folder",
            ),
            (r#"{"weight_map": {"a": ".."}}"#, "not the name of a file in the same folder"),
            (r#"{"weight_map": {"a": 5}}"#, "not a usable index of shards: invalid type"),
            (r#"{"metadata": {}}"#, "missing field `weight_map`"),
        ] {
            fs::write(folder.path().join(INDEX_FILE), text).unwrap();
            let message = error(load_classifier(folder.path()));
            assert!(message.contains(expected), "{message}");
        }
        fs::write(folder.path().join(INDEX_FILE), r#"{"weight_map": {}}"#).unwrap();
        assert!(matches!(load_classifier(folder.path()), Err(WeightsError::Mismatch { .. })));
    }

    #[test]
    fn values_that_are_not_finite_are_named_as_that() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (_, folder) = classifier_folder();
            let mut tensors = read(folder.path());
            let name = "albert.pooler.weight";
            tensors.get_mut(name).unwrap().2[8..12].copy_from_slice(&bad.to_le_bytes());
            write(folder.path(), &tensors);
            let message = error(load_classifier(folder.path()));
            assert!(
                message.contains(
                    "model.safetensors holds NaN or infinite values\n  in: albert.pooler.weight"
                ),
                "{message}"
            );
        }
    }

    #[test]
    fn many_tensors_of_another_shape_are_summarised() {
        let (_, folder) = classifier_folder();
        let wide = ModelConfig { hidden_size: 24, ..tiny() };
        let message =
            error(Classifier::from_pretrained(folder.path(), &wide, 0, &Default::default()));
        let line = message.lines().find(|line| line.contains("shape mismatch")).unwrap();
        assert_eq!(line.matches("in the file and").count(), LISTED, "{message}");
        let Err(WeightsError::Mismatch { shape_mismatch, .. }) =
            Classifier::from_pretrained(folder.path(), &wide, 0, &Default::default())
        else {
            panic!("a mismatch");
        };
        assert!(shape_mismatch.len() > LISTED);
        let more = format!(" and {} more", shape_mismatch.len() - LISTED);
        assert!(line.ends_with(&more), "{message}");
    }
}
