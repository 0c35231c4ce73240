//! The activations of a feed-forward layer, with their derivatives.

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::config::HiddenAct;
use crate::kernels::Factors;
use crate::kernels::flex::elements::{TASK, exp, map_chunk_pairs, map_chunks, vectorized};
use crate::kernels::flex::operation::{Operation, primitive, run, tensor};
use crate::kernels::flex::product::bf16;

/// [`activate`](crate::kernels::activate) of a tensor that [is flex's](crate::kernels::flex::is_flex).
pub(crate) fn activate<B: Backend, const D: usize>(
    act: HiddenAct,
    x: Tensor<B, D>,
    factors: Factors,
) -> Tensor<B, D> {
    run(Activation { act, factors }, [primitive(x)])
}

#[derive(Clone, Debug)]
struct Activation {
    act: HiddenAct,
    factors: Factors,
}

/// The derivative, or for ReLU anything positive where it is 1.
#[derive(Clone, Debug)]
enum Saved {
    Float32(FlexTensor),
    BFloat16(Vec<u16>),
}

impl Operation<1> for Activation {
    type Saved = Saved;

    fn forward(&self, [mut x]: [FlexTensor; 1], keep: bool) -> (FlexTensor, Option<Saved>) {
        let elements = x.storage_mut::<f32>();
        match (self.act, keep.then_some(self.factors)) {
            (HiddenAct::Relu, None) => in_place(elements, |x| relu_and_derivative(x).0),
            (HiddenAct::Gelu, None) => in_place(elements, |x| gelu_and_derivative(x).0),
            (HiddenAct::GeluNew, None) => in_place(elements, |x| gelu_tanh_and_derivative(x).0),
            (HiddenAct::Relu, Some(Factors::AsGiven)) => {
                in_place(elements, |x| relu_and_derivative(x).0);
                return (x.clone(), Some(Saved::Float32(x)));
            }
            (HiddenAct::Gelu, Some(Factors::AsGiven)) => {
                return keep_float32(x, gelu_and_derivative);
            }
            (HiddenAct::GeluNew, Some(Factors::AsGiven)) => {
                return keep_float32(x, gelu_tanh_and_derivative);
            }
            (act, Some(Factors::BFloat16)) => {
                let derivative = match act {
                    HiddenAct::Relu => keep_bf16(elements, relu_and_derivative),
                    HiddenAct::Gelu => keep_bf16(elements, gelu_and_derivative),
                    HiddenAct::GeluNew => keep_bf16(elements, gelu_tanh_and_derivative),
                };
                return (x, Some(Saved::BFloat16(derivative)));
            }
        }
        (x, None)
    }

    fn backward(
        self,
        saved: Saved,
        mut gradient: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let elements = gradient.storage_mut::<f32>();
        match saved {
            Saved::Float32(saved) => self.chain(elements, saved.storage(), |x: f32| x),
            Saved::BFloat16(saved) => self.chain(elements, &saved, bf16::from_bits),
        }
        [Some(gradient)]
    }
}

impl Activation {
    /// Multiplies gradients by the derivative.
    fn chain<T: Copy + Sync>(
        &self,
        gradients: &mut [f32],
        saved: &[T],
        float32: impl Fn(T) -> f32 + Sync + Send,
    ) {
        match self.act {
            HiddenAct::Relu => {
                with_each(gradients, saved, |g, y| if float32(y) > 0.0 { g } else { 0.0 });
            }
            HiddenAct::Gelu | HiddenAct::GeluNew => {
                with_each(gradients, saved, |g, derivative| g * float32(derivative));
            }
        }
    }
}

/// The values of `f`, and its derivatives in the memory of `x`.
fn keep_float32(
    mut x: FlexTensor,
    f: impl Fn(f32) -> (f32, f32) + Sync + Send,
) -> (FlexTensor, Option<Saved>) {
    let elements = x.storage_mut::<f32>();
    let mut values = vec![0.0; elements.len()];
    map_chunk_pairs((elements, TASK), (&mut values, TASK), |_, xs, ys| {
        vectorized(
            #[inline(always)]
            || {
                for (x, y) in xs.iter_mut().zip(ys.iter_mut()) {
                    (*y, *x) = f(*x);
                }
            },
        );
    });
    let flat = [values.len()];
    let values = tensor(values, flat).reshape(x.layout().shape().clone());
    (values, Some(Saved::Float32(x)))
}

/// Replaces the elements by the values of `f`; its derivatives.
fn keep_bf16(elements: &mut [f32], f: impl Fn(f32) -> (f32, f32) + Sync + Send) -> Vec<u16> {
    let mut derivatives = vec![0; elements.len()];
    map_chunk_pairs((elements, TASK), (&mut derivatives, TASK), |_, xs, derivatives| {
        vectorized(
            #[inline(always)]
            || {
                for (x, bits) in xs.iter_mut().zip(derivatives.iter_mut()) {
                    let (value, derivative) = f(*x);
                    (*x, *bits) = (value, bf16::to_bits(derivative));
                }
            },
        );
    });
    derivatives
}

fn in_place(elements: &mut [f32], f: impl Fn(f32) -> f32 + Sync + Send) {
    map_chunks(elements, TASK, |_, chunk| {
        vectorized(
            #[inline(always)]
            || chunk.iter_mut().for_each(|x| *x = f(*x)),
        );
    });
}

fn with_each<T: Copy + Sync>(
    elements: &mut [f32],
    others: &[T],
    f: impl Fn(f32, T) -> f32 + Sync + Send,
) {
    map_chunks(elements, TASK, |index, chunk| {
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

#[inline(always)]
fn relu_and_derivative(x: f32) -> (f32, f32) {
    if x > 0.0 { (x, 1.0) } else { (0.0, 0.0) }
}

/// ½·(1 + tanh u) is σ(2u), which needs one exponential and loses no digits for negative u:
/// f = x·σ(z), z = x·(a + b·x²) and f′ = σ + x·σ·(1 − σ)·(a + 3b·x²), with a = 2√(2/π) and b = 0.044715·a.
#[inline(always)]
fn gelu_tanh_and_derivative(x: f32) -> (f32, f32) {
    const A: f32 = 1.595_769;
    const B: f32 = 0.044_715 * A;
    // Beyond ±20 σ is 0 or 1; the square must stay finite.
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
    // Beyond ±20 e^(−a²/2) is 0; the square must stay finite.
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
    use crate::kernels::activation::definition;
    use crate::kernels::flex::testing::{Train, assert_close, draw, values};

    const ALL: [HiddenAct; 3] = [HiddenAct::Relu, HiddenAct::Gelu, HiddenAct::GeluNew];

    fn value_and_gradient(
        activation: HiddenAct,
        f: impl Fn(HiddenAct, Tensor<Train, 2>) -> Tensor<Train, 2>,
        x: &Tensor<Train, 2>,
    ) -> [Vec<f32>; 2] {
        let x = x.clone().detach().require_grad();
        let y = f(activation, x.clone());
        let weights = draw(x.dims(), 9);
        let grads = (y.clone() * weights).sum().backward();
        [values(y.inner()), values(x.grad(&grads).expect("a gradient"))]
    }

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for activation in ALL {
            for shape in [[1, 1], [3, 5], [7, 31], [129, 517]] {
                let x = draw::<Train, 2>(shape, 1) * 4.0;
                let expected = value_and_gradient(activation, definition, &x);
                // A derivative in bf16 is off by 2⁻⁸ of itself at most.
                for (factors, tolerance) in [(Factors::AsGiven, 2e-6), (Factors::BFloat16, 5e-3)] {
                    let fused = |act, x| activate(act, x, factors);
                    let fused = value_and_gradient(activation, fused, &x);
                    assert_close(&fused[0], &expected[0], 1e-6);
                    assert_close(&fused[1], &expected[1], tolerance);
                    let inferred = activate(activation, x.clone().inner(), factors);
                    assert_eq!(values(inferred), fused[0]);
                }
            }
        }
    }

    #[test]
    fn extreme_inputs_give_their_limits() {
        let x = [-1e30, -1e10, -60.0, -0.0, 0.0, 60.0, 1e10, 1e30];
        let x = Tensor::<Train, 2>::from_floats([x], &Default::default());
        for activation in ALL {
            let half = if matches!(activation, HiddenAct::Relu) { 0.0 } else { 0.5 };
            let x = x.clone().require_grad();
            let y = activate(activation, x.clone(), Factors::AsGiven);
            let gradient = x.grad(&y.clone().sum().backward()).expect("a gradient");
            assert_eq!(values(y.inner()), [0.0, 0.0, 0.0, 0.0, 0.0, 60.0, 1e10, 1e30]);
            assert_close(&values(gradient), &[0.0, 0.0, 0.0, half, half, 1.0, 1.0, 1.0], 1e-7);
        }
    }

    #[test]
    fn nan_stays_nan_for_gelu() {
        for activation in [HiddenAct::Gelu, HiddenAct::GeluNew] {
            let x = Tensor::<Flex, 1>::from_floats([f32::NAN], &Default::default());
            assert!(values(activate(activation, x, Factors::AsGiven))[0].is_nan());
        }
    }

    #[test]
    fn an_input_that_is_used_elsewhere_is_unchanged() {
        for factors in [Factors::AsGiven, Factors::BFloat16] {
            let x = draw::<Train, 2>([5, 40], 3).require_grad();
            let before = values(x.clone().inner());
            let grads = (activate(HiddenAct::Gelu, x.clone(), factors) * x.clone()
                + activate(HiddenAct::Relu, x.clone(), factors))
            .sum()
            .backward();
            assert_eq!(values(x.clone().inner()), before);
            assert!(x.grad(&grads).is_some());
        }
    }

    #[test]
    fn other_dtypes_use_the_definition() {
        let x = draw::<Flex, 2>([3, 5], 1).cast(burn::tensor::DType::F64);
        let y = crate::kernels::activate(HiddenAct::Gelu, x.clone(), Factors::AsGiven);
        assert_eq!(y.dtype(), burn::tensor::DType::F64);
        let expected =
            activate(HiddenAct::Gelu, x.cast(burn::tensor::DType::F32), Factors::AsGiven);
        assert_close(&values(y), &values(expected), 1e-6);
    }
}
