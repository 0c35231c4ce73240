//! Training runs compared with PyTorch: learning rate, loss and gradient norm of every step, and the final parameters.
//!
//! A case is a model folder with `batches.safetensors` (`input_ids/STEP` and the rest),
//! `case.json` and `expected.safetensors` (`param/NAME`).

use adamw_l2sp::{
    AdamWL2SPConfig, Groups, ScheduleConfig, ScheduleKind, clip_grad_norm, scale_grads,
};
use albert::{EncoderInput, ModelConfig, Precision, SequenceClassifier, cross_entropy};
use burn::optim::lr_scheduler::LrScheduler;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::ElementConversion;
use burn::tensor::backend::AutodiffBackend;
use l2sp::device::{self, Work};
use serde::Deserialize;
use tests::{Arrays, Cases, Report, ok, on_every_device, read_json};

/// The relative errors allowed between a training run and PyTorch's in float32.
#[derive(Clone, Copy)]
struct Tolerances {
    /// Of the loss of each step.
    loss: f64,
    /// Of each step's gradient norm.
    grad_norm: f64,
    /// The error of a smaller gradient norm is relative to this. In 16 bits it is 1, the norm at which all cases clip: where
    /// gradients nearly cancel, rounding decides what is left.
    least_norm: f64,
    /// Of the final parameters, norm-wise.
    parameter: f64,
}

const FLOAT32: Tolerances =
    Tolerances { loss: 1e-5, grad_norm: 1e-4, least_norm: 0.0, parameter: 1e-4 };
/// bf16 has two to three significant digits; biases that start at zero are mostly rounding error.
const BFLOAT16: Tolerances =
    Tolerances { loss: 2e-2, grad_norm: 5e-2, least_norm: 1.0, parameter: 1e-1 };
const FLOAT16: Tolerances =
    Tolerances { loss: 2e-3, grad_norm: 2e-2, least_norm: 1.0, parameter: 2e-2 };

/// The factor of the loss in fp16 for the backward pass.
const LOSS_SCALE: f64 = 1024.0;

#[derive(Deserialize)]
struct Case {
    optimizer: OptimizerName,
    steps: usize,
    peak_lr: f64,
    warmup_ratio: f64,
    schedule: ScheduleKind,
    lr: Vec<f64>,
    beta1: f64,
    beta2: f64,
    eps: f64,
    decay_source: f64,
    decay_novel: f64,
    max_grad_norm: f64,
    #[serde(default)]
    amsgrad: bool,
    loss: Vec<f64>,
    grad_norm: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OptimizerName {
    #[serde(rename = "adamw_l2sp")]
    AdamWL2SP,
    AdamwTorch,
}

#[derive(Clone, Copy)]
struct Suite {
    precision: Precision,
    tolerances: Tolerances,
    cases: Cases,
}

impl Work for Suite {
    type Output = ();

    fn on<B: AutodiffBackend>(self, device: B::Device) {
        let name = self.precision.name();
        if !B::supports_dtype(&device, self.precision.dtype()) {
            eprintln!("no {name} there");
        } else if self.precision != Precision::Float32 && matches!(self.cases, Cases::Few) {
            eprintln!("not {name}: an emulated GPU compiles each of its kernels for seconds");
        } else {
            self.follow::<B>(&device);
        }
    }
}

#[test]
fn training_follows_pytorch() {
    on_every_device(|cases| Suite { precision: Precision::Float32, tolerances: FLOAT32, cases });
}

#[test]
fn training_in_16_bits_follows_pytorch_within_its_precision() {
    for (precision, tolerances) in [(Precision::BFloat16, BFLOAT16), (Precision::Float16, FLOAT16)]
    {
        on_every_device(|cases| Suite { precision, tolerances, cases });
    }
}

impl Suite {
    fn follow<B: AutodiffBackend>(self, device: &B::Device) {
        let Self { precision, tolerances, cases } = self;
        let mut report = Report::default();
        for folder in cases.of("trajectory") {
            let case: Case = read_json(&folder.join("case.json"));
            let recorded = [case.lr.len(), case.loss.len(), case.grad_norm.len()];
            assert_eq!(recorded, [case.steps; 3], "{}", folder.display());

            let config = ok(ModelConfig::from_folder(&folder), &folder);
            let loaded = SequenceClassifier::<B>::from_pretrained(&folder, &config, 0, device);
            let (mut model, _) = ok(loaded, &folder);
            let groups = match case.optimizer {
                OptimizerName::AdamWL2SP => Groups::new().source("encoder"),
                OptimizerName::AdamwTorch => Groups::new(),
            };
            let optimizer = AdamWL2SPConfig::new()
                .with_beta_1(case.beta1)
                .with_beta_2(case.beta2)
                .with_epsilon(case.eps)
                .with_amsgrad(case.amsgrad)
                .with_source_decay(case.decay_source)
                .with_novel_decay(case.decay_novel)
                .init(&model, groups.biases_and_norms_undecayed());
            let mut optimizer = ok(optimizer, &folder);
            let warmup = ScheduleConfig::warmup_steps_for(case.warmup_ratio, case.steps);
            let schedule = ScheduleConfig::new(case.peak_lr, warmup, case.steps)
                .with_kind(case.schedule)
                .init();
            let mut schedule = ok(schedule, &folder);

            let batches = Arrays::read(&folder.join("batches.safetensors"));
            for index in 0..case.steps {
                let what = format!("step {}", index + 1);
                let batch = |name: &str| batches.get(&format!("{name}/{}", index + 1));
                let input = EncoderInput {
                    input_ids: batch("input_ids").int_tensor(device),
                    attention_mask: batch("attention_mask").int_tensor(device),
                    token_type_ids: batch("token_type_ids").int_tensor(device),
                };
                let loss = cross_entropy(
                    model.in_precision(precision).forward(&input),
                    batch("labels").int_tensor(device),
                );
                let scale = if precision == Precision::Float16 { LOSS_SCALE } else { 1.0 };
                let scaled = loss.clone() * scale;
                let mut grads = GradientsParams::from_grads(scaled.backward(), &model);
                scale_grads(&mut grads, &model, 1.0 / scale);
                let norm = clip_grad_norm(&mut grads, &model, case.max_grad_norm);
                device::compute_recorded();
                let value: f64 = loss.into_scalar().elem();
                let error = (value / case.loss[index] - 1.0).abs();
                report.check(&folder, "loss", &what, error, tolerances.loss);
                let norm: f64 = norm.into_scalar().elem();
                let expected = case.grad_norm[index];
                let error = (norm - expected).abs() / expected.max(tolerances.least_norm);
                report.check(&folder, "gradient norm", &what, error, tolerances.grad_norm);

                let lr = schedule.step();
                let error = (lr - case.lr[index]).abs() / case.peak_lr;
                report.check(&folder, "learning rate", &what, error, 1e-12);
                model = optimizer.step(lr, model, grads);
            }

            device::compute_recorded();
            let saved = tempfile::tempdir().expect("a folder");
            ok(model.save_pretrained(&config, saved.path()), &folder);
            let actual = Arrays::read(&saved.path().join("model.safetensors"));
            let expected = Arrays::read(&folder.join("expected.safetensors"));
            for (name, parameter) in expected.below("param/") {
                // Adam turns the rounding noise of its gradient, zero in exact arithmetic, into steps.
                if !name.ends_with("key.bias") {
                    let error = parameter.relative_error(actual.get(name));
                    report.check(&folder, "final parameter", name, error, tolerances.parameter);
                }
            }
        }
        report.finish();
    }
}
