//! The activations of a feed-forward layer.

use burn::backend::flex::FlexTensor;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, activation};

use crate::kernels::numbers::{exp, map_chunk_pairs, map_chunks, vectorized};
use crate::kernels::operation::{Operation, is_flex, primitive, run, tensor};

/// Numbers a task.
const TASK: usize = 1 << 14;

/// max(x, 0); its derivative at 0 is 0.
pub fn relu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    apply(Activation::Relu, x)
}

/// The Gaussian error linear unit x·Φ(x), with the distribution function Φ of the normal distribution.
///
/// Hendrycks & Gimpel, [arXiv 1606.08415](https://arxiv.org/abs/1606.08415).
pub fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    apply(Activation::Gelu, x)
}

/// The approximation of [`gelu`] by tanh: ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
///
/// Hendrycks & Gimpel, [arXiv 1606.08415](https://arxiv.org/abs/1606.08415).
pub fn gelu_tanh<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    apply(Activation::GeluTanh, x)
}

fn apply<B: Backend, const D: usize>(activation: Activation, x: Tensor<B, D>) -> Tensor<B, D> {
    if is_flex(&x) { run(activation, [primitive(x)]) } else { plain(activation, x) }
}

fn plain<B: Backend, const D: usize>(activation: Activation, x: Tensor<B, D>) -> Tensor<B, D> {
    match activation {
        Activation::Relu => activation::relu(x),
        // Burn's own has the derivative of the approximation by tanh, on most backends: it is off by 1e-3.
        Activation::Gelu => {
            let erf = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf();
            x * ((erf + 1.0) * 0.5)
        }
        Activation::GeluTanh => {
            let scale = (2.0 / std::f64::consts::PI).sqrt();
            // A product and no power, which is many times slower on a CPU.
            let square = x.clone() * x.clone();
            let inner = x.clone() * (square * (0.044715 * scale) + scale);
            x * ((inner.tanh() + 1.0) * 0.5)
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Activation {
    Relu,
    Gelu,
    GeluTanh,
}

impl Operation<1> for Activation {
    /// The derivative, in the place of the input, which is not needed any more; for relu, the result.
    type Saved = FlexTensor;

    fn forward(&self, [mut x]: [FlexTensor; 1], keep: bool) -> (FlexTensor, Option<FlexTensor>) {
        let numbers = x.storage_mut::<f32>();
        match (self, keep) {
            (Self::Relu, _) => {
                in_place(numbers, |x| if x > 0.0 { x } else { 0.0 });
                (x.clone(), keep.then_some(x))
            }
            (Self::Gelu, false) => {
                in_place(numbers, |x| gelu_and_derivative(x).0);
                (x, None)
            }
            (Self::GeluTanh, false) => {
                in_place(numbers, |x| gelu_tanh_and_derivative(x).0);
                (x, None)
            }
            (Self::Gelu, true) => keep_derivative(x, gelu_and_derivative),
            (Self::GeluTanh, true) => keep_derivative(x, gelu_tanh_and_derivative),
        }
    }

    fn backward(
        self,
        saved: FlexTensor,
        mut gradient: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let saved = saved.storage::<f32>();
        let numbers = gradient.storage_mut::<f32>();
        match self {
            Self::Relu => with_each(numbers, saved, |g, y| if y > 0.0 { g } else { 0.0 }),
            Self::Gelu | Self::GeluTanh => {
                with_each(numbers, saved, |g, derivative| g * derivative)
            }
        }
        [Some(gradient)]
    }
}

/// The results of `f`, and the derivatives where `x` was.
fn keep_derivative(
    mut x: FlexTensor,
    f: impl Fn(f32) -> (f32, f32) + Sync + Send,
) -> (FlexTensor, Option<FlexTensor>) {
    let numbers = x.storage_mut::<f32>();
    let mut results = vec![0.0; numbers.len()];
    map_chunk_pairs((numbers, TASK), (&mut results, TASK), |_, xs, ys| {
        vectorized(
            #[inline(always)]
            || {
                for (x, y) in xs.iter_mut().zip(ys.iter_mut()) {
                    (*y, *x) = f(*x);
                }
            },
        );
    });
    let flat = [results.len()];
    let results = tensor(results, flat).reshape(x.layout().shape().clone());
    (results, Some(x))
}

fn in_place(numbers: &mut [f32], f: impl Fn(f32) -> f32 + Sync + Send) {
    map_chunks(numbers, TASK, |_, chunk| {
        vectorized(
            #[inline(always)]
            || chunk.iter_mut().for_each(|x| *x = f(*x)),
        );
    });
}

fn with_each(numbers: &mut [f32], others: &[f32], f: impl Fn(f32, f32) -> f32 + Sync + Send) {
    map_chunks(numbers, TASK, |index, chunk| {
        let others = &others[index * TASK..][..chunk.len()];
        vectorized(
            #[inline(always)]
            || {
                for (x, &other) in chunk.iter_mut().zip(others) {
                    *x = f(*x, other);
                }
            },
        );
    });
}

/// ½·(1 + tanh u) is σ(2u), which needs one exponential and loses no digits for negative u:
/// f = x·σ(z), z = x·(a + b·x²) and f′ = σ + x·σ·(1 − σ)·(a + 3b·x²), with a = 2√(2/π) and b = 0.044715·a.
#[inline(always)]
fn gelu_tanh_and_derivative(x: f32) -> (f32, f32) {
    const A: f32 = 1.595_769;
    const B: f32 = 0.044_715 * A;
    // Further out σ is 0 or 1, and the square is still a number.
    let near = x.clamp(-20.0, 20.0);
    let square = near * near;
    let sigma = 1.0 / (1.0 + exp(-(near * (A + B * square))));
    (x * sigma, sigma + near * sigma * (1.0 - sigma) * (A + 3.0 * B * square))
}

/// f = x·Φ(x), f′ = Φ(x) + x·φ(x), with the density φ(x) = e^(−x²/2)/√(2π).
///
/// With a = |x| and t = 1/(1 + 0.35·a) it is Φ(−a) = e^(−a²/2)·t·P(t): the polynomial P of degree 8 was fitted to
/// Φ(−a)·e^(a²/2)/t for 0 ≤ a ≤ 13, with a relative error below 4e-8.
#[inline(always)]
fn gelu_and_derivative(x: f32) -> (f32, f32) {
    const P: [f32; 9] = [
        0.139_621_7,
        0.139_856_71,
        0.119_869_06,
        0.105_369_34,
        -0.022_791_132,
        0.158_722_62,
        -0.255_327_84,
        0.143_788_51,
        -0.029_108_994,
    ];
    const DENSITY: f32 = 0.398_942_3;
    // Further out e^(−a²/2) is 0, and the square is still a number.
    let near = x.clamp(-20.0, 20.0);
    let bell = exp(-0.5 * near * near);
    let t = 1.0 / (1.0 + 0.35 * near.abs());
    let mut polynomial = 0.0;
    for coefficient in P.into_iter().rev() {
        polynomial = polynomial * t + coefficient;
    }
    let tail = bell * t * polynomial;
    let phi = if x < 0.0 { tail } else { 1.0 - tail };
    (x * phi, phi + near * DENSITY * bell)
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::*;
    use crate::kernels::testing::{Train, assert_close, numbers, values};

    const ALL: [Activation; 3] = [Activation::Relu, Activation::Gelu, Activation::GeluTanh];

    fn value_and_gradient(
        activation: Activation,
        f: impl Fn(Activation, Tensor<Train, 2>) -> Tensor<Train, 2>,
        x: &Tensor<Train, 2>,
    ) -> [Vec<f32>; 2] {
        let x = x.clone().detach().require_grad();
        let y = f(activation, x.clone());
        let weights = numbers(x.dims(), 9);
        let grads = (y.clone() * weights).sum().backward();
        [values(y.inner()), values(x.grad(&grads).expect("a gradient"))]
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_form() {
        for activation in ALL {
            for shape in [[1, 1], [3, 5], [7, 31], [129, 517]] {
                let x = numbers::<Train, 2>(shape, 1) * 4.0;
                let fused = value_and_gradient(activation, apply, &x);
                let expected = value_and_gradient(activation, plain, &x);
                assert_close(&fused[0], &expected[0], 1e-6);
                assert_close(&fused[1], &expected[1], 2e-6);
                assert_eq!(values(apply(activation, x.clone().inner())), fused[0]);
            }
        }
    }

    #[test]
    fn extreme_inputs_give_their_limits() {
        let x = [-1e30, -1e10, -60.0, -0.0, 0.0, 60.0, 1e10, 1e30];
        let x = Tensor::<Train, 2>::from_floats([x], &Default::default());
        for activation in ALL {
            let half = if matches!(activation, Activation::Relu) { 0.0 } else { 0.5 };
            let x = x.clone().require_grad();
            let y = apply(activation, x.clone());
            let gradient = x.grad(&y.clone().sum().backward()).expect("a gradient");
            assert_eq!(values(y.inner()), [0.0, 0.0, 0.0, 0.0, 0.0, 60.0, 1e10, 1e30]);
            assert_close(&values(gradient), &[0.0, 0.0, 0.0, half, half, 1.0, 1.0, 1.0], 1e-7);
        }
    }

    #[test]
    fn what_is_no_number_stays_so_for_gelu() {
        for activation in [Activation::Gelu, Activation::GeluTanh] {
            let x = Tensor::<Flex, 1>::from_floats([f32::NAN], &Default::default());
            assert!(values(apply(activation, x))[0].is_nan());
        }
    }

    #[test]
    fn an_input_that_is_used_elsewhere_keeps_its_numbers() {
        let x = numbers::<Train, 2>([5, 40], 3).require_grad();
        let before = values(x.clone().inner());
        let grads = (gelu(x.clone()) * x.clone() + relu(x.clone())).sum().backward();
        assert_eq!(values(x.clone().inner()), before);
        assert!(x.grad(&grads).is_some());
    }

    #[test]
    fn other_kinds_of_numbers_take_the_plain_form() {
        let x = numbers::<Flex, 2>([3, 5], 1).cast(burn::tensor::DType::F64);
        let y = gelu(x.clone());
        assert_eq!(y.dtype(), burn::tensor::DType::F64);
        let expected = gelu(x.cast(burn::tensor::DType::F32));
        assert_close(&values(y), &values(expected), 1e-6);
    }
}
