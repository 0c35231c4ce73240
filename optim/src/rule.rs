//! The update formula, for whole tensors on any backend and for single elements.

use std::ops::{Add, Div, Mul, Sub};

use burn::tensor::{Tensor, backend::Backend};

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

impl<B: Backend, const D: usize> Arithmetic for Tensor<B, D> {
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

#[cfg(feature = "flex")]
impl<N> Moments<N> {
    /// Applies `f` to each moment.
    pub(crate) fn map<M>(self, f: impl Fn(N) -> M) -> Moments<M> {
        Moments { first: f(self.first), second: f(self.second), largest: self.largest.map(f) }
    }
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
