//! The learning rate: linear warm-up, then linear or cosine decay to zero, or constant.

use std::fmt::{Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::OptimizerError;
use crate::config::{check, display_as_json};

/// What the learning rate does after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Falls linearly to zero.
    Linear,
    /// Falls along half a cosine to zero.
    Cosine,
    /// Stays at the peak.
    Constant,
}

/// A learning-rate schedule with linear warm-up from zero.
///
/// At step s (from 0), with w warm-up steps of T steps in all and the peak rate η:
///
/// ```text
/// s < w       η · s / w                          the first step's rate is exactly 0
/// linear      η · (T − s) / (T − w)
/// cosine      η · ½ (1 + cos(π (s − w) / (T − w)))
/// constant    η
/// ```
///
/// Exactly transformers' `get_linear_schedule_with_warmup` and its siblings (`optimization.py`).
/// Past the last step linear and cosine stay at zero.
///
/// ```
/// use adamw_l2sp::{ScheduleConfig, ScheduleKind};
///
/// let schedule = ScheduleConfig::new(2e-5, 2, 4).with_kind(ScheduleKind::Linear);
/// let rates = [0, 1, 2, 3, 4].map(|step| schedule.learning_rate_at(step));
/// assert_eq!(rates, [0.0, 1e-5, 2e-5, 1e-5, 0.0]);
/// ```
///
/// It implements the `Config` trait of each version of Burn whose feature is enabled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleConfig {
    /// η, the largest learning rate; at least 0.
    pub learning_rate: f64,
    /// w, the steps of the warm-up.
    pub warmup_steps: usize,
    /// T, the total number of steps.
    pub total_steps: usize,
    /// The form after the warm-up.
    pub kind: ScheduleKind,
}

/// As JSON.
impl Display for ScheduleConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        display_as_json(self, f)
    }
}

impl ScheduleConfig {
    /// A linear schedule.
    pub fn new(learning_rate: f64, warmup_steps: usize, total_steps: usize) -> Self {
        Self { learning_rate, warmup_steps, total_steps, kind: ScheduleKind::Linear }
    }

    /// Sets [`kind`](Self::kind), by default [`ScheduleKind::Linear`].
    pub fn with_kind(mut self, kind: ScheduleKind) -> Self {
        self.kind = kind;
        self
    }

    /// `ratio` · `total_steps`, rounded up as in transformers.
    pub fn warmup_steps_for(ratio: f64, total_steps: usize) -> usize {
        (total_steps as f64 * ratio).ceil() as usize
    }

    /// The schedule before its first step.
    ///
    /// # Errors
    /// [`OptimizerError::InvalidValue`] if the learning rate is negative or not finite.
    pub fn init(&self) -> Result<Schedule, OptimizerError> {
        check("learning_rate", self.learning_rate, "finite and at least 0", |lr| lr >= 0.0)?;
        Ok(Schedule { config: self.clone(), step: 0 })
    }

    /// The learning rate of step `step`, counted from 0.
    pub fn learning_rate_at(&self, step: usize) -> f64 {
        let (warmup, total) = (self.warmup_steps, self.total_steps);
        let factor = if step < warmup {
            step as f64 / warmup as f64
        } else {
            let after = total.saturating_sub(warmup).max(1) as f64;
            match self.kind {
                ScheduleKind::Linear => total.saturating_sub(step) as f64 / after,
                ScheduleKind::Cosine => {
                    let progress = ((step - warmup) as f64 / after).min(1.0);
                    0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
                }
                ScheduleKind::Constant => 1.0,
            }
        };
        self.learning_rate * factor
    }

    /// How strongly the whole schedule pulls a source parameter back to its anchor, with
    /// λ₁ = `source_decay`; for a group with a learning-rate scale s pass s·λ₁.
    ///
    /// ```
    /// use adamw_l2sp::{ScheduleConfig, ScheduleKind};
    ///
    /// let schedule = ScheduleConfig::new(0.1, 0, 2).with_kind(ScheduleKind::Constant);
    /// let pull = schedule.total_pull(0.5);
    /// assert!((pull.fraction - (1.0 - 0.95 * 0.95)).abs() < 1e-12);
    /// assert!((pull.sum - 0.1).abs() < 1e-12);
    /// ```
    pub fn total_pull(&self, source_decay: f64) -> TotalPull {
        let rates = (0..self.total_steps).map(|step| self.learning_rate_at(step) * source_decay);
        TotalPull {
            fraction: 1.0 - rates.clone().map(|rate| 1.0 - rate).product::<f64>(),
            sum: rates.sum(),
        }
    }
}

/// What [`ScheduleConfig::total_pull`] gives: how comparable two choices of learning rate, λ₁ and
/// number of steps are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TotalPull {
    /// 1 − Π (1 − ηₜλ₁): the fraction of θ − θ⁰ before the first step that the decay alone removes
    /// by the last one; 0 is no pull, 1 all the way back.
    pub fraction: f64,
    /// Σ ηₜλ₁, which `fraction` approaches for a weak pull.
    pub sum: f64,
}

/// A [`ScheduleConfig`] at some step. It implements the `LrScheduler` of each version of Burn whose feature is enabled.
#[derive(Clone, Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    /// The steps taken.
    pub(crate) step: usize,
}

impl Schedule {
    /// Takes a step: its learning rate.
    pub(crate) fn advance(&mut self) -> f64 {
        let learning_rate = self.config.learning_rate_at(self.step);
        self.step += 1;
        learning_rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// transformers 5.23.0, rounded to 12 digits:
    /// `get_{linear,cosine,constant}_schedule_with_warmup(SGD([p], lr=1.0), 3, 10)`, twelve steps.
    #[test]
    fn the_rates_are_those_of_transformers() {
        let third = 1.0 / 3.0;
        let linear: Vec<f64> = (0..=7).rev().map(|left| f64::from(left) / 7.0).collect();
        let cosine = [
            1.0,
            0.950484433951,
            0.811744900929,
            0.611260466978,
            0.388739533022,
            0.188255099071,
            0.049515566049,
            0.0,
        ];
        for (kind, after) in [
            (ScheduleKind::Linear, linear),
            (ScheduleKind::Cosine, cosine.to_vec()),
            (ScheduleKind::Constant, vec![1.0; 8]),
        ] {
            let mut schedule = ScheduleConfig::new(1.0, 3, 10).with_kind(kind).init().unwrap();
            let last = *after.last().unwrap();
            let expected = [0.0, third, 2.0 * third].into_iter().chain(after).chain([last]);
            for (step, expected) in expected.enumerate() {
                let actual = schedule.advance();
                assert!((actual - expected).abs() < 1e-11, "{kind:?} {step}: {actual} {expected}");
            }
        }
    }

    #[test]
    fn degenerate_lengths_stay_finite() {
        for kind in [ScheduleKind::Linear, ScheduleKind::Cosine, ScheduleKind::Constant] {
            for (warmup, total) in [(0, 0), (0, 1), (5, 5), (9, 3)] {
                let mut schedule =
                    ScheduleConfig::new(1.0, warmup, total).with_kind(kind).init().unwrap();
                for _ in 0..12 {
                    let rate = schedule.advance();
                    assert!((0.0..=1.0).contains(&rate), "{kind:?} {warmup} {total}: {rate}");
                }
            }
        }
    }

    #[test]
    fn warm_up_is_rounded_up() {
        assert_eq!(ScheduleConfig::warmup_steps_for(0.1, 468), 47);
        assert_eq!(ScheduleConfig::warmup_steps_for(0.0, 468), 0);
    }

    /// The pull is what the optimizer does to a parameter without gradient: no step of Adam, decay alone.
    #[test]
    fn the_total_pull_is_that_of_the_steps() {
        for kind in [ScheduleKind::Linear, ScheduleKind::Cosine, ScheduleKind::Constant] {
            let config = ScheduleConfig::new(0.3, 4, 30).with_kind(kind);
            let (mut schedule, anchor, mut theta) = (config.init().unwrap(), 3.0, 5.0);
            for _ in 0..30 {
                let rate = schedule.advance() * 0.5;
                theta = (1.0 - rate) * theta + rate * anchor;
            }
            let pull = config.total_pull(0.5);
            assert!((pull.fraction - (5.0 - theta) / (5.0 - anchor)).abs() < 1e-12, "{kind:?}");
        }
        // The RTE recipe: 468 steps with a mean rate of half the peak.
        let pull = ScheduleConfig::new(2e-5, 47, 468).total_pull(0.5);
        assert!((pull.sum - 2e-5 * 0.5 * 468.0 / 2.0).abs() < 1e-9, "{pull:?}");
        assert!(pull.fraction < pull.sum && pull.fraction > pull.sum - pull.sum.powi(2) / 2.0);
        let none = ScheduleConfig::new(2e-5, 47, 468).total_pull(0.0);
        assert_eq!(none, TotalPull { fraction: 0.0, sum: 0.0 });
    }

    #[test]
    fn a_negative_rate_is_refused() {
        let error = ScheduleConfig::new(-1.0, 0, 1).init().unwrap_err();
        assert!(error.to_string().starts_with("learning_rate is -1"), "{error}");
    }
}
