//! Tokenizing pairs, and loading a tokenizer.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rte::{Example, TextTokenizer};

fn tokenizer(c: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/tokens/unigram-own");
    let tokenizer = TextTokenizer::from_folder(&folder, 128).expect("a tokenizer");
    let examples: Vec<Example> = (0..2000)
        .map(|idx| Example {
            text: "The committee met on Tuesday to discuss the budget for the next year, but \
                        it could not agree on how much to spend on roads and bridges."
                .into(),
            text_pair: Some("The committee discussed the budget.".into()),
            label: Some(0),
            idx,
        })
        .collect();
    let mut group = c.benchmark_group("tokenizer");
    group.throughput(Throughput::Elements(examples.len() as u64));
    group.bench_function("tokenize pairs", |b| {
        b.iter(|| black_box(tokenizer.encode_all(&examples).expect("encoded")));
    });
    group.finish();
    c.bench_function("load a tokenizer", |b| {
        b.iter(|| black_box(TextTokenizer::from_folder(&folder, 128).expect("a tokenizer")));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = tokenizer
}
criterion_main!(benches);
