//! The norm of all gradients together, and clipping by it.

use burn_0_22::module::{Module, ModuleVisitor, Param, ParamId};
use burn_0_22::optim::GradientsParams;
use burn_0_22::tensor::Tensor;

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
/// The gradients of [frozen](crate::ParameterGroups::frozen) parameters count, too, unless they are switched off in the
/// model.
///
/// See the [module's example](super).
pub fn clip_grad_norm<M: Module>(
    grads: &mut GradientsParams,
    model: &M,
    max_norm: f64,
) -> Tensor<1> {
    let norm = grad_norm(grads, model);
    let coefficient = (norm.clone() + 1e-6).recip() * max_norm;
    scale(grads, model, coefficient.clamp_max(1.0));
    norm
}

/// Multiplies all gradients of `model` by `factor`: g ← factor · g.
///
/// Undoes the scaling of a loss that was scaled up for a 16-bit backward pass.
pub fn scale_grads<M: Module>(grads: &mut GradientsParams, model: &M, factor: f64) {
    scale(grads, model, scalar_on_first_device(model, factor));
}

fn scale<M: Module>(grads: &mut GradientsParams, model: &M, coefficient: Tensor<1>) {
    model.visit(&mut Scale { grads, seen: Vec::new(), coefficient });
}

/// √ Σ ‖g‖² over all gradients of `model`, a tensor of one element on the device.
pub fn grad_norm<M: Module>(grads: &GradientsParams, model: &M) -> Tensor<1> {
    let sum = scalar_on_first_device(model, 0.0);
    let mut visitor = SumOfSquares { grads, seen: Vec::new(), sum };
    model.visit(&mut visitor);
    visitor.sum.sqrt()
}

/// `value` on the device of the model's first parameter, without autodiff, as gradients are.
pub(super) fn scalar_on_first_device<M: Module>(model: &M, value: f64) -> Tensor<1> {
    let device = model.devices().into_iter().next().unwrap_or_default();
    Tensor::full([1], value, &device).inner()
}

struct SumOfSquares<'a> {
    grads: &'a GradientsParams,
    seen: Vec<ParamId>,
    sum: Tensor<1>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // A tied parameter is visited at each of its paths, but has one gradient.
        if self.seen.contains(&param.id) {
            return;
        }
        self.seen.push(param.id);
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let grad = grad.cast(self.sum.dtype());
            let squared = (grad.clone() * grad).sum();
            self.sum = self.sum.clone() + squared.to_device(&self.sum.device());
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    seen: Vec<ParamId>,
    coefficient: Tensor<1>,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.seen.contains(&param.id) {
            return;
        }
        self.seen.push(param.id);
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            let coefficient = self.coefficient.clone().to_device(&grad.device());
            let coefficient = coefficient.cast(grad.dtype()).reshape([1; D]);
            self.grads.register(param.id, grad * coefficient);
        }
    }
}
