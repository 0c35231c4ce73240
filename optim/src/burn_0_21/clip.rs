//! The norm of all gradients together, and clipping by it.

use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

#[cfg(feature = "flex")]
use super::flex;
#[cfg(feature = "flex")]
use burn::tensor::ElementConversion;

/// Scales all gradients of `model` so that their common L2 norm is at most `max_norm`, and returns
/// the norm they had before.
///
/// ```text
/// norm = √ Σ ‖g‖²,   g ← g · min(1, max_norm / (norm + 1e-6))
/// ```
///
/// One norm over all parameters, as in `torch.nn.utils.clip_grad_norm_`; Burn's own
/// `GradientClipping::Norm` clips each tensor by itself. The norm is a tensor of one element that
/// stays on the device: the host waits only if it is read.
///
/// The gradients of [frozen](crate::Groups::frozen) parameters count, too, unless
/// [`freeze`](crate::AdamWL2SPOptimizer::freeze) has switched them off.
///
/// See the [crate's example](crate).
pub fn clip_grad_norm<B: AutodiffBackend, M: AutodiffModule<B>>(
    grads: &mut GradientsParams,
    model: &M,
    max_norm: f64,
) -> Tensor<B::InnerBackend, 1> {
    let norm = grad_norm(grads, model);
    let coefficient = (norm.clone() + 1e-6).recip() * max_norm;
    scale(grads, model, coefficient.clamp_max(1.0));
    norm
}

/// Multiplies all gradients of `model` by `factor`: g ← factor · g.
///
/// Undoes the scaling of a loss that was scaled up for a 16-bit backward pass.
pub fn scale_grads<B: AutodiffBackend, M: AutodiffModule<B>>(
    grads: &mut GradientsParams,
    model: &M,
    factor: f64,
) {
    let device = model.devices().into_iter().next().unwrap_or_default();
    scale::<B, M>(grads, model, Tensor::full([1], factor, &device));
}

fn scale<B: AutodiffBackend, M: AutodiffModule<B>>(
    grads: &mut GradientsParams,
    model: &M,
    coefficient: Tensor<B::InnerBackend, 1>,
) {
    model.visit(&mut Scale::<B> { grads, seen: Vec::new(), coefficient });
}

/// √ Σ ‖g‖² over all gradients of `model`, a tensor of one element on the device.
pub fn grad_norm<B: AutodiffBackend, M: AutodiffModule<B>>(
    grads: &GradientsParams,
    model: &M,
) -> Tensor<B::InnerBackend, 1> {
    let device = model.devices().into_iter().next().unwrap_or_default();
    let mut visitor =
        SumOfSquares::<B> { grads, seen: Vec::new(), sum: Tensor::zeros([1], &device) };
    model.visit(&mut visitor);
    visitor.sum.sqrt()
}

struct SumOfSquares<'a, B: AutodiffBackend> {
    grads: &'a GradientsParams,
    seen: Vec<ParamId>,
    sum: Tensor<B::InnerBackend, 1>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for SumOfSquares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        // A tied parameter is visited at each of its paths, but has one gradient.
        if self.seen.contains(&param.id) {
            return;
        }
        self.seen.push(param.id);
        if let Some(grad) = self.grads.get::<B::InnerBackend, D>(param.id) {
            let squared = sum_of_squares(grad.cast(self.sum.dtype()));
            self.sum = self.sum.clone() + squared.to_device(&self.sum.device());
        }
    }
}

struct Scale<'a, B: AutodiffBackend> {
    grads: &'a mut GradientsParams,
    seen: Vec<ParamId>,
    coefficient: Tensor<B::InnerBackend, 1>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.seen.contains(&param.id) {
            return;
        }
        self.seen.push(param.id);
        if let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            let coefficient = self.coefficient.clone().to_device(&grad.device());
            self.grads.register(param.id, scaled(grad, coefficient));
        }
    }
}

/// Σ g², a tensor of one element.
fn sum_of_squares<B: Backend, const D: usize>(grad: Tensor<B, D>) -> Tensor<B, 1> {
    #[cfg(feature = "flex")]
    if flex::is_flex(&grad) {
        return flex::scalar(flex::sum_of_squares(grad, None));
    }
    (grad.clone() * grad).sum()
}

/// `grad` times a tensor of one element.
fn scaled<B: Backend, const D: usize>(grad: Tensor<B, D>, factor: Tensor<B, 1>) -> Tensor<B, D> {
    #[cfg(feature = "flex")]
    if flex::is_flex(&grad) {
        return flex::scale(grad, factor.into_scalar().elem());
    }
    let factor = factor.cast(grad.dtype());
    grad * factor.reshape([1; D])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::DType;

    type B = Autodiff<Flex>;

    /// A linear layer with the gradients 3 (weight, two elements) and 4 (bias, two elements).
    fn layer_with_grads() -> (Linear<B>, GradientsParams) {
        let device = Default::default();
        B::seed(&device, 1);
        let layer: Linear<B> = LinearConfig::new(1, 2).init(&device);
        let mut grads = GradientsParams::new();
        grads.register(layer.weight.id, Tensor::<Flex, 2>::full([1, 2], 3.0, &device));
        let bias = layer.bias.as_ref().unwrap();
        grads.register(bias.id, Tensor::<Flex, 1>::full([2], 4.0, &device));
        (layer, grads)
    }

    fn value<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_together() {
        let (layer, grads) = layer_with_grads();
        assert_eq!(value(grad_norm(&grads, &layer)), [50f32.sqrt()]);
    }

    #[test]
    fn clipping_scales_all_gradients_alike() {
        let (layer, mut grads) = layer_with_grads();
        let norm = clip_grad_norm(&mut grads, &layer, 1.0);
        assert_eq!(value(norm), [50f32.sqrt()]);
        let scale = (1.0 / (50f64.sqrt() + 1e-6)) as f32;
        let weight = value(grads.get::<Flex, 2>(layer.weight.id).unwrap());
        let bias = value(grads.get::<Flex, 1>(layer.bias.as_ref().unwrap().id).unwrap());
        for (actual, expected) in weight.iter().zip([3.0 * scale; 2]) {
            assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
        }
        for (actual, expected) in bias.iter().zip([4.0 * scale; 2]) {
            assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
        }
    }

    #[test]
    fn all_gradients_are_scaled_alike() {
        let (layer, mut grads) = layer_with_grads();
        scale_grads(&mut grads, &layer, 0.5);
        assert_eq!(value(grads.get::<Flex, 2>(layer.weight.id).unwrap()), [1.5; 2]);
        assert_eq!(value(grad_norm(&grads, &layer)), [12.5f32.sqrt()]);
    }

    #[test]
    fn a_small_norm_leaves_the_gradients_alone() {
        let (layer, mut grads) = layer_with_grads();
        clip_grad_norm(&mut grads, &layer, 8.0);
        assert_eq!(value(grads.get::<Flex, 2>(layer.weight.id).unwrap()), [3.0, 3.0]);
    }

    #[test]
    fn gradients_of_other_modules_stay_as_they_are() {
        let (layer, mut grads) = layer_with_grads();
        let other: Linear<B> = LinearConfig::new(1, 2).with_bias(false).init(&Default::default());
        grads.register(other.weight.id, Tensor::<Flex, 2>::full([1, 2], 7.0, &Default::default()));
        clip_grad_norm(&mut grads, &layer, 1.0);
        scale_grads(&mut grads, &layer, 0.5);
        assert_eq!(value(grads.get::<Flex, 2>(other.weight.id).unwrap()), [7.0; 2]);
        assert_eq!(grads.len(), 3);
    }

    #[test]
    fn gradients_keep_their_dtype() {
        let (layer, mut grads) = layer_with_grads();
        let bias = layer.bias.as_ref().unwrap().id;
        for dtype in [DType::F64, DType::F16] {
            let given = Tensor::<Flex, 1>::full([2], 4.0, &Default::default()).cast(dtype);
            grads.remove::<Flex, 1>(bias);
            grads.register(bias, given);
            let norm = value(grad_norm(&grads, &layer));
            clip_grad_norm(&mut grads, &layer, f64::from(norm[0]) / 2.0);
            scale_grads(&mut grads, &layer, 2.0);
            let scaled = grads.get::<Flex, 1>(bias).unwrap();
            assert_eq!(scaled.dtype(), dtype);
            assert_eq!(norm, [50f32.sqrt()]);
            for x in value(scaled.cast(DType::F32)) {
                assert!((x - 4.0).abs() < 4e-3, "{x}");
            }
            // Back to where the weight's gradient was, too.
            grads.remove::<Flex, 2>(layer.weight.id);
            let weight = Tensor::<Flex, 2>::full([1, 2], 3.0, &Default::default());
            grads.register(layer.weight.id, weight);
        }
    }

    #[test]
    fn a_parameter_without_gradient_counts_nothing() {
        let (layer, mut grads) = layer_with_grads();
        grads.remove::<Flex, 1>(layer.bias.as_ref().unwrap().id);
        let norm = clip_grad_norm(&mut grads, &layer, 100.0);
        assert_eq!(value(norm), [18f32.sqrt()]);
        assert_eq!(grads.len(), 1);
    }
}
