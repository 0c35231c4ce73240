//! Each kernel, forward alone and with its backward pass, at the sizes of ALBERT-base (16 × 128 tokens), of MiniLM
//! (16 × 76) and of a small model (32 × 32).
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use albert::HiddenAct;
use albert::kernels::{self, AttentionOptions, Factors, TokenLayout};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Train = Autodiff<Flex>;

fn draw<const D: usize>(shape: [usize; D]) -> Tensor<Train, D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Default::default())
}

/// Measures `f` on inputs without gradients, then with the gradients of all of them.
fn measure<const N: usize>(
    c: &mut Criterion,
    name: &str,
    inputs: [Tensor<Train, 2>; N],
    f: impl Fn([Tensor<Train, 2>; N]) -> Tensor<Train, 2>,
) {
    c.bench_function(&format!("{name}, forward"), |b| b.iter(|| black_box(f(inputs.clone()))));
    let tracked = inputs.map(|input| input.require_grad());
    c.bench_function(&format!("{name}, forward and backward"), |b| {
        b.iter(|| black_box(f(tracked.clone()).backward()));
    });
}

fn operations(c: &mut Criterion) {
    for (size, batch, length, width, heads) in
        [("base", 16, 128, 768, 12), ("MiniLM", 16, 76, 384, 12), ("small", 32, 32, 128, 4)]
    {
        let rows = batch * length;
        let vector = |width| draw::<1>([width]);
        let wide = || draw([rows, 4 * width]);
        for (name, act) in [
            ("relu", HiddenAct::Relu),
            ("gelu", HiddenAct::Gelu),
            ("gelu_tanh", HiddenAct::GeluNew),
        ] {
            measure(c, &format!("{size}: {name}"), [wide()], |[x]| {
                kernels::activate(act, x, Factors::AsGiven)
            });
        }
        let (gamma, beta) = (vector(width), vector(width));
        measure(
            c,
            &format!("{size}: add_layer_norm"),
            [draw([rows, width]), draw([rows, width])],
            |[x, y]| kernels::add_layer_norm(x, y, gamma.clone(), beta.clone(), 1e-12),
        );
        measure(c, &format!("{size}: dropout"), [wide()], |[x]| kernels::dropout(x, 0.1));
        let bias = vector(4 * width);
        let layout = TokenLayout::padded(batch, length);
        let mask = Tensor::zeros([batch, length], &Default::default());
        for (suffix, factors) in [("", Factors::AsGiven), (" in bf16", Factors::BFloat16)] {
            measure(
                c,
                &format!("{size}: linear{suffix}"),
                [draw([rows, width]), draw([width, 4 * width])],
                |[x, w]| {
                    let [y] = kernels::linear(x, [(w, bias.clone())], factors);
                    y
                },
            );
            for (dropped, dropout) in [("", 0.0), (" with dropout", 0.1)] {
                measure(
                    c,
                    &format!("{size}: attention{dropped}{suffix}"),
                    [draw([rows, width]), draw([rows, 2 * width])],
                    |[q, kv]| {
                        let bias = mask.clone();
                        let options = AttentionOptions { heads, bias, dropout, factors };
                        kernels::attention(q, kv, &layout, &layout, options)
                    },
                );
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = operations
}
criterion_main!(benches);
