//! Loading a model.
#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;

use albert::{ModelConfig, SequenceClassifier};
use burn::backend::Flex;
use criterion::{Criterion, criterion_group, criterion_main};

fn load(c: &mut Criterion) {
    let (config, device) = (ModelConfig::albert_base_v2(), Default::default());
    let folder = tempfile::tempdir().expect("a folder");
    SequenceClassifier::<Flex>::init(&config, 1, &device)
        .save_pretrained(&config, folder.path())
        .expect("saved");
    c.bench_function("load ALBERT-base", |b| {
        b.iter(|| {
            let path = folder.path();
            let loaded = SequenceClassifier::<Flex>::from_pretrained(path, &config, 0, &device);
            black_box(loaded.expect("loaded"))
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = load
}
criterion_main!(benches);
