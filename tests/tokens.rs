//! Tokenized pairs compared with the Python tokenizers: ids, masks and segment ids.
//!
//! A case holds `tokenizer.json` and, for a file `NAME.tsv` of pairs, `NAME-LENGTH.safetensors`
//! with the pairs cut and padded to LENGTH. Pairs of RTE are not part of the case:
//! their `NAME.tsv` is in `data/rte`, next to the folder that `PARITY_CASES` names.
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use burn::data::dataloader::batcher::Batcher;
use rte::{Padding, Task, TextBatch, TextBatcher, TextDataset, TextTokenizer};
use tests::{Array, Arrays, OneBackend, cases, ok};

#[test]
fn pairs_are_tokenised_as_in_python() {
    for folder in cases("tokens") {
        let files: Vec<PathBuf> = ok(std::fs::read_dir(&folder), &folder)
            .map(|entry| ok(entry, &folder).path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"))
            .collect();
        assert!(!files.is_empty(), "{}: no encoded pairs", folder.display());
        for file in files {
            compare(&folder, &file);
        }
    }
}

fn compare(folder: &Path, file: &Path) {
    let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
    let (name, length) = stem.rsplit_once('-').expect("NAME-LENGTH");
    let max_length: usize = ok(length.parse(), file);
    let rte = ok(Task::named("rte"), file);
    let dataset = ok(TextDataset::from_file(&pairs(folder, name), &rte), file);
    let tokenizer = ok(TextTokenizer::from_folder(folder, max_length), folder);
    let encoded = ok(tokenizer.encode_all(dataset.examples()), folder);
    let batcher = TextBatcher {
        padding: Padding::MaxLength,
        max_length,
        pad_token_id: tokenizer.pad_token_id(),
        rows: None,
    };
    let batch: TextBatch<OneBackend> = batcher.batch(encoded, &Default::default());

    let expected = Arrays::read(file);
    for (name, actual) in [
        ("input_ids", batch.input_ids),
        ("attention_mask", batch.attention_mask),
        ("token_type_ids", batch.token_type_ids),
    ] {
        let shape = actual.dims().to_vec();
        let actual = Array { shape, values: actual.into_data().iter().collect() };
        let expected = expected.get(name);
        assert_eq!(actual.shape, expected.shape, "{}: {name}", file.display());
        let row = |array: &Array, row: usize| {
            array.values[row * max_length..(row + 1) * max_length].to_vec()
        };
        for index in 0..expected.shape[0] {
            let (actual, expected) = (row(&actual, index), row(expected, index));
            assert_eq!(actual, expected, "{}: {name} of pair {index}", file.display());
        }
    }
}

/// The pairs that a case encodes.
fn pairs(folder: &Path, name: &str) -> PathBuf {
    let own = folder.join(format!("{name}.tsv"));
    let rte = folder.join(format!("../../../data/rte/{name}.tsv"));
    match [&own, &rte].into_iter().find(|path| path.exists()) {
        Some(path) => path.clone(),
        None => panic!("{}: neither here nor at {}", own.display(), rte.display()),
    }
}
