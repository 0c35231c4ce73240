//! The anchors of a model of Burn 0.21.

use std::path::Path;

use burn::module::{AutodiffModule, Module, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorPrimitive};
use burn_store::{ApplyError, ModuleSnapshot, ModuleStore, SafetensorsStore};

use crate::parameters::PathStack;
use crate::{AnchorMap, OptimizerError};

/// The values θ⁰ that source parameters are pulled back to, by parameter path.
///
/// They come from a module, a safetensors file or any store of `burn-store`. Neither cloning them nor
/// taking them from a module copies a tensor: memory is used only once a parameter has moved away
/// from its anchor.
///
/// ```
/// use adamw_l2sp::Anchors;
/// use burn::backend::{Autodiff, Flex};
/// use burn::module::AutodiffModule;
/// use burn::nn::{Linear, LinearConfig};
///
/// let model: Linear<Autodiff<Flex>> = LinearConfig::new(2, 3).init(&Default::default());
/// let anchors = Anchors::from_module(&model.valid());
/// assert_eq!(anchors.names().collect::<Vec<_>>(), ["bias", "weight"]);
/// assert_eq!(anchors.squared_distance(&model).into_scalar(), 0.0);
/// ```
pub type Anchors<B> = AnchorMap<TensorPrimitive<B>>;

impl<B: Backend> AnchorMap<TensorPrimitive<B>> {
    /// The current values of all float parameters of `module`, of a tied one under each of its paths.
    pub fn from_module<M: Module<B>>(module: &M) -> Self {
        let mut take = Take { path: PathStack::default(), anchors: Self::none() };
        module.visit(&mut take);
        take.anchors
    }

    /// The values that a safetensors file holds under the paths and in the shapes of `model`'s own
    /// parameters, as `burn-store` writes them. For a file in another layout (PyTorch's transposed
    /// linear layers, other names) or with tensors that the model lacks (a pretraining head) pass a
    /// store with adapters or a filter to [`from_store`](Self::from_store).
    ///
    /// # Errors
    /// As [`from_store`](Self::from_store).
    pub fn from_safetensors<M: Module<B>>(
        file: impl AsRef<Path>,
        model: &M,
    ) -> Result<Self, OptimizerError> {
        let file = file.as_ref();
        let mut store = SafetensorsStore::from_file(file).allow_partial(true).validate(false);
        Self::load(&mut store, model, Some(file.display().to_string()))
    }

    /// The values that `store` would load into `model`: filters, name remapping and adapters of
    /// the store apply. Give it `allow_partial(true)` and `validate(false)`, so that parameters
    /// which only the model has are not an error and all shape mismatches are reported together.
    ///
    /// # Errors
    /// An unreadable store, tensors of another shape than `model`'s, and tensors that match none
    /// of its parameters.
    pub fn from_store<M: Module<B>, S: ModuleStore>(
        store: &mut S,
        model: &M,
    ) -> Result<Self, OptimizerError> {
        Self::load(store, model, None)
    }

    fn load<M: Module<B>, S: ModuleStore>(
        store: &mut S,
        model: &M,
        source_name: Option<String>,
    ) -> Result<Self, OptimizerError> {
        let unreadable = |reason: String| OptimizerError::UnreadableAnchors {
            source_name: source_name.clone(),
            reason,
        };
        // By way of the record: clones share a batch norm's running statistics with the original.
        let mut loaded = model.clone().load_record(model.clone().into_record());
        let result = loaded.load_from(store).map_err(|error| unreadable(error.to_string()))?;

        let mut mismatches = Vec::new();
        for error in &result.errors {
            match error {
                ApplyError::ShapeMismatch { path, expected, found } => mismatches.push(format!(
                    "{path}: anchor {:?}, parameter {:?}",
                    found.as_slice(),
                    expected.as_slice()
                )),
                other => return Err(unreadable(other.to_string())),
            }
        }
        if !mismatches.is_empty() {
            return Err(OptimizerError::AnchorShape { mismatches });
        }
        // A norm's `weight` that an adapter turned into `gamma` is reported as unused under its
        // old name although it was applied.
        let applied = |name: &str| result.applied.iter().any(|path| path == name);
        let renamed = |name: &str| {
            [(".weight", ".gamma"), (".bias", ".beta")].iter().any(|(from, to)| {
                name.strip_suffix(from).is_some_and(|stem| applied(&format!("{stem}{to}")))
            })
        };
        let names: Vec<String> =
            result.unused.iter().filter(|name| !renamed(name)).cloned().collect();
        if !names.is_empty() {
            return Err(OptimizerError::UnmatchedAnchors { names });
        }
        Ok(Self::from_module(&loaded).filter(applied))
    }

    /// The anchor of the parameter at `path`.
    pub fn get<const D: usize>(&self, path: &str) -> Option<Tensor<B, D>> {
        let anchor = self.find(path)?;
        (anchor.shape.len() == D).then(|| Tensor::from_primitive(anchor.value.clone()))
    }

    pub(super) fn insert<const D: usize>(&mut self, path: String, value: Tensor<B, D>) {
        self.put(path, &value.dims(), value.into_primitive());
    }

    /// ‖θ − θ⁰‖² over the anchored parameters of `model` that require a gradient, a tensor of one
    /// element on the model's device: the host does not wait for it.
    pub fn squared_distance<AB, M>(&self, model: &M) -> Tensor<B, 1>
    where
        AB: AutodiffBackend<InnerBackend = B>,
        M: AutodiffModule<AB>,
    {
        let mut distance =
            Distance { path: PathStack::default(), anchors: self, seen: Vec::new(), sum: None };
        model.visit(&mut distance);
        distance.sum.unwrap_or_else(|| {
            let device = model.devices().into_iter().next().unwrap_or_default();
            Tensor::<AB, 1>::zeros([1], &device).inner()
        })
    }

    /// The paths of the anchors that differ from the parameter of their name in any element.
    pub(super) fn differing<M: Module<B>>(&self, module: &M) -> Vec<String> {
        let mut differ = Differ { path: PathStack::default(), anchors: self, names: Vec::new() };
        module.visit(&mut differ);
        differ.names
    }
}

struct Take<B: Backend> {
    path: PathStack,
    anchors: Anchors<B>,
}

impl<B: Backend> ModuleVisitor<B> for Take<B> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !self.path.is_running_statistic() {
            self.anchors.insert(self.path.path(), param.val());
        }
    }
}

struct Differ<'a, B: Backend> {
    path: PathStack,
    anchors: &'a Anchors<B>,
    names: Vec<String>,
}

impl<B: Backend> ModuleVisitor<B> for Differ<'_, B> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let path = self.path.path();
        if let Some(anchor) = self.anchors.get::<D>(&path)
            && anchor.cast(param.val().dtype()).into_data() != param.val().into_data()
        {
            self.names.push(path);
        }
    }
}

struct Distance<'a, B: Backend> {
    path: PathStack,
    anchors: &'a Anchors<B>,
    seen: Vec<ParamId>,
    sum: Option<Tensor<B, 1>>,
}

impl<AB: AutodiffBackend> ModuleVisitor<AB> for Distance<'_, AB::InnerBackend> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<AB, D>>) {
        let Some(anchor) = self.anchors.get::<D>(&self.path.path()) else { return };
        if self.seen.contains(&param.id) || !param.is_require_grad() {
            return;
        }
        self.seen.push(param.id);
        let theta = param.val().inner();
        let anchor = anchor.to_device(&theta.device()).cast(theta.dtype());
        let squared = squared_distance(theta, anchor);
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum.to_device(&squared.device()) + squared,
            None => squared,
        });
    }
}

/// Σ (θ − θ⁰)², a tensor of one element.
fn squared_distance<B: Backend, const D: usize>(
    theta: Tensor<B, D>,
    anchor: Tensor<B, D>,
) -> Tensor<B, 1> {
    #[cfg(feature = "flex")]
    if super::flex::is_flex(&theta) && super::flex::is_flex(&anchor) {
        return super::flex::scalar(super::flex::sum_of_squares(theta, Some(anchor)));
    }
    let moved = theta - anchor;
    (moved.clone() * moved).sum()
}
