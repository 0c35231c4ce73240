//! The rule as an optimizer of Burn 0.22.

use burn_0_22::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn_0_22::tensor::{Device, Tensor};

use crate::AdamWL2SP;
use crate::rule::{Arithmetic, Moments, State, Values};

/// The state of [`AdamWL2SP`] for one parameter.
#[derive(Clone, Debug)]
pub struct AdamWL2SPState<const D: usize> {
    /// t, the number of steps taken.
    pub time: usize,
    /// m, the running mean of the gradient.
    pub moment_1: Tensor<D>,
    /// v, the running mean of the squared gradient.
    pub moment_2: Tensor<D>,
    /// The largest v so far, with amsgrad.
    pub max_moment_2: Option<Tensor<D>>,
    /// θ⁰ of a source parameter.
    pub anchor: Option<Tensor<D>>,
}

impl<const D: usize> AdamWL2SPState<D> {
    /// The state before the first step of a parameter that is pulled to `anchor`, whatever its own
    /// value.
    pub fn anchored(anchor: Tensor<D>) -> Self {
        State::anchored(anchor).into()
    }
}

impl<const D: usize> From<State<Tensor<D>>> for AdamWL2SPState<D> {
    fn from(State { time, moments, anchor }: State<Tensor<D>>) -> Self {
        let Moments { first: moment_1, second: moment_2, largest: max_moment_2 } = moments;
        Self { time, moment_1, moment_2, max_moment_2, anchor }
    }
}

impl<const D: usize> From<AdamWL2SPState<D>> for State<Tensor<D>> {
    fn from(state: AdamWL2SPState<D>) -> Self {
        let AdamWL2SPState { time, moment_1, moment_2, max_moment_2, anchor } = state;
        let moments = Moments { first: moment_1, second: moment_2, largest: max_moment_2 };
        Self { time, moments, anchor }
    }
}

/// Every tensor keeps its own data type, so that a loaded state has the bits of the saved one. (Burn's derive macro for
/// this trait works only inside burn-optim.)
impl<const D: usize> RecordState for AdamWL2SPState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "time", self.time.into());
        out.push_tensor(prefix, "moment_1", self.moment_1.to_data());
        out.push_tensor(prefix, "moment_2", self.moment_2.to_data());
        for (name, tensor) in [("max_moment_2", &self.max_moment_2), ("anchor", &self.anchor)] {
            if let Some(tensor) = tensor {
                out.push_tensor(prefix, name, tensor.to_data());
            }
        }
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let mut tensor = |name: &str| {
            let data = src.take_tensor(prefix, name)?;
            let dtype = data.dtype();
            Some(Tensor::from_data(data, (device, dtype)))
        };
        let (moment_1, moment_2) = (tensor("moment_1")?, tensor("moment_2")?);
        let (max_moment_2, anchor) = (tensor("max_moment_2"), tensor("anchor"));
        let time = src.take_scalar(prefix, "time")?.try_into().ok()?;
        Some(Self { time, moment_1, moment_2, max_moment_2, anchor })
    }
}

impl Optimizer for AdamWL2SP {
    type State<const D: usize> = AdamWL2SPState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        theta: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let state = state.map_or_else(|| State::new(&theta), State::from);
        let (theta, state) = self.advance(lr, theta, grad, state);
        (theta, Some(state.into()))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdamWL2SPState {
            time: state.time,
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
            max_moment_2: state.max_moment_2.map(|tensor| tensor.to_device(device)),
            anchor: state.anchor.map(|tensor| tensor.to_device(device)),
        }
    }
}

impl<const D: usize> Arithmetic for Tensor<D> {
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

impl<const D: usize> Values for Tensor<D> {
    fn zeros(&self) -> Self {
        self.zeros_like()
    }
}
