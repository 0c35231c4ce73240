//! The formula, for numbers of any kind: whole tensors on any backend, or one number after the other.

use std::ops::{Add, Div, Mul, Sub};

use burn::tensor::{Tensor, backend::Backend};

/// What the formula does with its numbers.
pub(crate) trait Number:
    Clone + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    fn plus(self, term: f64) -> Self;
    fn times(self, factor: f64) -> Self;
    fn over(self, divisor: f64) -> Self;
    fn square_root(self) -> Self;
    fn larger(self, other: Self) -> Self;
}

impl<B: Backend, const D: usize> Number for Tensor<B, D> {
    fn plus(self, term: f64) -> Self {
        self + term
    }

    fn times(self, factor: f64) -> Self {
        self * factor
    }

    fn over(self, divisor: f64) -> Self {
        self / divisor
    }

    fn square_root(self) -> Self {
        self.sqrt()
    }

    fn larger(self, other: Self) -> Self {
        self.max_pair(other)
    }
}

/// What a step has in common for all numbers of a parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coefficients {
    pub(crate) maximize: bool,
    /// ηλ; 0 where nothing decays.
    pub(crate) decay: f64,
    pub(crate) beta_1: f64,
    pub(crate) beta_2: f64,
    /// η/(1 − β₁ᵗ).
    pub(crate) step_size: f64,
    /// √(1 − β₂ᵗ).
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

#[cfg(feature = "flex")]
impl<N> Moments<N> {
    /// The same of another kind of numbers.
    pub(crate) fn map<M>(self, f: impl Fn(N) -> M) -> Moments<M> {
        Moments { first: f(self.first), second: f(self.second), largest: self.largest.map(f) }
    }
}

impl Coefficients {
    /// θ and the moments after a step, from those before it and the gradient; θ is pulled to `anchor`, or else to zero.
    #[inline(always)]
    pub(crate) fn update<N: Number>(
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
