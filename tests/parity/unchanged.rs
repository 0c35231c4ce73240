//! State that a training step must not change, bit for bit: forward, backward, clipping and evaluation change no parameter,
//! anchor or moment; a step of the optimizer changes no anchor, nothing that is frozen or has no gradient, and no model
//! that shares memory with the stepped one.
//!
//! Backends compute in place where a tensor is not shared, and may be wrong about that: burn-tch 0.21.0 takes the
//! result of `swap_dims` and of `permute` for unshared even if it is a view of a live tensor.

use std::collections::BTreeMap;

use adamw_l2sp::{AdamWL2SPConfig, AdamWL2SPOptimizer, Anchors, Groups, clip_grad_norm};
use albert::{AlbertForPreTraining, ModelConfig, Precision, SequenceClassifier, cross_entropy};
use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, Optimizer};
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use l2sp::device::{self, Work};
use tests::{Arrays, ok, on_every_device, own_cases};

use crate::models::input;

/// The bytes of tensors by path.
type Bits = BTreeMap<String, Vec<u8>>;

/// Parameters whose path starts with this prefix are frozen.
const FROZEN: &str = "encoder.embeddings.layer_norm";
/// Parameters whose path starts with this prefix get no gradient in every other step.
const SKIPPED: &str = "encoder.embedding_projection";

#[derive(Clone, Copy)]
struct Classification(Precision);

impl Work for Classification {
    type Output = ();

    fn on<B: AutodiffBackend>(self, device: B::Device) {
        let Self(precision) = self;
        if !B::supports_dtype(&device, precision.dtype()) {
            eprintln!("no {} there", precision.name());
            return;
        }
        let folder = own_cases().join("albert").join("two-groups");
        let config = ok(ModelConfig::from_folder(&folder), &folder);
        let loaded = SequenceClassifier::<B>::from_pretrained(&folder, &config, 0, &device);
        let (model, _) = ok(loaded, &folder);
        let inputs = Arrays::read(&folder.join("inputs.safetensors"));
        check(
            model,
            |model| {
                let logits = model.in_precision(precision).forward(&input(&inputs, &device));
                cross_entropy(logits, inputs.get("labels").int_tensor(&device))
            },
            |model| {
                model.in_precision(precision).forward(&input(&inputs, &device)).into_data();
            },
        );
    }
}

#[derive(Clone, Copy)]
struct PreTraining;

impl Work for PreTraining {
    type Output = ();

    fn on<B: AutodiffBackend>(self, device: B::Device) {
        let folder = own_cases().join("pretraining").join("shared-layer");
        let config = ok(ModelConfig::from_folder(&folder), &folder);
        let (model, _) =
            ok(AlbertForPreTraining::<B>::from_pretrained(&folder, &config, 0, &device), &folder);
        let inputs = Arrays::read(&folder.join("inputs.safetensors"));
        check(
            model,
            |model| {
                let output = model.forward(&input(&inputs, &device));
                let mean_square = |x: Tensor<B, 2>| (x.clone() * x).mean();
                mean_square(output.prediction_logits.flatten(0, 1)) + mean_square(output.sop_logits)
            },
            |model| {
                model.forward(&input(&inputs, &device)).prediction_logits.into_data();
            },
        );
    }
}

#[test]
fn fine_tuning_changes_only_the_parameters_it_steps() {
    on_every_device(|_| Classification(Precision::Float32));
    on_every_device(|_| Classification(Precision::BFloat16));
}

#[test]
fn pretraining_changes_only_the_parameters_it_steps() {
    on_every_device(|_| PreTraining);
}

fn check<B: AutodiffBackend, M: AutodiffModule<B>>(
    mut model: M,
    loss: impl Fn(&M) -> Tensor<B, 1>,
    evaluate: impl Fn(&M::InnerModule),
) {
    // The anchors share their memory with the source and, before the first step, with the model.
    let source = model.valid();
    let start = bits(&source);
    let mut optimizer = AdamWL2SPConfig::new()
        .with_source_decay(0.5)
        .with_amsgrad(true)
        .init(&model, Groups::source_in(&source).frozen(FROZEN))
        .expect("a valid configuration");
    for step in 0..4 {
        let before = (bits(&model), states(&optimizer));
        let unchanged = |model: &M, optimizer: &AdamWL2SPOptimizer<B>, by: &str| {
            assert_same(&bits(model), &before.0, &format!("parameters by {by}, step {step}"));
            assert_same(&states(optimizer), &before.1, &format!("states by {by}, step {step}"));
        };
        let loss = loss(&model);
        unchanged(&model, &optimizer, "forward");
        let grads = loss.backward();
        unchanged(&model, &optimizer, "backward");
        let mut grads = GradientsParams::from_grads(grads, &model);
        clip_grad_norm(&mut grads, &model, 0.1);
        unchanged(&model, &optimizer, "clipping");
        let skips = step % 2 == 1;
        if skips {
            model.visit(&mut Skip { path: Vec::new(), grads: &mut grads });
        }

        // From the third step on a clone shares the model's memory, so the step cannot update in place.
        let shared = (step >= 2).then(|| model.clone());
        model = optimizer.step(0.01, model, grads);
        if let Some(shared) = shared {
            assert_same(&bits(&shared), &before.0, "a clone by a step");
        }
        assert_same(&bits(&source), &start, "the source by a step");
        let mut anchors =
            Read { path: Vec::new(), anchors: Some(optimizer.anchors(&model)), bits: Bits::new() };
        model.visit(&mut anchors);
        assert!(!anchors.bits.is_empty());
        for (path, anchor) in &anchors.bits {
            assert!(*anchor == start[path], "the anchor of {path} by step {step}");
        }

        let after = (bits(&model), states(&optimizer));
        for (path, parameter) in &after.0 {
            let stays = path.starts_with(FROZEN) || skips && path.starts_with(SKIPPED);
            assert_eq!(*parameter == before.0[path], stays, "{path} by step {step}");
            if stays {
                assert!(after.1.get(path) == before.1.get(path), "state of {path} by step {step}");
            }
        }
        evaluate(&model.valid());
        assert_same(&bits(&model), &after.0, "parameters by evaluation");
        assert_same(&states(&optimizer), &after.1, "states by evaluation");
    }
}

fn assert_same(actual: &Bits, expected: &Bits, what: &str) {
    assert!(actual.keys().eq(expected.keys()), "{what}: other names");
    for (path, expected) in expected {
        assert!(actual[path] == *expected, "{what}: {path} has changed");
    }
}

/// The parameters of `module`, copied to the host.
fn bits<B: Backend, M: Module<B>>(module: &M) -> Bits {
    device::compute_recorded();
    let mut read = Read::<B> { path: Vec::new(), anchors: None, bits: Bits::new() };
    module.visit(&mut read);
    read.bits
}

/// The optimizer's state of each parameter, copied to the host.
fn states<B: AutodiffBackend>(optimizer: &AdamWL2SPOptimizer<B>) -> Bits {
    device::compute_recorded();
    let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
    optimizer
        .to_record()
        .into_iter()
        .map(|(path, state)| {
            let bytes = Recorder::<B>::record(&recorder, state, ()).expect("recorded");
            (path, bytes)
        })
        .collect()
}

/// Reads parameters, or the anchors of the same paths.
struct Read<A: Backend> {
    path: Vec<String>,
    anchors: Option<Anchors<A>>,
    bits: Bits,
}

impl<A: Backend, B: Backend> ModuleVisitor<B> for Read<A> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let path = self.path.join(".");
        let data = match &self.anchors {
            None => Some(param.val().into_data()),
            Some(anchors) => anchors.get::<D>(&path).map(Tensor::into_data),
        };
        if let Some(data) = data {
            self.bits.insert(path, data.as_bytes().to_vec());
        }
    }
}

/// Removes the gradients of the [`SKIPPED`] parameters.
struct Skip<'a> {
    path: Vec<String>,
    grads: &'a mut GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Skip<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.path.join(".").starts_with(SKIPPED) {
            self.grads.remove::<B::InnerBackend, D>(param.id);
        }
    }
}
