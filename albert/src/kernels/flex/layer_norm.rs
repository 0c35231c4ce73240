//! Layer normalization of a residual sum.

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::flex::elements::{
    add_all, map_chunk_pairs, rows_per_task, sum, sum_pairs, vectorized,
};
use crate::kernels::flex::operation::{Operation, primitive, run, tensor, width};

/// [`add_layer_norm`](crate::kernels::add_layer_norm) of tensors that [are flex's](crate::kernels::flex::is_flex).
///
/// With s the standardised sum, r = 1/√(var + ε) and G the gradient of the result, the gradient of both x and the
/// residual is r·(γG − mean(γG) − s·mean(γG·s)); that of γ is the sum of the rows of G·s, that of β of G's.
pub(crate) fn add_layer_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    residual: Tensor<B, D>,
    gamma: Tensor<B, 1>,
    beta: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, D> {
    let inputs = [primitive(x), primitive(residual), primitive(gamma), primitive(beta)];
    run(LayerNorm { epsilon }, inputs)
}

#[derive(Clone, Debug)]
struct LayerNorm {
    epsilon: f64,
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved {
    /// s, in the memory of x.
    standardised: FlexTensor,
    /// r of each row.
    scales: Vec<f32>,
    gamma: FlexTensor,
}

impl Operation<4> for LayerNorm {
    type Saved = Saved;

    fn forward(
        &self,
        [mut x, residual, gamma, beta]: [FlexTensor; 4],
        keep: bool,
    ) -> (FlexTensor, Option<Saved>) {
        let width = width(&x);
        let shape = x.layout().shape().clone();
        let residual = residual.storage::<f32>();
        let (gammas, betas) = (gamma.storage::<f32>(), beta.storage::<f32>());
        let epsilon = self.epsilon as f32;
        let elements = x.storage_mut::<f32>();
        let mut output = vec![0.0; elements.len()];
        let size = rows_per_task(width) * width;
        let scales = map_chunk_pairs((elements, size), (&mut output, size), |index, xs, ys| {
            let residual = &residual[index * size..];
            let mut scales = Vec::with_capacity(xs.len() / width);
            vectorized(
                #[inline(always)]
                || {
                    for (x, r) in xs.iter_mut().zip(residual) {
                        *x += r;
                    }
                    for (x, y) in xs.chunks_exact_mut(width).zip(ys.chunks_exact_mut(width)) {
                        let mean = sum(x, |x| x) / width as f32;
                        let variance = sum(x, |x| (x - mean) * (x - mean)) / width as f32;
                        let scale = 1.0 / (variance + epsilon).sqrt();
                        for (((x, y), gamma), beta) in x.iter_mut().zip(y).zip(gammas).zip(betas) {
                            *x = (*x - mean) * scale;
                            *y = *x * gamma + beta;
                        }
                        scales.push(scale);
                    }
                },
            );
            scales
        });
        let flat = [output.len()];
        let output = tensor(output, flat).reshape(shape);
        let saved = keep.then(|| Saved { standardised: x, scales: scales.concat(), gamma });
        (output, saved)
    }

    fn backward(
        self,
        saved: Saved,
        mut gradient: FlexTensor,
        _wanted: [bool; 4],
    ) -> [Option<FlexTensor>; 4] {
        let width = width(&gradient);
        let standardised = saved.standardised.storage::<f32>();
        let gammas = saved.gamma.storage::<f32>();
        let mut scales = saved.scales;
        let rows = rows_per_task(width);
        let gradients = (gradient.storage_mut::<f32>(), rows * width);
        let parts = map_chunk_pairs(gradients, (&mut scales, rows), |index, gs, scales| {
            let (mut of_gamma, mut of_beta) = (vec![0.0; width], vec![0.0; width]);
            let standardised = &standardised[index * rows * width..];
            vectorized(
                #[inline(always)]
                || {
                    let lines = gs.chunks_exact_mut(width).zip(standardised.chunks_exact(width));
                    for ((g, s), scale) in lines.zip(scales.iter()) {
                        for (((g, s), gamma), (of_gamma, of_beta)) in g
                            .iter_mut()
                            .zip(s)
                            .zip(gammas)
                            .zip(of_gamma.iter_mut().zip(&mut of_beta))
                        {
                            *of_gamma += *g * s;
                            *of_beta += *g;
                            *g *= gamma;
                        }
                        let mean = sum(g, |g| g) / width as f32;
                        let slope = sum_pairs(g, s, |g, s| g * s) / width as f32;
                        for (g, s) in g.iter_mut().zip(s) {
                            *g = *scale * (*g - mean - s * slope);
                        }
                    }
                },
            );
            (of_gamma, of_beta)
        });
        let (of_gamma, of_beta): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let [of_gamma, of_beta] =
            [of_gamma, of_beta].map(|parts| tensor(add_all(parts, width), [width]));
        [Some(gradient.clone()), Some(gradient), Some(of_gamma), Some(of_beta)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::flex::testing::{Train, assert_close, draw, values};
    use crate::kernels::layer_norm::definition;

    const EPSILON: f64 = 1e-12;

    #[test]
    fn values_and_gradients_are_those_of_the_definition() {
        for shape in [[1, 1, 2], [2, 3, 7], [3, 5, 33], [2, 70, 300], [1, 2, 20_000]] {
            let results = [add_layer_norm::<Train, 3>, definition].map(|f| {
                let x = (draw::<Train, 3>(shape, 1) * 5.0 + 3.0).detach().require_grad();
                let residual = draw::<Train, 3>(shape, 2).require_grad();
                let gamma = draw::<Train, 1>([shape[2]], 3).require_grad();
                let beta = draw::<Train, 1>([shape[2]], 4).require_grad();
                let y = f(x.clone(), residual.clone(), gamma.clone(), beta.clone(), EPSILON);
                let grads = (y.clone() * draw(shape, 5)).sum().backward();
                [
                    values(y),
                    values(x.grad(&grads).expect("x")),
                    values(residual.grad(&grads).expect("residual")),
                    values(gamma.grad(&grads).expect("gamma")),
                    values(beta.grad(&grads).expect("beta")),
                ]
            });
            for (actual, expected) in results[0].iter().zip(&results[1]) {
                assert_close(actual, expected, 5e-6);
            }
        }
    }

    #[test]
    fn a_row_of_equal_elements_becomes_beta() {
        let beta = draw::<Train, 1>([9], 4);
        let x = Tensor::<Train, 2>::full([2, 9], 3.0, &Default::default());
        let y = add_layer_norm(x.clone(), x.neg(), draw([9], 3), beta.clone(), EPSILON);
        assert_eq!(values(y), [values(beta.clone()), values(beta)].concat());
    }

    #[test]
    fn large_and_small_inputs_are_normalised_alike() {
        let x = draw::<Train, 2>([3, 50], 1);
        let [gamma, beta] = [draw([50], 2), draw([50], 3)];
        let normal = |x: Tensor<Train, 2>| {
            let residual = x.zeros_like();
            values(add_layer_norm(x, residual, gamma.clone(), beta.clone(), 0.0))
        };
        let expected = normal(x.clone());
        assert_close(&normal(x.clone() * 1e15), &expected, 1e-5);
        assert_close(&normal(x * 1e-15), &expected, 1e-5);
    }
}
