//! A training step and an evaluation, of ALBERT-base and of a small model.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use adamw_l2sp::{AdamWL2SPConfig, Groups, clip_grad_norm};
use albert::{EncoderInput, HiddenAct, ModelConfig, SequenceClassifier, cross_entropy};
use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Int, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};

#[cfg(not(feature = "tch"))]
#[global_allocator]
static ALLOCATOR: l2sp::memory::Allocator = l2sp::memory::Allocator;

type Train = Autodiff<Flex>;

fn input<B: Backend>(batch: usize, length: usize) -> (EncoderInput<B>, Tensor<B, 1, Int>) {
    let device = Default::default();
    let random = |high| Tensor::random([batch, length], Distribution::Uniform(1.0, high), &device);
    let input = EncoderInput {
        input_ids: random(1000.0),
        attention_mask: Tensor::ones([batch, length], &device),
        token_type_ids: Tensor::zeros([batch, length], &device),
    };
    (input, Tensor::zeros([batch], &device))
}

fn model(c: &mut Criterion) {
    l2sp::memory::keep_pages();
    let small = ModelConfig {
        vocab_size: 1000,
        hidden_size: 128,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        intermediate_size: 512,
        hidden_act: HiddenAct::Relu,
        ..ModelConfig::albert_base_v2()
    };
    for (name, config, batch, length) in [
        ("small, 32 x 32", small, 32, 32),
        ("base, 16 x 128", ModelConfig::albert_base_v2(), 16, 128),
    ] {
        let device = Default::default();
        let mut model = SequenceClassifier::<Train>::init(&config, 1, &device);
        let groups = Groups::new().source("encoder").biases_and_norms_undecayed();
        let rule = AdamWL2SPConfig::new().with_source_decay(0.5);
        let mut optimizer = rule.init(&model, groups).expect("a valid configuration");
        let (batch_input, labels) = input::<Train>(batch, length);
        c.bench_function(&format!("train step: {name}"), |b| {
            b.iter(|| {
                let loss = cross_entropy(model.forward(&batch_input), labels.clone());
                let mut grads = GradientsParams::from_grads(loss.backward(), &model);
                clip_grad_norm(&mut grads, &model, 1.0);
                model = optimizer.step(1e-5, model.clone(), grads);
            });
        });
        let valid = model.valid();
        let (batch_input, _) = input::<Flex>(batch, length);
        c.bench_function(&format!("evaluation: {name}"), |b| {
            b.iter(|| black_box(valid.forward(&batch_input)));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = model
}
criterion_main!(benches);
