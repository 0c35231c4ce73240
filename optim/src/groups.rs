//! Which parameters are source, novel, undecayed or frozen, and their learning rates.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::config::check;
use crate::parameters::{Parameter, Place};
use crate::{AnchorMap, OptimizerError};

/// How the optimizer treats a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Role {
    /// Pretrained: decays to its anchor, and counts in the distance from the source. Otherwise
    /// novel: decays to zero.
    pub source: bool,
    /// Whether it decays at all.
    pub decayed: bool,
    /// The factor of the learning rate, and so of the decay.
    pub learning_rate_scale: f64,
    /// Never changed; no state is kept for it.
    pub frozen: bool,
}

/// Rules that give every parameter of a model its [`Role`]; `V` holds an anchor.
///
/// The alias `Groups` is this type for one version of Burn.
///
/// Without a rule a parameter is novel and decayed, with the unscaled learning rate. Where several
/// rules of a kind match, the last one wins. A *path* names one parameter (`head.weight`) or a module
/// and everything below it (`encoder`); a regex is searched for anywhere in the parameter's path. A
/// rule that matches nothing is an error when the optimizer is made.
///
/// A tied parameter, one that a module holds at several paths, must have the same role at each of them. The running
/// statistics of batch norms are not parameters: no rule matches them.
#[derive(Clone, Debug)]
pub struct ParameterGroups<V> {
    rules: Vec<(Selector, Effect)>,
    anchors: Option<AnchorMap<V>>,
    /// Whether anchors without a source parameter, and the reverse, are no error.
    anchors_are_partial: bool,
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
    LearningRateScale(f64),
    Frozen,
}

impl Effect {
    fn apply(self, role: &mut Role) {
        match self {
            Self::Source => role.source = true,
            Self::Novel => role.source = false,
            Self::Undecayed => role.decayed = false,
            Self::LearningRateScale(factor) => role.learning_rate_scale = factor,
            Self::Frozen => role.frozen = true,
        }
    }
}

impl<V> Default for ParameterGroups<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> ParameterGroups<V> {
    /// Every parameter novel and decayed: plain AdamW.
    pub fn new() -> Self {
        Self {
            rules: Vec::new(),
            anchors: None,
            anchors_are_partial: false,
            anchors_must_equal_model: false,
        }
    }

    /// The parameters that have an anchor in `anchors` are source; those that only one of the two has are no error.
    pub(crate) fn source_at(anchors: AnchorMap<V>) -> Self {
        let groups = Self::source_names(anchors.names());
        Self { anchors: Some(anchors), anchors_are_partial: true, ..groups }
    }

    /// The parameters with one of these paths are source; at least one path must match.
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

    /// The parameters at or below `path` learn with `factor` times the learning rate, at least 0, so
    /// they decay by η·`factor`·λ. For layer-wise learning-rate decay give each layer its own factor.
    pub fn learning_rate_scale(self, path: &str, factor: f64) -> Self {
        self.rule(Selector::Path(path.to_string()), Effect::LearningRateScale(factor))
    }

    /// The parameters whose path matches the regular expression learn with `factor` times the
    /// learning rate.
    pub fn learning_rate_scale_matching(self, pattern: &str, factor: f64) -> Self {
        self.rule(Selector::Matching(pattern.to_string()), Effect::LearningRateScale(factor))
    }

    /// The parameters at or below `path` are frozen: never changed, without state. Their gradients are still computed,
    /// unless they are switched off in the model.
    pub fn frozen(self, path: &str) -> Self {
        self.rule(Selector::Path(path.to_string()), Effect::Frozen)
    }

    /// The parameters whose path matches the regular expression are frozen.
    pub fn frozen_matching(self, pattern: &str) -> Self {
        self.rule(Selector::Matching(pattern.to_string()), Effect::Frozen)
    }

    /// Parameters with `bias` in their own name and all parameters of normalization modules do not
    /// decay: the usual choice for transformers.
    pub fn biases_and_norms_undecayed(self) -> Self {
        self.rule(Selector::BiasesAndNorms, Effect::Undecayed)
    }

    /// Pull the source parameters back to `anchors` instead of to their values at the first step.
    /// Every anchor must have a parameter of its name and shape, and every source parameter an
    /// anchor. A tied parameter takes that of the first of its paths that has one.
    pub fn anchored_at(self, anchors: AnchorMap<V>) -> Self {
        Self { anchors: Some(anchors), anchors_are_partial: false, ..self }
    }

    /// Explicit anchors that differ from the model's current values are an error, as when the model
    /// was loaded from another checkpoint than the anchors.
    pub fn anchors_must_equal_model(mut self) -> Self {
        self.anchors_must_equal_model = true;
        self
    }

    fn rule(mut self, selector: Selector, effect: Effect) -> Self {
        self.rules.push((selector, effect));
        self
    }

    /// The role of every parameter and the explicit anchors of the source parameters, both by path; of a tied parameter
    /// by its first path. `differing` names the anchors that differ from the model's values.
    pub(crate) fn resolve(
        self,
        parameters: &[Parameter],
        differing: impl FnOnce(&AnchorMap<V>) -> Vec<String>,
    ) -> Result<Resolved<V>, OptimizerError> {
        let roles = self.roles(parameters)?;
        let anchors = match self.anchors {
            None => AnchorMap::none(),
            Some(anchors) => {
                let pulled = |parameter: &Parameter| {
                    roles.get(parameter.path()).is_some_and(|role| role.source && !role.frozen)
                };
                anchors.fitting(parameters, pulled, self.anchors_are_partial)?
            }
        };
        if self.anchors_must_equal_model {
            let names = differing(&anchors);
            if !names.is_empty() {
                return Err(OptimizerError::AnchorsDiffer { names });
            }
        }
        Ok(Resolved { roles, anchors })
    }

    fn roles(&self, parameters: &[Parameter]) -> Result<BTreeMap<String, Role>, OptimizerError> {
        let mut rules = Vec::with_capacity(self.rules.len());
        for (selector, effect) in &self.rules {
            if let Effect::LearningRateScale(factor) = effect {
                let expected = "finite and at least 0";
                check("learning_rate_scale", *factor, expected, |factor| factor >= 0.0)?;
            }
            rules.push(Rule {
                selector,
                selects: selector.compile()?,
                effect: *effect,
                used: false,
            });
        }
        let mut role_at = |place: &Place| {
            let mut role =
                Role { source: false, decayed: true, learning_rate_scale: 1.0, frozen: false };
            for rule in &mut rules {
                if (rule.selects)(place) {
                    rule.used = true;
                    rule.effect.apply(&mut role);
                }
            }
            role
        };
        let mut roles = BTreeMap::new();
        let mut disagreeing = Vec::new();
        for parameter in parameters {
            let at_places: Vec<Role> = parameter.places.iter().map(&mut role_at).collect();
            if at_places.iter().any(|role| *role != at_places[0]) {
                disagreeing.push(parameter.paths());
            }
            roles.insert(parameter.path().to_string(), at_places[0]);
        }
        // A model without biases and norms is no mistake of the caller.
        let unused = rules
            .iter()
            .filter(|rule| !rule.used && !matches!(rule.selector, Selector::BiasesAndNorms))
            .map(|rule| rule.selector.to_string())
            .collect::<Vec<_>>();
        if !unused.is_empty() {
            let parameters =
                parameters.iter().map(|parameter| parameter.path().to_string()).collect();
            return Err(OptimizerError::NothingMatches { rules: unused, parameters });
        }
        if !disagreeing.is_empty() {
            return Err(OptimizerError::TiedRolesDiffer { names: disagreeing });
        }
        Ok(roles)
    }
}

/// A rule being applied.
struct Rule<'a> {
    selector: &'a Selector,
    selects: Selects<'a>,
    effect: Effect,
    used: bool,
}

/// [`ParameterGroups`] applied to a module.
pub(crate) struct Resolved<V> {
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) anchors: AnchorMap<V>,
}

type Selects<'a> = Box<dyn Fn(&Place) -> bool + 'a>;

impl Selector {
    fn compile(&self) -> Result<Selects<'_>, OptimizerError> {
        Ok(match self {
            Self::Path(path) => Box::new(move |place| {
                place
                    .path
                    .strip_prefix(path.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || path.is_empty())
            }),
            Self::Matching(pattern) => {
                let regex = Regex::new(pattern).map_err(|error| OptimizerError::InvalidRegex {
                    pattern: pattern.clone(),
                    reason: error.to_string(),
                })?;
                Box::new(move |place| regex.is_match(&place.path))
            }
            Self::Named(names) => Box::new(move |place| names.contains(&place.path)),
            Self::BiasesAndNorms => Box::new(|place| place.is_bias_or_norm),
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
                write!(f, "any of the names {}", names.join(", "))
            }
            Self::BiasesAndNorms => f.write_str("biases and norms"),
        }
    }
}
