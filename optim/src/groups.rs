//! Which parameters are source, novel or undecayed.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::Module;
use burn::tensor::backend::Backend;
use regex::Regex;

use crate::parameters::{Parameter, parameters};
use crate::{Anchors, OptimizerError};

/// What a parameter is to the optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// Pretrained: decays to its anchor, and counts in the distance from the source. Otherwise
    /// novel: decays to zero.
    pub source: bool,
    /// Whether it decays at all.
    pub decayed: bool,
}

/// Says for every parameter of a model whether it is source, novel or undecayed.
///
/// Without a rule a parameter is novel and decayed; of several rules on a parameter the last wins.
/// A *path* names one parameter (`head.weight`) or a module and all below it (`encoder`); a regex
/// is searched for anywhere in the parameter's path. A rule that matches nothing is an error when
/// the optimizer is made.
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
/// // by path
/// let groups = Groups::new().source("encoder").source("norm").biases_and_norms_undecayed();
/// # AdamWL2SPConfig::new().init(&model, groups)?;
/// // by regex
/// let groups = Groups::new().source_matching(r"^(encoder|norm)\.").undecayed_matching("bias$");
/// # AdamWL2SPConfig::new().init(&model, groups)?;
/// // whatever this other module also has, pulled back to that module's values
/// let groups = Groups::source_in(&pretrained.valid()).biases_and_norms_undecayed();
/// # AdamWL2SPConfig::new().init(&model, groups)?;
/// # Ok::<(), adamw_l2sp::OptimizerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Groups<B: Backend> {
    rules: Vec<(Selector, Effect)>,
    anchors: Option<Anchors<B>>,
    anchors_must_equal_model: bool,
}

#[derive(Clone, Debug)]
enum Selector {
    Path(String),
    Matching(String),
    Named(BTreeSet<String>),
    BiasesAndNorms,
}

#[derive(Clone, Copy, Debug)]
enum Effect {
    Source,
    Novel,
    Undecayed,
}

impl<B: Backend> Default for Groups<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> Groups<B> {
    /// Every parameter novel and decayed: plain AdamW.
    pub fn new() -> Self {
        Self { rules: Vec::new(), anchors: None, anchors_must_equal_model: false }
    }

    /// Source is whatever parameter `module` has under the same path, pulled back to the value it
    /// has *there*. What only one of the two has is no error: a pretrained model has heads that a
    /// fine-tuned one lacks, and the other way round. Where both have a head of the same name but
    /// not of the same size, add [`novel("head")`](Self::novel).
    pub fn source_in<M: Module<B>>(module: &M) -> Self {
        let anchors = Anchors::from_module(module);
        let mut groups = Self::source_names(anchors.names());
        groups.anchors = Some(anchors);
        groups
    }

    /// Source is whatever parameter has one of these paths.
    pub fn source_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().map(str::to_string).collect();
        Self::new().rule(Selector::Named(names), Effect::Source)
    }

    /// The parameters at or below `path` are source.
    pub fn source(self, path: &str) -> Self {
        self.rule(Selector::Path(path.to_string()), Effect::Source)
    }

    /// The parameters whose path matches the regular expression are source.
    pub fn source_matching(self, pattern: &str) -> Self {
        self.rule(Selector::Matching(pattern.to_string()), Effect::Source)
    }

    /// The parameters at or below `path` are novel.
    pub fn novel(self, path: &str) -> Self {
        self.rule(Selector::Path(path.to_string()), Effect::Novel)
    }

    /// The parameters whose path matches the regular expression are novel.
    pub fn novel_matching(self, pattern: &str) -> Self {
        self.rule(Selector::Matching(pattern.to_string()), Effect::Novel)
    }

    /// The parameters at or below `path`, source or novel, do not decay.
    pub fn undecayed(self, path: &str) -> Self {
        self.rule(Selector::Path(path.to_string()), Effect::Undecayed)
    }

    /// The parameters whose path matches the regular expression do not decay.
    pub fn undecayed_matching(self, pattern: &str) -> Self {
        self.rule(Selector::Matching(pattern.to_string()), Effect::Undecayed)
    }

    /// Parameters with `bias` in their own name and all parameters of normalisation modules do not
    /// decay: the usual choice for transformers.
    pub fn biases_and_norms_undecayed(self) -> Self {
        self.rule(Selector::BiasesAndNorms, Effect::Undecayed)
    }

    /// Pull the source parameters back to `anchors` instead of to their values at the first step.
    /// Every anchor must have a parameter of its name and shape, and every source parameter an
    /// anchor.
    pub fn anchored_at(mut self, anchors: Anchors<B>) -> Self {
        self.anchors = Some(anchors);
        self
    }

    /// Refuse explicit anchors that differ from the model's present values, as when the model was
    /// loaded from another checkpoint than the anchors.
    pub fn anchors_must_equal_model(mut self) -> Self {
        self.anchors_must_equal_model = true;
        self
    }

    fn rule(mut self, selector: Selector, effect: Effect) -> Self {
        self.rules.push((selector, effect));
        self
    }

    /// The role of every parameter of `module`, by path, and the explicit anchors of its source
    /// parameters.
    pub(crate) fn resolve<M: Module<B>>(self, module: &M) -> Result<Resolved<B>, OptimizerError> {
        let parameters = parameters(module);
        let roles = self.roles(&parameters)?;
        let anchors = match self.anchors {
            None => Anchors::none(),
            Some(anchors) => {
                let partial = self.rules.iter().any(|(rule, _)| matches!(rule, Selector::Named(_)));
                let source = |path: &str| roles.get(path).is_some_and(|role| role.source);
                anchors.fitting(&parameters, source, partial)?
            }
        };
        if self.anchors_must_equal_model {
            anchors.check_equal(module)?;
        }
        Ok(Resolved { roles, anchors })
    }

    fn roles(&self, parameters: &[Parameter]) -> Result<BTreeMap<String, Role>, OptimizerError> {
        let novel = Role { source: false, decayed: true };
        let mut roles: BTreeMap<String, Role> =
            parameters.iter().map(|parameter| (parameter.path.clone(), novel)).collect();
        let mut idle = Vec::new();
        for (selector, effect) in &self.rules {
            let selects = selector.compile()?;
            let mut matched = false;
            for parameter in parameters.iter().filter(|parameter| selects(parameter)) {
                matched = true;
                if let Some(role) = roles.get_mut(&parameter.path) {
                    match effect {
                        Effect::Source => role.source = true,
                        Effect::Novel => role.source = false,
                        Effect::Undecayed => role.decayed = false,
                    }
                }
            }
            // A model without biases and norms is no mistake of the caller's.
            if !matched && !matches!(selector, Selector::BiasesAndNorms) {
                idle.push(selector.to_string());
            }
        }
        if idle.is_empty() {
            Ok(roles)
        } else {
            let parameters = parameters.iter().map(|parameter| parameter.path.clone()).collect();
            Err(OptimizerError::NothingMatches { rules: idle, parameters })
        }
    }
}

/// What [`Groups`] come to on a given module.
pub(crate) struct Resolved<B: Backend> {
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) anchors: Anchors<B>,
}

/// Whether a rule is about a parameter.
type Selects<'a> = Box<dyn Fn(&Parameter) -> bool + 'a>;

impl Selector {
    fn compile(&self) -> Result<Selects<'_>, OptimizerError> {
        Ok(match self {
            Self::Path(path) => Box::new(move |parameter| {
                parameter
                    .path
                    .strip_prefix(path.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || path.is_empty())
            }),
            Self::Matching(pattern) => {
                let regex = Regex::new(pattern).map_err(|error| OptimizerError::InvalidRegex {
                    pattern: pattern.clone(),
                    reason: error.to_string(),
                })?;
                Box::new(move |parameter| regex.is_match(&parameter.path))
            }
            Self::Named(names) => Box::new(move |parameter| names.contains(&parameter.path)),
            Self::BiasesAndNorms => Box::new(|parameter| parameter.is_bias_or_norm),
        })
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "the path `{path}`"),
            Self::Matching(pattern) => write!(f, "the regex `{pattern}`"),
            Self::Named(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                write!(f, "a parameter of the other module ({})", names.join(", "))
            }
            Self::BiasesAndNorms => f.write_str("biases and norms"),
        }
    }
}
