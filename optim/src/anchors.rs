//! The pretrained values θ⁰, by name.

use std::collections::BTreeMap;

use crate::OptimizerError;
use crate::parameters::Parameter;

/// The values θ⁰ that source parameters are pulled back to, by parameter path; `V` holds a tensor of any rank.
///
/// The alias `Anchors` is this type for one version of Burn; it takes the values from a module.
#[derive(Clone, Debug)]
pub struct AnchorMap<V> {
    values: BTreeMap<String, Anchor<V>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Anchor<V> {
    pub(crate) shape: Vec<usize>,
    pub(crate) value: V,
}

impl<V> AnchorMap<V> {
    pub(crate) fn none() -> Self {
        Self { values: BTreeMap::new() }
    }

    /// The paths of the anchored parameters, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Keeps only the anchors for whose path `keep` returns true.
    pub fn filter(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.values.retain(|path, _| keep(path));
        self
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Anchor<V>> {
        self.values.get(path)
    }

    pub(crate) fn put(&mut self, path: String, shape: &[usize], value: V) {
        self.values.insert(path, Anchor { shape: shape.to_vec(), value });
    }

    /// The anchors of the parameters that are `pulled`, each under its parameter's first path, after
    /// checking that they fit. Where `partial`, neither anchors without such a parameter nor the
    /// reverse are errors.
    pub(crate) fn fitting(
        mut self,
        parameters: &[Parameter],
        pulled: impl Fn(&Parameter) -> bool,
        partial: bool,
    ) -> Result<Self, OptimizerError> {
        let by_path: BTreeMap<&str, &Parameter> = parameters
            .iter()
            .flat_map(|it| it.places.iter().map(move |place| (place.path.as_str(), it)))
            .collect();
        if partial {
            self.values.retain(|path, _| by_path.get(path.as_str()).is_some_and(|it| pulled(it)));
        }
        let mut mismatches = Vec::new();
        let mut unmatched = Vec::new();
        for (path, anchor) in &self.values {
            match by_path.get(path.as_str()) {
                Some(parameter) if parameter.shape != anchor.shape => mismatches.push(format!(
                    "{path}: anchor {:?}, parameter {:?}",
                    anchor.shape, parameter.shape
                )),
                Some(_) => {}
                None => unmatched.push(path.clone()),
            }
        }
        if !mismatches.is_empty() {
            return Err(OptimizerError::AnchorShape { mismatches });
        }
        if !partial && !unmatched.is_empty() {
            return Err(OptimizerError::UnmatchedAnchors { names: unmatched });
        }
        let mut fitting = Self::none();
        let mut names = Vec::new();
        for parameter in parameters.iter().filter(|parameter| pulled(parameter)) {
            let path = parameter.path().to_string();
            match parameter.places.iter().find_map(|place| self.values.remove(&place.path)) {
                Some(anchor) => {
                    fitting.values.insert(path, anchor);
                }
                None => names.push(path),
            }
        }
        if !partial && !names.is_empty() {
            return Err(OptimizerError::MissingAnchors { names });
        }
        Ok(fitting)
    }
}
