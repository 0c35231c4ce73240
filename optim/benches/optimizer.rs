//! Time of the optimizer's step and of clipping, by the number of parameters.
#![allow(missing_docs, clippy::expect_used)]

use adamw_l2sp::{AdamWL2SPConfig, Groups, clip_grad_norm};
use burn::backend::{Autodiff, Flex};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::{Distribution, Tensor};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Train = Autodiff<Flex>;

fn optimizer(c: &mut Criterion) {
    let mut group = c.benchmark_group("optimizer");
    for side in [64, 512, 4208] {
        group.throughput(Throughput::Elements((side * side) as u64));
        let device = Default::default();
        let model: Linear<Train> = LinearConfig::new(side, side).with_bias(false).init(&device);
        let groups = Groups::new().source("weight");
        let mut optimizer = AdamWL2SPConfig::new()
            .with_source_decay(0.5)
            .init(&model, groups)
            .expect("a valid configuration");
        let gradient =
            Tensor::<Flex, 2>::random([side, side], Distribution::Normal(0.0, 1.0), &device);
        let id = model.weight.id;
        let grads = || {
            let mut grads = GradientsParams::new();
            // A copy of its own: clipping would have to copy a shared tensor.
            grads.register(id, gradient.clone().mul_scalar(1.0));
            grads
        };
        group.bench_function(BenchmarkId::new("clip", side * side), |b| {
            b.iter_batched(
                grads,
                |mut grads| clip_grad_norm(&mut grads, &model, 1.0),
                BatchSize::PerIteration,
            );
        });
        // Moved in and out: the step would have to copy a clone's tensors.
        let mut model = Some(model);
        group.bench_function(BenchmarkId::new("step", side * side), |b| {
            b.iter_batched(
                grads,
                |grads| model = model.take().map(|model| optimizer.step(1e-5, model, grads)),
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = optimizer
}
criterion_main!(benches);
