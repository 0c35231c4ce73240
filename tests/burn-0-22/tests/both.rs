//! A small model trained with each Burn: the same rule gives the same numbers.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use adamw_l2sp::{AdamWL2SPConfig, ScheduleConfig};

const STEPS: usize = 30;
const WEIGHTS: [f32; 6] = [0.3, -0.8, 0.5, 1.1, -0.2, 0.7];
const HEAD: [f32; 4] = [0.4, -0.6, 0.9, 0.1];

fn config() -> AdamWL2SPConfig {
    AdamWL2SPConfig::new().with_source_decay(0.5).with_novel_decay(0.1).with_amsgrad(true)
}

fn schedule() -> ScheduleConfig {
    ScheduleConfig::new(0.05, 3, STEPS)
}

/// Inputs of a step, `[2, 3]`.
fn inputs(step: usize) -> [[f32; 3]; 2] {
    let x = step as f32 * 0.7;
    [[x.sin(), 0.5, -1.0], [0.3, x.cos(), 2.0]]
}

/// The weights of both layers after every step, the norm of the gradients before it and the distance after it.
type Trace = Vec<(Vec<f32>, f32, f32)>;

/// tanh of two linear layers, as a tuple: Burn's derive macro for modules would need each version to be called `burn`.
macro_rules! trace {
    ($burn:ident, $backend:ident) => {{
        use $burn::module::Param;
        use $burn::nn::Linear;
        use $burn::optim::GradientsParams;
        use $burn::tensor::TensorData;

        let device = $backend::device();
        let linear = |values: &[f32], shape: [usize; 2]| -> $backend::Layer {
            let data = TensorData::new(values.to_vec(), shape);
            let weight = $backend::Matrix::from_data(data, &device);
            Linear { weight: Param::from_tensor(weight), bias: None }
        };
        let mut model = (linear(&WEIGHTS, [3, 2]), linear(&HEAD, [2, 2]));
        let start = $backend::Anchors::from_module(&$backend::plain(&model));
        let start = start.filter(|path| path.starts_with('0'));
        let groups = $backend::Groups::new().source("0").learning_rate_scale("1", 2.0);
        let mut optimizer = $backend::optimizer(&model, groups);
        let schedule = schedule();
        let mut trace: Trace = Vec::new();
        for step in 0..STEPS {
            let input = $backend::Matrix::from_floats(inputs(step), &device);
            let output = model.1.forward(model.0.forward(input).tanh());
            let loss = (output - 1.0).powf_scalar(2.0).mean();
            let mut grads = GradientsParams::from_grads(loss.backward(), &model);
            let norm = $backend::clip_grad_norm(&mut grads, &model, 0.5);
            model = optimizer.step(schedule.learning_rate_at(step), model, grads);
            let mut values: Vec<f32> = model.0.weight.val().into_data().iter().collect();
            values.extend(model.1.weight.val().into_data().iter::<f32>());
            let distance = start.squared_distance(&model);
            trace.push((values, $backend::number(norm), $backend::number(distance)));
        }
        trace
    }};
}

mod old {
    use burn_0_21::backend::{Autodiff, Flex, flex::FlexDevice};
    use burn_0_21::module::AutodiffModule;
    use burn_0_21::nn::Linear;
    use burn_0_21::tensor::Tensor;

    pub(super) use adamw_l2sp::{Anchors, Groups, clip_grad_norm};

    pub(super) type Layer = Linear<Autodiff<Flex>>;
    pub(super) type Matrix = Tensor<Autodiff<Flex>, 2>;
    type Model = (Layer, Layer);

    pub(super) fn device() -> FlexDevice {
        FlexDevice
    }

    pub(super) fn plain(model: &Model) -> impl burn_0_21::module::Module<Flex> {
        model.valid()
    }

    pub(super) fn optimizer(
        model: &Model,
        groups: Groups<Flex>,
    ) -> adamw_l2sp::AdamWL2SPOptimizer<Autodiff<Flex>> {
        super::config().init(model, groups).unwrap()
    }

    pub(super) fn number(scalar: Tensor<Flex, 1>) -> f32 {
        scalar.into_scalar()
    }
}

mod new {
    use burn::nn::Linear;
    use burn::optim::ModuleOptimizer;
    use burn::tensor::{Device, Tensor};

    pub(super) use adamw_l2sp::burn_0_22::{Anchors, Groups, clip_grad_norm};

    pub(super) type Layer = Linear;
    pub(super) type Matrix = Tensor<2>;
    type Model = (Layer, Layer);

    pub(super) fn device() -> Device {
        Device::flex().autodiff()
    }

    pub(super) fn plain(model: &Model) -> Model {
        model.clone()
    }

    pub(super) fn optimizer(model: &Model, groups: Groups) -> ModuleOptimizer {
        super::config().module_optimizer(model, groups).unwrap()
    }

    pub(super) fn number(scalar: Tensor<1>) -> f32 {
        scalar.into_scalar()
    }
}

fn with_old() -> Trace {
    use burn_0_21::optim::Optimizer;
    trace!(burn_0_21, old)
}

fn with_new() -> Trace {
    trace!(burn, new)
}

#[test]
fn both_burns_give_the_same_numbers() {
    let (old, new) = (with_old(), with_new());
    for (step, (old, new)) in old.iter().zip(&new).enumerate() {
        let old = [&old.0[..], &[old.1, old.2]].concat();
        let new = [&new.0[..], &[new.1, new.2]].concat();
        for (old, new) in old.iter().zip(&new) {
            assert!((old - new).abs() < 1e-6, "step {step}: {old} {new}");
        }
    }
    // The weights of the start are far away.
    let moved = new[STEPS - 1].0.iter().zip(WEIGHTS).map(|(now, then)| (now - then).abs());
    assert!(moved.fold(0.0, f32::max) > 0.1);
}
