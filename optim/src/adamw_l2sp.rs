//! The update rule.

use burn::optim::{LearningRate, SimpleOptimizer};
use burn::record::Record;
use burn::tensor::{Tensor, backend::Backend};

use crate::AdamWL2SPConfig;
use crate::rule::{Coefficients, Moments};

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
/// its value before its first step, or whatever its [state](AdamWL2SPState::anchored) already
/// holds; it stays in the state, and so in every record of the optimizer.
///
/// Made by [`AdamWL2SPConfig::build`], as the rule for source parameters.
///
/// References: Loshchilov & Hutter, arXiv 1711.05101; Li, Grandvalet & Davoine, arXiv 1802.01483;
/// Reddi, Kale & Kumar, openreview ryQu7f-RZ.
///
/// ```
/// use adamw_l2sp::AdamWL2SPConfig;
/// use burn::backend::Flex;
/// use burn::optim::SimpleOptimizer;
/// use burn::tensor::Tensor;
///
/// let rule = AdamWL2SPConfig::new().with_source_decay(0.5).build()?;
/// let theta = Tensor::<Flex, 1>::from_floats([1.0, -2.0], &Default::default());
/// let grad = theta.ones_like();
/// let (theta, state) = rule.step(0.1, theta, grad, None);
/// assert_eq!(state.unwrap().anchor.unwrap().into_data(), [1.0f32, -2.0].into());
/// # assert!(theta.into_data().to_vec::<f32>().unwrap()[0] < 1.0);
/// # Ok::<(), adamw_l2sp::OptimizerError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWL2SP {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
    novel_decay: f64,
    amsgrad: bool,
    maximize: bool,
    bias_correction: bool,
    /// Whether θ⁰ is kept.
    source: bool,
    /// λ₁ or λ₂; zero for undecayed parameters.
    decay: f64,
}

/// The state of [`AdamWL2SP`] for one parameter.
#[derive(Record, Clone, Debug)]
pub struct AdamWL2SPState<B: Backend, const D: usize> {
    /// t, the number of steps taken.
    pub time: usize,
    /// m, the running mean of the gradient.
    pub moment_1: Tensor<B, D>,
    /// v, the running mean of the squared gradient.
    pub moment_2: Tensor<B, D>,
    /// The largest v so far, with amsgrad.
    pub max_moment_2: Option<Tensor<B, D>>,
    /// θ⁰ of a source parameter.
    pub anchor: Option<Tensor<B, D>>,
}

impl<B: Backend, const D: usize> AdamWL2SPState<B, D> {
    /// The state before the first step of a parameter that is pulled to `anchor`, whatever its own
    /// value.
    pub fn anchored(anchor: Tensor<B, D>) -> Self {
        Self { anchor: Some(anchor.clone()), ..Self::zeros_like(&anchor) }
    }

    /// No steps taken, no anchor.
    fn zeros_like(theta: &Tensor<B, D>) -> Self {
        Self {
            time: 0,
            moment_1: theta.zeros_like(),
            moment_2: theta.zeros_like(),
            max_moment_2: None,
            anchor: None,
        }
    }
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
}

impl<B: Backend> SimpleOptimizer<B> for AdamWL2SP {
    type State<const D: usize> = AdamWL2SPState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        theta: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let mut state = state.unwrap_or_else(|| AdamWL2SPState::zeros_like(&theta));
        if self.source && state.anchor.is_none() {
            state.anchor = Some(theta.clone());
        }
        state.time += 1;

        let coefficients = self.coefficients(lr, state.time);
        let anchor = state.anchor.clone().filter(|_| self.source && coefficients.decay != 0.0);
        let largest = self
            .amsgrad
            // v is never negative: the larger of it and zero is itself.
            .then(|| state.max_moment_2.unwrap_or_else(|| theta.zeros_like()));
        let moments = Moments { first: state.moment_1, second: state.moment_2, largest };
        let (theta, moments) = step(&coefficients, theta, grad, anchor, moments);
        let Moments { first: moment_1, second: moment_2, largest: max_moment_2 } = moments;
        (theta, Some(AdamWL2SPState { moment_1, moment_2, max_moment_2, ..state }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &B::Device) -> Self::State<D> {
        AdamWL2SPState {
            time: state.time,
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
            max_moment_2: state.max_moment_2.map(|tensor| tensor.to_device(device)),
            anchor: state.anchor.map(|tensor| tensor.to_device(device)),
        }
    }
}

impl AdamWL2SP {
    /// In f64: f32 loses digits in 1 − βᵗ.
    fn coefficients(&self, lr: LearningRate, time: usize) -> Coefficients {
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

/// The update over whole tensors, or in one pass on the flex backend.
fn step<B: Backend, const D: usize>(
    coefficients: &Coefficients,
    theta: Tensor<B, D>,
    grad: Tensor<B, D>,
    anchor: Option<Tensor<B, D>>,
    moments: Moments<Tensor<B, D>>,
) -> (Tensor<B, D>, Moments<Tensor<B, D>>) {
    #[cfg(feature = "flex")]
    if crate::flex::is_flex(&theta) && crate::flex::is_flex(&grad) {
        return crate::flex::update(coefficients, theta, grad, anchor, moments);
    }
    coefficients.update(theta, grad, anchor, moments)
}

#[cfg(feature = "flex")]
#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::Distribution;

    type T = Tensor<Flex, 2>;

    fn draw(shape: [usize; 2]) -> T {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Default::default())
    }

    fn data(tensor: T) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    #[test]
    fn one_pass_gives_the_bits_of_whole_tensors() {
        let rules = [
            AdamWL2SPConfig::new().with_source_decay(0.5),
            AdamWL2SPConfig::new().with_source_decay(0.5).with_amsgrad(true).with_epsilon(1e-6),
            AdamWL2SPConfig::new().with_maximize(true),
            AdamWL2SPConfig::new().with_bias_correction(false),
        ];
        let rules = rules.map(|config| config.build().unwrap());
        for rule in rules.iter().flat_map(|r| [r.clone(), r.clone().novel(), r.clone().undecayed()])
        {
            for shape in [[1, 1], [3, 7], [170, 301]] {
                let (theta, grad) = (draw(shape), draw(shape));
                let anchor = rule.source.then(|| draw(shape));
                let moments = || Moments {
                    first: grad.clone() * 0.3,
                    second: grad.clone() * grad.clone() * 0.2,
                    largest: rule.amsgrad.then(|| theta.clone() * theta.clone()),
                };
                let c = rule.coefficients(0.01, 3);
                let args = || (theta.clone(), grad.clone(), anchor.clone());
                let (fast, whole) = {
                    let (theta, grad, anchor) = args();
                    let fast = step(&c, theta, grad, anchor, moments());
                    let (theta, grad, anchor) = args();
                    (fast, c.update(theta, grad, anchor, moments()))
                };
                assert_eq!(data(fast.0), data(whole.0), "{rule:?}");
                assert_eq!(data(fast.1.first), data(whole.1.first));
                assert_eq!(data(fast.1.second), data(whole.1.second));
                assert_eq!(fast.1.largest.map(data), whole.1.largest.map(data));
            }
        }
    }

    #[test]
    fn a_step_changes_no_tensor_that_is_held_elsewhere() {
        let rule = AdamWL2SPConfig::new().with_source_decay(0.5).build().unwrap();
        let (theta, grad) = (draw([5, 9]), draw([5, 9]));
        let before = (data(theta.clone()), data(grad.clone()));
        let (_, state) = rule.step(0.1, theta.clone(), grad.clone(), None);
        let kept = state.clone().unwrap();
        rule.step(0.1, theta.clone(), grad.clone(), state);
        assert_eq!((data(theta), data(grad)), before);
        assert_eq!((kept.time, data(kept.anchor.unwrap())), (1, before.0));
    }
}
