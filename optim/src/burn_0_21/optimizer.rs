//! AdamWL2SP for a whole module of Burn 0.21.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::GradAdaptor;
use burn::optim::record::AdaptorRecord;
use burn::optim::{
    GradientsParams, LearningRate, MultiGradientsParams, Optimizer, SimpleOptimizer,
};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorPrimitive};

use crate::groups::Resolved;
use crate::parameters::PathStack;
use crate::{AdamWL2SP, AdamWL2SPConfig, AdamWL2SPState, Anchors, Groups, OptimizerError, Role};

impl AdamWL2SPConfig {
    /// An optimizer for all parameters of `model`, each with the role that `groups` gives it.
    ///
    /// # Errors
    /// A value out of range, a rule of `groups` that matches nothing, tied parameters with different
    /// roles, or anchors that do not fit the model; the error lists the names.
    pub fn init<B: AutodiffBackend, M: AutodiffModule<B>>(
        &self,
        model: &M,
        groups: Groups<B::InnerBackend>,
    ) -> Result<AdamWL2SPOptimizer<B>, OptimizerError> {
        AdamWL2SPOptimizer::new(self.build()?, model, groups)
    }
}

/// The state of an [`AdamWL2SPOptimizer`]: that of each stepped parameter by its path, anchors
/// included.
///
/// Record it at full precision (`FullPrecisionSettings`): half-precision recorders round the
/// anchors. States are matched by *path*, so a model that was loaded from any kind of file resumes
/// with its original anchors.
pub type AdamWL2SPRecord<B> = Vec<(String, AdaptorRecord<AdamWL2SP, B>)>;

/// [`AdamWL2SP`] over all parameters of a module, made by
/// [`AdamWL2SPConfig::init`].
///
/// An [`Optimizer`] for any module of that structure: the Learner, a custom loop and multi-device
/// training take it like one of Burn's own. A step leaves a parameter without a gradient unchanged,
/// its count of steps included. A tied parameter, one that the module holds at several paths, is
/// stepped once, with one state, and holds the new value at all of them.
#[derive(Clone)]
pub struct AdamWL2SPOptimizer<B: AutodiffBackend> {
    rule: AdamWL2SP,
    roles: BTreeMap<String, Role>,
    states: BTreeMap<String, AdaptorRecord<AdamWL2SP, B>>,
}

impl<B: AutodiffBackend> AdamWL2SPOptimizer<B> {
    fn new<M: AutodiffModule<B>>(
        rule: AdamWL2SP,
        model: &M,
        groups: Groups<B::InnerBackend>,
    ) -> Result<Self, OptimizerError> {
        let model = model.valid();
        let Resolved { roles, anchors } = groups.apply(&model)?;
        let mut seed =
            AnchorStates { path: PathStack::default(), anchors: &anchors, states: BTreeMap::new() };
        model.visit(&mut seed);
        Ok(Self { rule, roles, states: seed.states })
    }

    /// The role of every parameter, by path; of a tied parameter by its first path.
    pub fn roles(&self) -> &BTreeMap<String, Role> {
        &self.roles
    }

    /// The anchors of the source parameters known so far: explicit ones from the start, others from a
    /// parameter's first step on.
    pub fn anchors<M: AutodiffModule<B>>(&self, model: &M) -> Anchors<B::InnerBackend> {
        let mut visitor = KnownAnchors {
            path: PathStack::default(),
            states: &self.states,
            anchors: Anchors::none(),
        };
        model.visit(&mut visitor);
        visitor.anchors
    }

    /// The optimizer's state, as the [`Optimizer`] trait's `to_record`.
    pub fn to_record(&self) -> AdamWL2SPRecord<B> {
        self.states.clone().into_iter().collect()
    }

    /// Resumes from `record`. The [`Optimizer`] trait's `load_record` does the same unchecked.
    ///
    /// # Errors
    /// [`OptimizerError::ForeignRecord`] if the record holds parameters that the model does not have.
    pub fn try_load_record(mut self, record: AdamWL2SPRecord<B>) -> Result<Self, OptimizerError> {
        let names: Vec<String> = record
            .iter()
            .map(|(path, _)| path.clone())
            .filter(|path| !self.roles.contains_key(path))
            .collect();
        if !names.is_empty() {
            return Err(OptimizerError::ForeignRecord { names });
        }
        self.states = record.into_iter().collect();
        Ok(self)
    }

    /// `model` with gradients switched off for the [frozen](Groups::frozen) parameters: none is
    /// computed for them, and [`clip_grad_norm`](crate::clip_grad_norm) does not count them.
    pub fn freeze<M: AutodiffModule<B>>(&self, model: M) -> M {
        model.map(&mut Freeze {
            roles: &self.roles,
            path: PathStack::default(),
            frozen: HashSet::new(),
        })
    }

    fn step_with<M: AutodiffModule<B>>(
        &mut self,
        lr: LearningRate,
        module: M,
        grads: GradAdaptor,
    ) -> M {
        let step = || {
            let (path, stepped) = (PathStack::default(), HashMap::new());
            module.map(&mut Step { optimizer: self, path, stepped, grads, lr })
        };
        #[cfg(feature = "flex")]
        if flex_simd::is_flex::<B::InnerBackend>() {
            // Inside one scope rayon's threads do not fall asleep between two parameters.
            return rayon::scope(|_| step());
        }
        step()
    }

    /// The role of the parameter at `path`.
    ///
    /// # Panics
    /// If the module given to `step` does not have the structure of that given to `init`.
    #[expect(clippy::panic, reason = "a programming error, and Optimizer::step cannot fail")]
    fn role(&self, path: &str) -> Role {
        *self.roles.get(path).unwrap_or_else(|| {
            panic!("the optimizer was made for a module without the parameter `{path}`")
        })
    }
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> Optimizer<M, B> for AdamWL2SPOptimizer<B> {
    type Record = AdamWL2SPRecord<B>;

    fn step(&mut self, lr: LearningRate, module: M, grads: GradientsParams) -> M {
        self.step_with(lr, module, grads.into())
    }

    fn step_multi(&mut self, lr: LearningRate, module: M, grads: MultiGradientsParams) -> M {
        self.step_with(lr, module, grads.into())
    }

    fn to_record(&self) -> Self::Record {
        self.to_record()
    }

    fn load_record(mut self, record: Self::Record) -> Self {
        self.states = record.into_iter().collect();
        self
    }
}

/// Steps each parameter that has a gradient.
struct Step<'a, B: AutodiffBackend> {
    optimizer: &'a mut AdamWL2SPOptimizer<B>,
    path: PathStack,
    /// The new values, for the further places of tied parameters.
    stepped: HashMap<ParamId, TensorPrimitive<B>>,
    grads: GradAdaptor,
    lr: LearningRate,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Step<'_, B> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        if let Some(stepped) = self.stepped.get(&id) {
            return Param::from_mapped_value(id, Tensor::from_primitive(stepped.clone()), mapper);
        }
        let Some((grad, device)) = self.grads.remove::<B::InnerBackend, D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let path = self.path.path();
        let role = self.optimizer.role(&path);
        if role.frozen {
            return Param::from_mapped_value(id, tensor, mapper);
        }
        let rule = self.optimizer.rule.clone().for_role(role);
        let state = self.optimizer.states.remove(&path).map(|record| {
            <AdamWL2SP as SimpleOptimizer<B::InnerBackend>>::to_device(record.into_state(), &device)
        });
        let is_require_grad = tensor.is_require_grad();
        let theta = tensor.inner().to_device(&device);
        let (theta, state) = rule.step(self.lr * role.learning_rate_scale, theta, grad, state);
        if let Some(state) = state {
            self.optimizer.states.insert(path, AdaptorRecord::from_state(state));
        }
        let tensor = Tensor::from_inner(theta).set_require_grad(is_require_grad);
        self.stepped.insert(id, tensor.clone().into_primitive());
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// Switches the gradients of frozen parameters off.
struct Freeze<'a> {
    roles: &'a BTreeMap<String, Role>,
    path: PathStack,
    /// Those met so far, for the further places of tied parameters.
    frozen: HashSet<ParamId>,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Freeze<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if self.roles.get(&self.path.path()).is_some_and(|role| role.frozen) {
            self.frozen.insert(param.id);
        }
        let frozen = self.frozen.contains(&param.id);
        if frozen { param.map(|tensor| tensor.set_require_grad(false)) } else { param }
    }
}

/// Places explicit anchors in the states before the first step.
struct AnchorStates<'a, B: AutodiffBackend> {
    path: PathStack,
    anchors: &'a Anchors<B::InnerBackend>,
    states: BTreeMap<String, AdaptorRecord<AdamWL2SP, B>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B::InnerBackend> for AnchorStates<'_, B> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B::InnerBackend, D>>) {
        let path = self.path.path();
        if let Some(anchor) = self.anchors.get::<D>(&path) {
            // A file may hold them in 16 bits.
            let anchor = anchor.to_device(&param.lazy_device()).cast(param.val().dtype());
            let state = AdamWL2SPState::anchored(anchor);
            self.states.insert(path, AdaptorRecord::from_state(state));
        }
    }
}

/// Collects the anchors from the states.
struct KnownAnchors<'a, B: AutodiffBackend> {
    path: PathStack,
    states: &'a BTreeMap<String, AdaptorRecord<AdamWL2SP, B>>,
    anchors: Anchors<B::InnerBackend>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for KnownAnchors<'_, B> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<B, D>>) {
        let path = self.path.path();
        let Some(record) = self.states.get(&path) else { return };
        let state: AdamWL2SPState<B::InnerBackend, D> = record.clone().into_state();
        if let Some(anchor) = state.anchor {
            self.anchors.insert(path, anchor);
        }
    }
}
