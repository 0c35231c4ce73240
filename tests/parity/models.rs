//! The models compared with transformers: logits, loss and every gradient.
//!
//! A case of `albert`, `bert` or `roberta` is a model folder with `inputs.safetensors` and `expected.safetensors`
//! (`logits`, `loss`, `grad/NAME`); a `pretraining` case expects `prediction_logits` and `sop_logits` instead of
//! `logits`.

use std::path::Path;

use albert::{AlbertForPreTraining, EncoderInput, ModelConfig, SequenceClassifier, cross_entropy};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor, activation};
use l2sp::device::{self, Work};
use tests::{Array, Arrays, Cases, Report, ok, on_every_device, own_cases, with_gradients};

/// The absolute tolerance of logits and loss.
const OUTPUT: f64 = 1e-5;
/// The norm-wise relative tolerance of a gradient.
const GRADIENT: f64 = 1e-4;
/// The absolute tolerance of the gradient of the key bias, which is zero in exact arithmetic.
const KEY_BIAS: f64 = 1e-5;

pub(crate) fn input<B: Backend>(arrays: &Arrays, device: &B::Device) -> EncoderInput<B> {
    EncoderInput {
        input_ids: arrays.get("input_ids").int_tensor(device),
        attention_mask: arrays.get("attention_mask").int_tensor(device),
        token_type_ids: arrays.get("token_type_ids").int_tensor(device),
    }
}

fn check_loss<B: Backend>(
    report: &mut Report,
    folder: &Path,
    expected: &Arrays,
    loss: Tensor<B, 1>,
) {
    device::compute_recorded();
    let value: f64 = loss.into_scalar().elem();
    let error = (value - expected.get("loss").values[0]).abs();
    report.check(folder, "loss", "the batch", error, OUTPUT);
}

fn check_gradients(report: &mut Report, folder: &Path, expected: &Arrays, saved: &Path) {
    let actual = Arrays::read(&saved.join("model.safetensors"));
    for (name, gradient) in expected.below("grad/") {
        if name.ends_with("key.bias") {
            let error = gradient.absolute_error(actual.get(name));
            report.check(folder, "gradient of key.bias", name, error, KEY_BIAS);
        } else {
            let error = gradient.relative_error(actual.get(name));
            report.check(folder, "gradient", name, error, GRADIENT);
        }
    }
}

#[derive(Clone, Copy)]
enum Suite {
    Classification(Cases),
    Pretraining,
}

impl Work for Suite {
    type Output = ();

    fn on<B: AutodiffBackend>(self, device: B::Device) {
        match self {
            Self::Classification(cases) => classification::<B>(cases, &device),
            Self::Pretraining => pretraining::<B>(&device),
        }
    }
}

#[test]
fn classification_agrees_with_transformers() {
    on_every_device(Suite::Classification);
}

#[test]
fn pretraining_agrees_with_transformers() {
    on_every_device(|_| Suite::Pretraining);
}

fn classification<B: AutodiffBackend>(cases: Cases, device: &B::Device) {
    let mut report = Report::default();
    for folder in ["albert", "bert", "roberta"].into_iter().flat_map(|kind| cases.of(kind)) {
        let config = ok(ModelConfig::from_folder(&folder), &folder);
        let loaded = SequenceClassifier::<B>::from_pretrained(&folder, &config, 0, device);
        let (model, load) = ok(loaded, &folder);
        assert!(load.new.is_empty() && load.unused.is_empty(), "{}: {load:?}", folder.display());
        let inputs = Arrays::read(&folder.join("inputs.safetensors"));
        let expected = Arrays::read(&folder.join("expected.safetensors"));

        let logits = model.forward(&input(&inputs, device));
        let error = expected.get("logits").absolute_error(&Array::from(logits.clone()));
        report.check(&folder, "logits", "all", error, OUTPUT);

        let loss = cross_entropy(logits, inputs.get("labels").int_tensor(device));
        check_loss(&mut report, &folder, &expected, loss.clone());

        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let saved = tempfile::tempdir().expect("a folder");
        ok(with_gradients(model, grads).save_pretrained(&config, saved.path()), &folder);
        check_gradients(&mut report, &folder, &expected, saved.path());
    }
    report.finish();
}

fn pretraining<B: AutodiffBackend>(device: &B::Device) {
    let mut report = Report::default();
    let root = own_cases().join("pretraining");
    for entry in ok(std::fs::read_dir(&root), &root) {
        let folder = ok(entry, &root).path();
        let config = ok(ModelConfig::from_folder(&folder), &folder);
        let loaded = AlbertForPreTraining::<B>::from_pretrained(&folder, &config, 0, device);
        let (model, load) = ok(loaded, &folder);
        assert!(load.new.is_empty() && load.unused.is_empty(), "{}: {load:?}", folder.display());
        let inputs = Arrays::read(&folder.join("inputs.safetensors"));
        let expected = Arrays::read(&folder.join("expected.safetensors"));

        let output = model.forward(&input(&inputs, device));
        for (name, actual) in [
            ("prediction_logits", Array::from(output.prediction_logits.clone())),
            ("sop_logits", Array::from(output.sop_logits.clone())),
        ] {
            let error = expected.get(name).absolute_error(&actual);
            report.check(&folder, "logits", name, error, OUTPUT);
        }

        let masked = masked_cross_entropy(output.prediction_logits, inputs.get("labels"));
        let order = inputs.get("sentence_order_label").int_tensor(device);
        let loss = masked + cross_entropy(output.sop_logits, order);
        check_loss(&mut report, &folder, &expected, loss.clone());

        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let saved = tempfile::tempdir().expect("a folder");
        ok(with_gradients(model, grads).save_pretrained(&config, saved.path()), &folder);
        check_gradients(&mut report, &folder, &expected, saved.path());
    }
    report.finish();
}

/// The mean cross-entropy over the labelled tokens; −100 marks a token without a label.
fn masked_cross_entropy<B: Backend>(logits: Tensor<B, 3>, labels: &Array) -> Tensor<B, 1> {
    let vocabulary = logits.dims()[2];
    let logits: Tensor<B, 2> = logits.flatten(0, 1);
    let rows: Vec<i64> =
        (0..).zip(&labels.values).filter(|(_, label)| **label >= 0.0).map(|(row, _)| row).collect();
    let targets: Vec<i64> =
        labels.values.iter().filter(|label| **label >= 0.0).map(|label| *label as i64).collect();
    assert!(targets.iter().all(|&target| (target as usize) < vocabulary));
    let device = logits.device();
    let chosen = logits.select(0, Tensor::from_ints(rows.as_slice(), &device));
    let targets = Tensor::<B, 1, burn::tensor::Int>::from_ints(targets.as_slice(), &device);
    activation::log_softmax(chosen, 1).gather(1, targets.unsqueeze_dim(1)).mean().neg()
}
