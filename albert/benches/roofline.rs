//! The CPU's roofline, to compare the other benchmarks with: multiply-adds from registers on one thread and on all, and
//! a pass over memory like the optimizer's.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Independent sums, enough to start a multiply-add in every cycle.
const SUMS: usize = 12;
const TIMES: usize = 1 << 20;

/// sum ← 0.999 · sum + 0.001, repeated. Gives the number of operations per thread, and a value that keeps them from being
/// optimized away.
struct MultiplyAdd;

impl WithSimd for MultiplyAdd {
    type Output = (usize, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> (usize, f32) {
        let (factor, term) = (simd.splat_f32s(0.999), simd.splat_f32s(0.001));
        let mut sums = [term; SUMS];
        for _ in 0..TIMES {
            for sum in &mut sums {
                *sum = simd.mul_add_f32s(*sum, factor, term);
            }
        }
        let total = sums.into_iter().reduce(|a, b| simd.add_f32s(a, b)).expect("sums");
        (2 * TIMES * SUMS * S::F32_LANES, simd.reduce_sum_f32s(total))
    }
}

fn arithmetic(c: &mut Criterion) {
    let arch = Arch::new();
    let (operations, _) = arch.dispatch(MultiplyAdd);
    let mut group = c.benchmark_group("roofline: operations");
    for threads in [1, rayon::current_num_threads()] {
        group.throughput(Throughput::Elements((operations * threads) as u64));
        group.bench_function(format!("{threads} threads"), |b| {
            b.iter(|| {
                rayon::broadcast(|thread| {
                    if thread.index() < threads {
                        black_box(arch.dispatch(MultiplyAdd));
                    }
                });
            });
        });
    }
    group.finish();
}

/// Five arrays read and three of them written, each with one element per parameter of ALBERT-large.
fn memory(c: &mut Criterion) {
    const ELEMENTS: usize = 17_700_000;
    const TASK: usize = 1 << 14;
    let array = |x: f32| vec![x; ELEMENTS];
    let [mut theta, mut first, mut second, grad, anchor] = [0.5, 0.4, 0.3, 0.2, 0.1].map(array);
    let mut group = c.benchmark_group("roofline: memory");
    group.throughput(Throughput::Bytes((8 * size_of::<f32>() * ELEMENTS) as u64));
    group.bench_function("five arrays read, three written", |bench| {
        bench.iter(|| {
            let written = theta.par_chunks_mut(TASK).zip(first.par_chunks_mut(TASK));
            let written = written.zip(second.par_chunks_mut(TASK));
            let read = grad.par_chunks(TASK).zip(anchor.par_chunks(TASK));
            written.zip(read).for_each(|(((a, b), c), (d, e))| {
                let all = a.iter_mut().zip(b).zip(c).zip(d).zip(e);
                for ((((a, b), c), d), e) in all {
                    let sum = d + e;
                    (*a, *b, *c) = (*a * 0.5 + sum, *b * 0.5 + sum, *c * 0.5 + sum);
                }
            });
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = arithmetic, memory
}
criterion_main!(benches);
