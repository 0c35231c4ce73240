//! The anchors of a model of Burn 0.22.

use std::any::Any;
use std::sync::Arc;

use burn_0_22::module::{Module, ModuleVisitor, Param, ParamId};
use burn_0_22::tensor::Tensor;

use super::clip::scalar_on_first_device;
use crate::AnchorMap;
use crate::parameters::PathStack;

/// The values θ⁰ that source parameters are pulled back to, by parameter path.
///
/// They come from a module: to pull back to the values of a file, load it into one. Neither cloning them nor taking them
/// from a module copies a tensor: memory is used only once a parameter has moved away from its anchor.
pub type Anchors = AnchorMap<AnyTensor>;

/// A float tensor of any rank; [`Anchors::get`] gives it its rank back.
#[derive(Clone, Debug)]
pub struct AnyTensor(Arc<dyn Any + Send + Sync>);

impl AnyTensor {
    fn new<const D: usize>(tensor: Tensor<D>) -> Self {
        Self(Arc::new(tensor))
    }

    /// The tensor, if its rank is `D`.
    pub(super) fn get<const D: usize>(&self) -> Option<Tensor<D>> {
        self.0.downcast_ref().cloned()
    }
}

impl AnchorMap<AnyTensor> {
    /// The current values of all float parameters of `module`, of a tied one under each of its paths.
    pub fn from_module<M: Module>(module: &M) -> Self {
        let mut take = Take { path: PathStack::default(), anchors: Self::none() };
        module.visit(&mut take);
        take.anchors
    }

    /// The anchor of the parameter at `path`.
    pub fn get<const D: usize>(&self, path: &str) -> Option<Tensor<D>> {
        self.find(path)?.value.get()
    }

    /// ‖θ − θ⁰‖² over the anchored parameters of `model` that require a gradient, a tensor of one
    /// element on the model's device: the host does not wait for it.
    pub fn squared_distance<M: Module>(&self, model: &M) -> Tensor<1> {
        let mut distance = Distance {
            path: PathStack::default(),
            anchors: self,
            seen: Vec::new(),
            sum: scalar_on_first_device(model, 0.0),
        };
        model.visit(&mut distance);
        distance.sum
    }

    /// The paths of the anchors that differ from the parameter of their name in any element.
    pub(super) fn differing<M: Module>(&self, module: &M) -> Vec<String> {
        let mut differ = Differ { path: PathStack::default(), anchors: self, names: Vec::new() };
        module.visit(&mut differ);
        differ.names
    }
}

struct Take {
    path: PathStack,
    anchors: Anchors,
}

impl ModuleVisitor for Take {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.path.is_running_statistic() {
            let value = param.val().inner();
            self.anchors.put(self.path.path(), &value.dims(), AnyTensor::new(value));
        }
    }
}

struct Differ<'a> {
    path: PathStack,
    anchors: &'a Anchors,
    names: Vec<String>,
}

impl ModuleVisitor for Differ<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.path();
        if let Some(anchor) = self.anchors.get::<D>(&path)
            && anchor.cast(param.val().dtype()).into_data() != param.val().into_data()
        {
            self.names.push(path);
        }
    }
}

struct Distance<'a> {
    path: PathStack,
    anchors: &'a Anchors,
    seen: Vec<ParamId>,
    sum: Tensor<1>,
}

impl ModuleVisitor for Distance<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(anchor) = self.anchors.get::<D>(&self.path.path()) else { return };
        if self.seen.contains(&param.id) || !param.is_require_grad() {
            return;
        }
        self.seen.push(param.id);
        let theta = param.val().inner();
        let anchor = anchor.to_device(&theta.device()).cast(theta.dtype());
        let moved = theta - anchor;
        let squared = (moved.clone() * moved).sum();
        self.sum = self.sum.clone() + squared.to_device(&self.sum.device());
    }
}
