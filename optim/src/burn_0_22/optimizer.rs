//! AdamWL2SP for a whole module of Burn 0.22, as the groups of a `ModuleOptimizer`.

use burn_0_22::module::{Module, ParamGroup};
use burn_0_22::optim::{LearningRate, ModuleOptimizer, Optimizer};
use burn_0_22::tensor::{Device, Tensor};

use super::{AdamWL2SPState, AnyTensor, Groups};
use crate::groups::Resolved;
use crate::{AdamWL2SP, AdamWL2SPConfig, OptimizerError, Role};

impl AdamWL2SPConfig {
    /// A Burn 0.22 optimizer for all parameters of `model`, each with the role that `groups` gives it.
    ///
    /// Step the same model with it, not a part of it nor a module around it: parameters are matched by their paths.
    ///
    /// It has one group for each role, and one for each parameter with an anchor from `groups`. A step leaves a parameter
    /// without a gradient unchanged, its count of steps included. Clip with
    /// [`clip_grad_norm`](crate::burn_0_22::clip_grad_norm) before the step: `ModuleOptimizer::with_grad_clipping` sets the
    /// clipping of its first group only, which has no parameters here.
    ///
    /// A record of it has the anchors, which then count instead of those of `groups`. Burn's `ModuleOptimizer` finds the
    /// states of a record by the parameters' *ids*, which Burn's own files keep. A model that was loaded from a safetensors
    /// file has new ones: it starts from new states and anchors.
    ///
    /// See the [module's example](crate::burn_0_22).
    ///
    /// # Errors
    /// A value out of range, a rule of `groups` that matches nothing, tied parameters that are not frozen, or anchors
    /// that do not fit the model; the error lists the names.
    pub fn module_optimizer<M: Module>(
        &self,
        model: &M,
        groups: Groups,
    ) -> Result<ModuleOptimizer, OptimizerError> {
        let rule = self.build()?;
        let Resolved { roles, anchors } = groups.apply(model)?;
        let mut optimizer = ModuleOptimizer::from(Rule::Unknown);
        let mut shared: Vec<(Role, Vec<String>)> = Vec::new();
        for (path, role) in roles {
            if let Some(anchor) = anchors.find(&path) {
                let rule = Rule::new(&rule, role, Some(anchor.value.clone()));
                optimizer = optimizer.with_group(ParamGroup::from_path(path), rule, None);
            } else if let Some((_, paths)) = shared.iter_mut().find(|(other, _)| *other == role) {
                paths.push(path);
            } else {
                shared.push((role, vec![path]));
            }
        }
        for (role, paths) in shared {
            let rule = Rule::new(&rule, role, None);
            optimizer = optimizer.with_group(ParamGroup::from_paths(paths), rule, None);
        }
        Ok(optimizer)
    }
}

/// What is done with the parameters of a group.
#[derive(Clone)]
enum Rule {
    /// A step of `rule` with `scale` times the learning rate.
    Step {
        rule: AdamWL2SP,
        scale: f64,
        /// θ⁰ until the parameter has a state, which then holds it.
        anchor: Option<AnyTensor>,
    },
    Frozen,
    /// The model that the optimizer was made for has no such parameter.
    Unknown,
}

impl Rule {
    fn new(rule: &AdamWL2SP, role: Role, anchor: Option<AnyTensor>) -> Self {
        if role.frozen {
            return Self::Frozen;
        }
        let rule = rule.clone().for_role(role);
        Self::Step { rule, scale: role.learning_rate_scale, anchor }
    }
}

impl Optimizer for Rule {
    type State<const D: usize> = AdamWL2SPState<D>;

    /// # Panics
    /// If the module given to the optimizer does not have the structure of that given to `module_optimizer`.
    #[expect(clippy::panic, reason = "a programming error, and Optimizer::step cannot fail")]
    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        theta: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        match self {
            Self::Step { rule, scale, anchor } => {
                let anchored = || {
                    let anchor = anchor.as_ref()?.get()?;
                    // A module may hold them in 16 bits.
                    let anchor = anchor.to_device(&theta.device()).cast(theta.dtype());
                    Some(AdamWL2SPState::anchored(anchor))
                };
                let state = state.or_else(anchored);
                rule.step(lr * scale, theta, grad, state)
            }
            Self::Frozen => (theta, state),
            Self::Unknown => panic!(
                "the optimizer was made for a module without this parameter, of shape {:?}",
                theta.dims()
            ),
        }
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        <AdamWL2SP as Optimizer>::to_device(state, device)
    }
}
