//! The rule as an optimizer of Burn 0.21.

use burn::optim::{LearningRate, SimpleOptimizer};
use burn::record::Record;
use burn::tensor::{Tensor, backend::Backend};

use crate::AdamWL2SP;
#[cfg(feature = "flex")]
use crate::rule::Coefficients;
use crate::rule::{Arithmetic, Moments, State, Values};

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
        State::anchored(anchor).into()
    }
}

impl<B: Backend, const D: usize> From<State<Tensor<B, D>>> for AdamWL2SPState<B, D> {
    fn from(State { time, moments, anchor }: State<Tensor<B, D>>) -> Self {
        let Moments { first: moment_1, second: moment_2, largest: max_moment_2 } = moments;
        Self { time, moment_1, moment_2, max_moment_2, anchor }
    }
}

impl<B: Backend, const D: usize> From<AdamWL2SPState<B, D>> for State<Tensor<B, D>> {
    fn from(state: AdamWL2SPState<B, D>) -> Self {
        let AdamWL2SPState { time, moment_1, moment_2, max_moment_2, anchor } = state;
        let moments = Moments { first: moment_1, second: moment_2, largest: max_moment_2 };
        Self { time, moments, anchor }
    }
}

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
impl<B: Backend> SimpleOptimizer<B> for AdamWL2SP {
    type State<const D: usize> = AdamWL2SPState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        theta: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let state = state.map_or_else(|| State::new(&theta), State::from);
        let (theta, state) = self.advance(lr, theta, grad, state);
        (theta, Some(state.into()))
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

impl<B: Backend, const D: usize> Values for Tensor<B, D> {
    fn zeros(&self) -> Self {
        self.zeros_like()
    }

    #[cfg(feature = "flex")]
    fn update(
        coefficients: &Coefficients,
        theta: Self,
        grad: Self,
        anchor: Option<Self>,
        moments: Moments<Self>,
    ) -> (Self, Moments<Self>) {
        if super::flex::is_flex(&theta) && super::flex::is_flex(&grad) {
            return super::flex::update(coefficients, theta, grad, anchor, moments);
        }
        coefficients.update(theta, grad, anchor, moments)
    }
}

#[cfg(feature = "flex")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::AdamWL2SPConfig;
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
                    let fast = T::update(&c, theta, grad, anchor, moments());
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
