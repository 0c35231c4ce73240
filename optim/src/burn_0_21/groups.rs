//! The parameter groups of a model of Burn 0.21.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};

use crate::groups::Resolved;
use crate::parameters::Parameters;
use crate::{Anchors, OptimizerError, ParameterGroups};

/// Rules that give every parameter of a model its [`Role`](crate::Role): [`ParameterGroups`] whose anchors are tensors of
/// the backend `B`.
///
/// A tied parameter is stepped once. To avoid computing the gradients of frozen parameters, see
/// [`freeze`](crate::AdamWL2SPOptimizer::freeze).
///
/// ```
/// # use adamw_l2sp::{AdamWL2SPConfig, Groups};
/// # use burn::{backend::{Autodiff, Flex}, module::AutodiffModule, nn::{Linear, LinearConfig, LayerNorm, LayerNormConfig}, prelude::*};
/// # type B = Autodiff<Flex>;
/// # #[derive(Module, Debug)]
/// # struct Net<B: Backend> { encoder: Linear<B>, norm: LayerNorm<B>, head: Linear<B> }
/// # #[derive(Module, Debug)]
/// # struct Pretrained<B: Backend> { encoder: Linear<B>, norm: LayerNorm<B>, lm_head: Linear<B> }
/// # let device = Default::default();
/// # let linear = |n| LinearConfig::new(4, n).init::<B>(&device);
/// # let norm = LayerNormConfig::new(4).init::<B>(&device);
/// # let pretrained = Pretrained { encoder: linear(4), norm: norm.clone(), lm_head: linear(9) };
/// # let model = Net { encoder: pretrained.encoder.clone(), norm: norm.clone(), head: linear(2) };
/// // By path:
/// let groups = Groups::new().source("encoder").source("norm").biases_and_norms_undecayed();
/// # AdamWL2SPConfig::new().init(&model, groups)?;
/// // By regular expression:
/// let groups = Groups::new().source_matching(r"^(encoder|norm)\.").undecayed_matching("bias$");
/// # AdamWL2SPConfig::new().init(&model, groups)?;
/// // Whatever a pretrained module also has, pulled back to its values:
/// let groups = Groups::source_in(&pretrained.valid()).biases_and_norms_undecayed();
/// # AdamWL2SPConfig::new().init(&model, groups)?;
/// // A head that learns ten times as fast, above a frozen norm:
/// let groups = Groups::new().source("encoder").learning_rate_scale("head", 10.0).frozen("norm");
/// # AdamWL2SPConfig::new().init(&model, groups)?;
/// # Ok::<(), adamw_l2sp::OptimizerError>(())
/// ```
pub type Groups<B> = ParameterGroups<TensorPrimitive<B>>;

impl<B: Backend> ParameterGroups<TensorPrimitive<B>> {
    /// The parameters that `module` has under the same path are source, pulled back to the value they
    /// have *there*. A path that only one of the two has is not an error: a pretrained model has heads
    /// that a fine-tuned one lacks, and vice versa. Where both have a head of the same name but of
    /// different size, add [`novel("head")`](Self::novel).
    pub fn source_in<M: Module<B>>(module: &M) -> Self {
        Self::source_at(Anchors::from_module(module))
    }

    /// The roles and anchors of `module`'s parameters.
    pub(super) fn apply<M: Module<B>>(
        self,
        module: &M,
    ) -> Result<Resolved<TensorPrimitive<B>>, OptimizerError> {
        let mut parameters = Parameters::default();
        module.visit(&mut parameters);
        self.resolve(&parameters.found, |anchors| anchors.differing(module))
    }
}

impl<B: Backend> ModuleVisitor<B> for Parameters {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.add(param.id.val(), param.lazy_shape().as_slice());
    }
}
