//! Tokenising, and loading a model.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;
use std::path::Path;

use albert::{AlbertConfig, AlbertForSequenceClassification};
use burn::backend::Flex;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rte::{PairTokenizer, RteExample};

fn data(c: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/tokens/unigram-own");
    let tokenizer = PairTokenizer::from_folder(&folder, 128).expect("a tokenizer");
    let examples: Vec<RteExample> = (0..2000)
        .map(|idx| RteExample {
            sentence1: "The committee met on Tuesday to discuss the budget for the next year, but \
                        it could not agree on how much to spend on roads and bridges."
                .into(),
            sentence2: "The committee discussed the budget.".into(),
            label: Some(0),
            idx,
        })
        .collect();
    let mut group = c.benchmark_group("data");
    group.throughput(Throughput::Elements(examples.len() as u64));
    group.bench_function("tokenise pairs", |b| {
        b.iter(|| black_box(tokenizer.encode_all(&examples).expect("encoded")));
    });
    group.finish();
    c.bench_function("load a tokenizer", |b| {
        b.iter(|| black_box(PairTokenizer::from_folder(&folder, 128).expect("a tokenizer")));
    });

    let (config, device) = (AlbertConfig::base_v2(), Default::default());
    let folder = tempfile::tempdir().expect("a folder");
    AlbertForSequenceClassification::<Flex>::init(&config, 1, &device)
        .save_pretrained(&config, folder.path())
        .expect("saved");
    c.bench_function("load ALBERT-base", |b| {
        b.iter(|| {
            let path = folder.path();
            let loaded =
                AlbertForSequenceClassification::<Flex>::from_pretrained(path, &config, 0, &device);
            black_box(loaded.expect("loaded"))
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = data
}
criterion_main!(benches);
