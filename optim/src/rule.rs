//! The update rule, for whole tensors of any Burn and for single elements.

use std::ops::{Add, Div, Mul, Sub};

use crate::AdamWL2SPConfig;

/// AdamW with decay towards the starting point, for one group of parameters of any rank.
///
/// For a parameter θ with gradient g at its step t (from 1) and learning rate η:
///
/// ```text
/// g ← −g                                     if maximize
/// θ ← (1 − ηλ₁) θ + ηλ₁ θ⁰                   source: towards the anchor θ⁰
/// θ ← (1 − ηλ₂) θ                            novel: towards zero
/// m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²
/// v̂ ← max(v̂, v)                              with amsgrad (of the uncorrected v); else v̂ = v
/// θ ← θ − η/(1 − β₁ᵗ) · m / ( √v̂ / √(1 − β₂ᵗ) + ε )
/// ```
///
/// An undecayed parameter skips the second and third line; without
/// [`bias_correction`](AdamWL2SPConfig::bias_correction) both 1 − βᵗ are 1. The anchor θ⁰ of a source parameter is
/// its value before its first step, or whatever its state already holds; it stays in the state, and so in every record
/// of the optimizer.
///
/// Made by [`AdamWL2SPConfig::build`], as the rule for source parameters. It implements Burn 0.21's `SimpleOptimizer` and
/// Burn 0.22's `Optimizer`, each with the feature of that Burn.
///
/// References: Loshchilov & Hutter, arXiv 1711.05101; Li, Grandvalet & Davoine, arXiv 1802.01483;
/// Reddi, Kale & Kumar, openreview ryQu7f-RZ.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWL2SP {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    novel_decay: f64,
    pub(crate) amsgrad: bool,
    maximize: bool,
    bias_correction: bool,
    /// Whether θ⁰ is kept.
    pub(crate) source: bool,
    /// λ₁ or λ₂; zero for undecayed parameters.
    decay: f64,
}

impl AdamWL2SP {
    pub(crate) fn new(config: &AdamWL2SPConfig) -> Self {
        Self {
            beta_1: config.beta_1,
            beta_2: config.beta_2,
            epsilon: config.epsilon,
            novel_decay: config.novel_decay,
            amsgrad: config.amsgrad,
            maximize: config.maximize,
            bias_correction: config.bias_correction,
            source: true,
            decay: config.source_decay,
        }
    }

    /// The same rule for novel parameters: no anchor, decay to zero by `novel_decay`.
    pub fn novel(mut self) -> Self {
        self.source = false;
        self.decay = self.novel_decay;
        self
    }

    /// The same rule without any decay; a source parameter still keeps its anchor.
    pub fn undecayed(mut self) -> Self {
        self.decay = 0.0;
        self
    }

    /// The same rule for parameters that have `role`.
    pub(crate) fn for_role(self, role: crate::Role) -> Self {
        let rule = if role.source { self } else { self.novel() };
        if role.decayed { rule } else { rule.undecayed() }
    }

    /// θ and its state after a step.
    pub(crate) fn advance<N: Values>(
        &self,
        lr: f64,
        theta: N,
        grad: N,
        mut state: State<N>,
    ) -> (N, State<N>) {
        if self.source && state.anchor.is_none() {
            state.anchor = Some(theta.clone());
        }
        let time = state.time + 1;
        let coefficients = self.coefficients(lr, time);
        let target = state.anchor.clone().filter(|_| self.source && coefficients.decay != 0.0);
        let largest = self
            .amsgrad
            // v is never negative: the larger of it and zero is itself.
            .then(|| state.moments.largest.unwrap_or_else(|| theta.zeros()));
        let moments = Moments { largest, ..state.moments };
        let (theta, moments) = N::update(&coefficients, theta, grad, target, moments);
        (theta, State { time, moments, anchor: state.anchor })
    }

    /// In f64: f32 loses digits in 1 − βᵗ.
    pub(crate) fn coefficients(&self, lr: f64, time: usize) -> Coefficients {
        let t = time as f64;
        let correction = |beta: f64| if self.bias_correction { 1.0 - beta.powf(t) } else { 1.0 };
        Coefficients {
            maximize: self.maximize,
            decay: lr * self.decay,
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            step_size: lr / correction(self.beta_1),
            correction_2: correction(self.beta_2).sqrt(),
            epsilon: self.epsilon,
        }
    }
}

/// What is kept of a parameter from one step to the next.
pub(crate) struct State<N> {
    /// t, the number of steps taken.
    pub(crate) time: usize,
    pub(crate) moments: Moments<N>,
    /// θ⁰ of a source parameter.
    pub(crate) anchor: Option<N>,
}

impl<N: Values> State<N> {
    /// No steps taken, no anchor.
    pub(crate) fn new(theta: &N) -> Self {
        let moments = Moments { first: theta.zeros(), second: theta.zeros(), largest: None };
        Self { time: 0, moments, anchor: None }
    }

    /// No steps taken, pulled to `anchor`.
    pub(crate) fn anchored(anchor: N) -> Self {
        Self { anchor: Some(anchor.clone()), ..Self::new(&anchor) }
    }
}

/// The operations of the formula.
pub(crate) trait Arithmetic:
    Clone + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    fn plus(self, term: f64) -> Self;
    fn times(self, factor: f64) -> Self;
    fn over(self, divisor: f64) -> Self;
    fn square_root(self) -> Self;
    fn larger(self, other: Self) -> Self;
}

/// The values of a whole parameter.
pub(crate) trait Values: Arithmetic {
    /// As many zeros.
    fn zeros(&self) -> Self;

    /// [`Coefficients::update`], by the operations of a tensor or in one pass over its elements.
    fn update(
        coefficients: &Coefficients,
        theta: Self,
        grad: Self,
        anchor: Option<Self>,
        moments: Moments<Self>,
    ) -> (Self, Moments<Self>) {
        coefficients.update(theta, grad, anchor, moments)
    }
}

/// The scalars of one step of a parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coefficients {
    pub(crate) maximize: bool,
    /// ηλ; 0 for an undecayed parameter.
    pub(crate) decay: f64,
    pub(crate) beta_1: f64,
    pub(crate) beta_2: f64,
    /// η/(1 − β₁ᵗ); η without bias correction.
    pub(crate) step_size: f64,
    /// √(1 − β₂ᵗ); 1 without bias correction.
    pub(crate) correction_2: f64,
    pub(crate) epsilon: f64,
}

/// m, v, and with amsgrad the largest v so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moments<N> {
    pub(crate) first: N,
    pub(crate) second: N,
    pub(crate) largest: Option<N>,
}

impl Coefficients {
    /// θ and the moments after a step. θ decays to `anchor`, or to zero without one.
    #[inline(always)]
    pub(crate) fn update<N: Arithmetic>(
        &self,
        theta: N,
        grad: N,
        anchor: Option<N>,
        moments: Moments<N>,
    ) -> (N, Moments<N>) {
        let grad = if self.maximize { grad.times(-1.0) } else { grad };
        let theta = match anchor {
            _ if self.decay == 0.0 => theta,
            Some(anchor) => theta.times(1.0 - self.decay) + anchor.times(self.decay),
            None => theta.times(1.0 - self.decay),
        };
        let first = moments.first.times(self.beta_1) + grad.clone().times(1.0 - self.beta_1);
        let second =
            moments.second.times(self.beta_2) + (grad.clone() * grad).times(1.0 - self.beta_2);
        let largest = moments.largest.map(|largest| largest.larger(second.clone()));
        let scale = largest.clone().unwrap_or_else(|| second.clone());
        let denominator = scale.square_root().over(self.correction_2).plus(self.epsilon);
        let theta = theta - (first.clone() / denominator).times(self.step_size);
        (theta, Moments { first, second, largest })
    }
}
