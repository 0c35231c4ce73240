//! The parameters of a module with their paths, as `encoder.layers.0.norm.gamma`.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::prelude::Shape;
use burn::tensor::{Tensor, backend::Backend};

/// Where a module visitor or mapper stands.
#[derive(Default)]
pub(crate) struct PathStack {
    names: Vec<String>,
    containers: Vec<String>,
}

impl PathStack {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_string());
        self.containers.push(container.to_string());
    }

    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    /// `encoder.layers.0.norm.gamma`: the path that `burn-store` gives the parameter, too.
    pub(crate) fn path(&self) -> String {
        self.names.join(".")
    }

    /// A parameter whose name says bias, or any parameter of a normalisation module (`LayerNorm`,
    /// `BatchNorm`, `RmsNorm` …).
    pub(crate) fn is_bias_or_norm(&self) -> bool {
        let bias = self.names.last().is_some_and(|name| name.contains("bias"));
        let norm = self.containers.last().is_some_and(|container| container.ends_with("Norm"));
        bias || norm
    }
}

/// One float parameter of a module.
pub(crate) struct Parameter {
    pub(crate) path: String,
    pub(crate) shape: Shape,
    pub(crate) is_bias_or_norm: bool,
}

/// All float parameters of `module`, in the module's own order. A parameter that stands at several
/// places (tied weights) is listed at the first: that is where an optimizer steps it.
pub(crate) fn parameters<B: Backend, M: Module<B>>(module: &M) -> Vec<Parameter> {
    let mut visitor = Collect { path: PathStack::default(), ids: Vec::new(), found: Vec::new() };
    module.visit(&mut visitor);
    visitor.found
}

struct Collect {
    path: PathStack,
    ids: Vec<ParamId>,
    found: Vec<Parameter>,
}

impl<B: Backend> ModuleVisitor<B> for Collect {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.ids.contains(&param.id) {
            return;
        }
        self.ids.push(param.id);
        self.found.push(Parameter {
            path: self.path.path(),
            shape: param.lazy_shape(),
            is_bias_or_norm: self.path.is_bias_or_norm(),
        });
    }
}
