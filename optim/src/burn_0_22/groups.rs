//! The parameter groups of a model of Burn 0.22.

use std::collections::BTreeMap;

use burn_0_22::module::{Module, ModuleVisitor, Param};
use burn_0_22::tensor::Tensor;

use super::{Anchors, AnyTensor};
use crate::groups::Resolved;
use crate::parameters::{Parameter, Parameters};
use crate::{OptimizerError, ParameterGroups, Role};

/// Rules that give every parameter of a model its [`Role`]: [`ParameterGroups`] whose anchors are tensors of Burn 0.22.
///
/// To avoid computing the gradients of frozen parameters, switch them off in the model, for example with Burn's
/// `set_require_grad_group`.
pub type Groups = ParameterGroups<AnyTensor>;

impl ParameterGroups<AnyTensor> {
    /// The parameters that `module` has under the same path are source, pulled back to the value they
    /// have *there*. A path that only one of the two has is not an error: a pretrained model has heads
    /// that a fine-tuned one lacks, and vice versa. Where both have a head of the same name but of
    /// different size, add [`novel("head")`](Self::novel).
    pub fn source_in<M: Module>(module: &M) -> Self {
        Self::source_at(Anchors::from_module(module))
    }

    /// The role of every parameter of `model`, by path.
    ///
    /// # Errors
    /// As [`module_optimizer`](crate::AdamWL2SPConfig::module_optimizer).
    pub fn roles_in<M: Module>(&self, model: &M) -> Result<BTreeMap<String, Role>, OptimizerError> {
        Ok(self.clone().apply(model)?.roles)
    }

    /// The roles and anchors of `model`'s parameters.
    pub(super) fn apply<M: Module>(self, model: &M) -> Result<Resolved<AnyTensor>, OptimizerError> {
        let mut parameters = Parameters::default();
        model.visit(&mut parameters);
        let parameters = parameters.found;
        let resolved = self.resolve(&parameters, |anchors| anchors.differing(model))?;
        let untied = |it: &&Parameter| it.places.len() > 1 && !resolved.roles[it.path()].frozen;
        let names: Vec<String> = parameters.iter().filter(untied).map(Parameter::paths).collect();
        if names.is_empty() { Ok(resolved) } else { Err(OptimizerError::TiedParameters { names }) }
    }
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.add(param.id.val(), param.lazy_shape().as_slice());
    }
}
