//! The hyper-parameters of AdamWL2SP.

use std::fmt::{Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::{AdamWL2SP, OptimizerError};

/// The hyper-parameters of [`AdamWL2SP`].
///
/// The decays are *decoupled* and multiplied by the learning rate η, as in PyTorch's AdamW: a step
/// moves a source parameter by η·`source_decay`·(θ⁰ − θ) and a novel one by −η·`novel_decay`·θ.
/// The defaults are PyTorch's AdamW with no pull on the source parameters; the RTE recipe uses
/// ε = 1e-6 and decays (0.5, 0).
///
/// It implements the `Config` trait of each version of Burn whose feature is enabled, and so can be saved as JSON and loaded.
///
/// ```
/// use adamw_l2sp::AdamWL2SPConfig;
///
/// let rule = AdamWL2SPConfig::new().with_epsilon(1e-6).with_source_decay(0.5).build()?;
/// let error = AdamWL2SPConfig::new().with_beta_2(1.0).build().unwrap_err();
/// assert_eq!(error.to_string(), "beta_2 is 1, but must be in [0, 1)");
/// # Ok::<(), adamw_l2sp::OptimizerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamWL2SPConfig {
    /// β₁, the decay rate of the first moment, in [0, 1).
    pub beta_1: f64,
    /// β₂, the decay rate of the second moment, in [0, 1).
    pub beta_2: f64,
    /// ε, added to the denominator; at least 0.
    pub epsilon: f64,
    /// λ₁, the pull of a source parameter towards its pretrained value; at least 0.
    pub source_decay: f64,
    /// λ₂, the pull of a novel parameter towards zero; at least 0.
    pub novel_decay: f64,
    /// Divide by the largest second moment so far instead of the current one.
    pub amsgrad: bool,
    /// Maximize the objective instead of minimizing it.
    pub maximize: bool,
    /// Divide the moments by 1 − βᵗ. BERT's original optimizer does not, which makes its first steps
    /// larger and fine-tuning less stable (Zhang et al., arXiv 2006.05987).
    pub bias_correction: bool,
}

impl Default for AdamWL2SPConfig {
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            source_decay: 0.0,
            novel_decay: 1e-2,
            amsgrad: false,
            maximize: false,
            bias_correction: true,
        }
    }
}

/// As JSON.
impl Display for AdamWL2SPConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        display_as_json(self, f)
    }
}

impl AdamWL2SPConfig {
    /// The default hyper-parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`beta_1`](Self::beta_1), by default 0.9.
    pub fn with_beta_1(mut self, beta_1: f64) -> Self {
        self.beta_1 = beta_1;
        self
    }

    /// Sets [`beta_2`](Self::beta_2), by default 0.999.
    pub fn with_beta_2(mut self, beta_2: f64) -> Self {
        self.beta_2 = beta_2;
        self
    }

    /// Sets [`epsilon`](Self::epsilon), by default 1e-8.
    pub fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets [`source_decay`](Self::source_decay), by default 0.
    pub fn with_source_decay(mut self, source_decay: f64) -> Self {
        self.source_decay = source_decay;
        self
    }

    /// Sets [`novel_decay`](Self::novel_decay), by default 0.01.
    pub fn with_novel_decay(mut self, novel_decay: f64) -> Self {
        self.novel_decay = novel_decay;
        self
    }

    /// Sets [`amsgrad`](Self::amsgrad), by default `false`.
    pub fn with_amsgrad(mut self, amsgrad: bool) -> Self {
        self.amsgrad = amsgrad;
        self
    }

    /// Sets [`maximize`](Self::maximize), by default `false`.
    pub fn with_maximize(mut self, maximize: bool) -> Self {
        self.maximize = maximize;
        self
    }

    /// Sets [`bias_correction`](Self::bias_correction), by default `true`.
    pub fn with_bias_correction(mut self, bias_correction: bool) -> Self {
        self.bias_correction = bias_correction;
        self
    }

    /// The update rule alone, for a group of *source* parameters: see [`AdamWL2SP::novel`] and
    /// [`AdamWL2SP::undecayed`] for the others.
    ///
    /// # Errors
    /// [`OptimizerError::InvalidValue`] names a field that is out of range.
    pub fn build(&self) -> Result<AdamWL2SP, OptimizerError> {
        self.validate()?;
        Ok(AdamWL2SP::new(self))
    }

    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// [`OptimizerError::InvalidValue`] names the first field that is not.
    pub fn validate(&self) -> Result<(), OptimizerError> {
        check("beta_1", self.beta_1, "in [0, 1)", |beta| (0.0..1.0).contains(&beta))?;
        check("beta_2", self.beta_2, "in [0, 1)", |beta| (0.0..1.0).contains(&beta))?;
        for (field, value) in [
            ("epsilon", self.epsilon),
            ("source_decay", self.source_decay),
            ("novel_decay", self.novel_decay),
        ] {
            check(field, value, "finite and at least 0", |value| value >= 0.0)?;
        }
        Ok(())
    }
}

/// A configuration as Burn's own are displayed.
pub(crate) fn display_as_json(config: &impl Serialize, f: &mut Formatter<'_>) -> std::fmt::Result {
    f.write_str(&serde_json::to_string_pretty(config).map_err(|_| std::fmt::Error)?)
}

/// `value`, if it is finite and `holds`.
pub(crate) fn check(
    field: &'static str,
    value: f64,
    expected: &'static str,
    holds: impl Fn(f64) -> bool,
) -> Result<(), OptimizerError> {
    if value.is_finite() && holds(value) {
        Ok(())
    } else {
        Err(OptimizerError::InvalidValue { field, value, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_checked() {
        let config = AdamWL2SPConfig::new;
        for (field, config) in [
            ("beta_1", config().with_beta_1(1.0)),
            ("beta_1", config().with_beta_1(-0.1)),
            ("beta_2", config().with_beta_2(1.5)),
            ("beta_2", config().with_beta_2(f64::NAN)),
            ("epsilon", config().with_epsilon(-1e-9)),
            ("source_decay", config().with_source_decay(-0.5)),
            ("novel_decay", config().with_novel_decay(f64::INFINITY)),
        ] {
            match config.build().map(|_| ()) {
                Err(OptimizerError::InvalidValue { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
        config().with_beta_1(0.0).with_epsilon(0.0).build().unwrap();
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = AdamWL2SPConfig::new();
        assert_eq!((config.beta_1, config.beta_2, config.epsilon), (0.9, 0.999, 1e-8));
        assert_eq!((config.source_decay, config.novel_decay), (0.0, 1e-2));
        assert!(!config.amsgrad && !config.maximize && config.bias_correction);
    }
}
