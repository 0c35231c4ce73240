//! Hostile input: every reader returns a value or an error, and never panics, hangs or exhausts memory.
//!
//! `proptest` damages valid files in several ways at once; some inputs are random bytes. There are about a million inputs;
//! `HOSTILE=100` tries a hundred times that number.
// With `tch` the library defines the global allocator, so memory cannot be measured.
#![cfg(not(feature = "tch"))]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use albert::{ModelConfig, SequenceClassifier};
use burn::backend::{Autodiff, Flex};
use burn::tensor::TensorData;
use l2sp::resume::{Checkpoint, CheckpointHeader, Contents, state};
use l2sp::settings::Settings;
use l2sp::train::metrics_log::Prefix;
use l2sp::train::progress::Progress;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use peak_alloc::PeakAlloc;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rte::{Format, Task, TextTokenizer, read_examples};
use tests::own_cases;
use tests::world::{config, tsv};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Held while memory is measured, because it is measured for the entire process.
static ALONE: Mutex<()> = Mutex::new(());

/// The memory that a reader may use, as a multiple of the size of its input, …
const MEMORY_FACTOR: usize = 64;
/// … and in addition to that, in bytes.
const MEMORY_ALLOWANCE: usize = 24 << 20;

/// The time limit for an input: far more than any takes, even on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A change to a file.
#[derive(Clone, Debug)]
enum Damage {
    Bit(Index, u8),
    Byte(Index, u8),
    /// Some bytes are missing.
    Missing(Index, usize),
    Inserted(Index, Vec<u8>),
    /// Some bytes become the smallest or largest value.
    Extreme(Index, usize, u8),
    Truncated(Index),
    /// A part is repeated.
    Repeated(Index, usize),
    /// An integer in the text is replaced.
    Number(Index, &'static str),
}

/// The replacements of integers.
const NUMBERS: [&str; 9] = [
    "0",
    "-1",
    "1e400",
    "4294967296",
    "9223372036854775807",
    "18446744073709551616",
    "1e-400",
    "99999999999",
    "null",
];

/// The pieces that are inserted: delimiters of the formats, and bytes that are invalid in them.
const PIECES: [&[u8]; 12] = [
    b"\t",
    b"\n",
    b"\r\n",
    b"\"",
    b"{",
    b"}",
    b"[[[[[[[[",
    b"\\u0000",
    b"\xff\xfe",
    b"\0\0\0\0\0\0\0\x80",
    b",",
    b":",
];

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    let piece = proptest::sample::select(&PIECES[..]).prop_map(<[u8]>::to_vec);
    prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Damage::Bit(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        (at(), 1..16usize).prop_map(|(at, length)| Damage::Missing(at, length)),
        (at(), piece).prop_map(|(at, piece)| Damage::Inserted(at, piece)),
        (at(), 1..10usize, prop_oneof![Just(0u8), Just(0x7f), Just(0x80), Just(0xff)])
            .prop_map(|(at, length, byte)| Damage::Extreme(at, length, byte)),
        at().prop_map(Damage::Truncated),
        (at(), 1..64usize).prop_map(|(at, length)| Damage::Repeated(at, length)),
        (at(), proptest::sample::select(&NUMBERS[..]))
            .prop_map(|(at, number)| Damage::Number(at, number)),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let part = |at: &Index, length: usize| {
            let start = at.index(bytes.len());
            start..bytes.len().min(start + length)
        };
        match self {
            Self::Bit(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Self::Byte(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::Missing(at, length) => drop(bytes.drain(part(at, *length))),
            Self::Inserted(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, piece.iter().copied());
            }
            Self::Extreme(at, length, byte) => {
                let part = part(at, *length);
                bytes[part].fill(*byte);
            }
            Self::Truncated(at) => bytes.truncate(at.index(bytes.len())),
            Self::Repeated(at, length) => {
                let part = part(at, *length);
                let copy = bytes[part.clone()].to_vec();
                bytes.splice(part.end..part.end, copy);
            }
            Self::Number(at, number) => {
                let from = at.index(bytes.len());
                let is_digit = |byte: &u8| byte.is_ascii_digit();
                let Some(start) = bytes[from..].iter().position(is_digit) else { return };
                let start = from + start;
                let length = bytes[start..].iter().take_while(|byte| is_digit(byte)).count();
                bytes.splice(start..start + length, number.bytes());
            }
        }
    }
}

/// Try `read` on damaged copies of `valid` and on random bytes. `read` returns whether it could read them.
fn survives(name: &str, valid: &[u8], inputs: u32, read: impl Fn(&[u8]) -> bool) {
    survives_with(MEMORY_ALLOWANCE, name, valid, inputs, read);
}

/// The same as [`survives`], with another memory allowance in bytes.
fn survives_with(
    allowance: usize,
    name: &str,
    valid: &[u8],
    inputs: u32,
    read: impl Fn(&[u8]) -> bool,
) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let times = std::env::var("HOSTILE").map_or(1, |times| times.parse().expect("a number"));
    assert!(read(valid), "{name}: the undamaged file");
    let settings = Config {
        cases: inputs * times,
        max_shrink_iters: 10_000,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &[7; 16]);
    let mut runner = TestRunner::new_with_rng(settings, rng);
    let damaged = vec(damage(), 1..6).prop_map(|damages| {
        let mut bytes = valid.to_vec();
        damages.iter().for_each(|damage| damage.apply(&mut bytes));
        bytes
    });
    let input = prop_oneof![19 => damaged, 1 => vec(any::<u8>(), 0..256)];
    let (understood, worst) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    // Panics that a reader catches must not be printed.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = runner.run(&input, |bytes| {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let begun = Instant::now();
        understood.set(understood.get() + u32::from(read(&bytes)));
        let used = MEMORY.peak_usage().saturating_sub(before);
        worst.set(worst.get().max(used));
        prop_assert!(begun.elapsed() < TIME_LIMIT, "it took {:?}", begun.elapsed());
        prop_assert!(
            used <= MEMORY_FACTOR * bytes.len() + allowance,
            "{used} bytes for {}",
            bytes.len()
        );
        Ok(())
    });
    std::panic::set_hook(hook);
    result.unwrap_or_else(|error| panic!("{name}: {error}"));
    println!(
        "{name}: {} inputs, {} of them read, at most {} KiB for a file of {} KiB",
        inputs * times,
        understood.get(),
        worst.get() >> 10,
        valid.len() >> 10
    );
}

fn rte() -> Task {
    Task::named("rte").expect("a task")
}

/// RTE as the Parquet file on the hub.
fn parquet(compression: Compression, dictionaries: bool) -> Vec<u8> {
    let schema = "message schema { required binary sentence1 (UTF8); required binary sentence2 (UTF8); required int64 label; }";
    let schema = parse_message_type(schema).expect("a schema").into();
    let properties = WriterProperties::builder().set_compression(compression);
    let properties = properties.set_dictionary_enabled(dictionaries).build();
    let mut bytes = Vec::new();
    let mut file =
        SerializedFileWriter::new(&mut bytes, schema, properties.into()).expect("a writer");
    let mut rows = file.next_row_group().expect("a row group");
    let examples = read_examples(tsv(2, true).as_bytes(), "tsv", &rte()).expect("read");
    let texts: [fn(&rte::Example) -> &str; 2] =
        [|example| &example.text, |example| example.text_pair.as_deref().expect("a pair")];
    for text in texts {
        let values: Vec<ByteArray> = examples.iter().map(|example| text(example).into()).collect();
        let mut column = rows.next_column().expect("a column").expect("a column");
        column.typed::<ByteArrayType>().write_batch(&values, None, None).expect("written");
        column.close().expect("closed");
    }
    let labels: Vec<i64> =
        examples.iter().map(|example| example.label.map_or(-1, |label| label as i64)).collect();
    let mut column = rows.next_column().expect("a column").expect("a column");
    column.typed::<Int64Type>().write_batch(&labels, None, None).expect("written");
    column.close().expect("closed");
    rows.close().expect("closed");
    file.close().expect("closed");
    bytes
}

#[test]
fn tsv_files() {
    let valid = tsv(1, true);
    survives("TSV", valid.as_bytes(), 250_000, |bytes| {
        Format::Tsv.read(bytes, "input", &rte()).is_ok()
    });
}

#[test]
fn jsonl_files() {
    let rows = read_examples(tsv(1, true).as_bytes(), "tsv", &rte()).expect("read");
    let line = |row: &rte::Example| {
        let (premise, hypothesis) = (&row.text, &row.text_pair);
        let label = &rte().labels[row.label.expect("a label")];
        serde_json::json!({ "premise": premise, "hypothesis": hypothesis, "label": label })
            .to_string()
    };
    let valid: String = rows.iter().map(|row| line(row) + "\n").collect();
    survives("JSONL", valid.as_bytes(), 250_000, |bytes| {
        Format::Jsonl.read(bytes, "input", &rte()).is_ok()
    });
}

#[test]
fn csv_files() {
    let valid = tsv(1, true).replace('"', "\"\"").replace('\t', "\",\"").replace('\n', "\"\n\"");
    let valid = format!("\"{}", valid.trim_end_matches('"'));
    survives("CSV", valid.as_bytes(), 100_000, |bytes| {
        Format::Csv.read(bytes, "input", &rte()).is_ok()
    });
}

/// A damaged page header may claim any size below 2 GiB, which the library allocates before it finds that the page
/// does not decompress to that size.
const PAGE_CLAIM: usize = i32::MAX as usize;

#[test]
fn parquet_files() {
    for (compression, dictionaries, page_claim, inputs) in [
        (Compression::SNAPPY, true, PAGE_CLAIM, 70_000),
        (Compression::ZSTD(Default::default()), true, PAGE_CLAIM, 20_000),
        (Compression::GZIP(Default::default()), true, PAGE_CLAIM, 20_000),
        (Compression::UNCOMPRESSED, true, 0, 70_000),
        (Compression::UNCOMPRESSED, false, 0, 70_000),
    ] {
        let name = format!("Parquet ({compression}, dictionaries {dictionaries})");
        let valid = parquet(compression, dictionaries);
        survives_with(MEMORY_ALLOWANCE + page_claim, &name, &valid, inputs, |bytes| {
            Format::Parquet.read(bytes, "input", &rte()).is_ok()
        });
    }
}

#[test]
fn a_parquet_page_that_claims_two_gibibytes_is_an_error() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bytes = parquet(Compression::SNAPPY, true);
    // The first page header: its type, then the size after decompression, each after the byte 0x15.
    assert_eq!((bytes[4], bytes[6]), (0x15, 0x15));
    let length = 1 + bytes[7..].iter().take_while(|byte| **byte >= 0x80).count();
    bytes.splice(7..7 + length, [0xfe, 0xff, 0xff, 0xff, 0x0f]);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let error = Format::Parquet.read(bytes.as_slice(), "input", &rte()).unwrap_err().to_string();
    let used = MEMORY.peak_usage().saturating_sub(before);
    assert!(error.contains("column sentence1"), "{error}");
    assert!(used <= PAGE_CLAIM + MEMORY_ALLOWANCE, "{used} bytes");
}

#[test]
fn long_texts_take_little_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for kind in ["wordpiece", "unigram-own"] {
        let tokenizer = TextTokenizer::from_folder(&own_cases().join(format!("tokens/{kind}")), 40)
            .expect("a tokenizer");
        for piece in ["Rain fell on the town. ", "rain", " ", "東", "1 2. "] {
            let text = piece.repeat((20 << 20) / piece.len());
            let before = MEMORY.current_usage();
            MEMORY.reset_peak_usage();
            let pair = tokenizer.encode("It rained.", Some(&text)).expect("tokenized");
            let used = MEMORY.peak_usage().saturating_sub(before);
            assert!(pair.input_ids.len() <= 40);
            assert!(used < 192 << 20, "{kind}, {piece:?}: {} MiB", used >> 20);
            println!("{kind}, {piece:?}: {} MiB", used >> 20);
        }
    }
}

#[test]
fn model_configurations() {
    let named = config().to_json("AlbertForSequenceClassification");
    // Labels may be counted instead.
    let mut keys: serde_json::Value = serde_json::from_str(&named).expect("JSON");
    let keys = keys.as_object_mut().expect("an object");
    keys.remove("id2label");
    keys.insert("num_labels".into(), 2.into());
    let counted = serde_json::to_string_pretty(keys).expect("JSON");
    for (name, valid) in [("config.json", named), ("config.json (counted labels)", counted)] {
        survives(name, valid.as_bytes(), 100_000, |bytes| {
            ModelConfig::from_json(&String::from_utf8_lossy(bytes)).is_ok()
        });
    }
}

#[test]
fn tokenizers() {
    for kind in ["wordpiece", "unigram-own"] {
        let path = own_cases().join(format!("tokens/{kind}/tokenizer.json"));
        let valid = std::fs::read(path).expect("read");
        survives(&format!("tokenizer.json ({kind})"), &valid, 15_000, |bytes| {
            TextTokenizer::from_bytes(bytes, "input", 40).is_ok_and(|tokenizer| {
                tokenizer.encode("Rain fell on the town.", Some("Rain fell.")).is_ok()
            })
        });
    }
}

/// A tiny model, so that damage is likely to hit the header.
fn tiny() -> ModelConfig {
    ModelConfig {
        vocab_size: 8,
        embedding_size: 2,
        hidden_size: 4,
        num_attention_heads: 2,
        intermediate_size: 4,
        max_position_embeddings: 8,
        ..config()
    }
    .with_labels(&["entailment", "not_entailment"])
}

type Classifier<B> = SequenceClassifier<B>;

#[test]
fn weights() {
    let device = Default::default();
    let folder = tempfile::tempdir().expect("a folder");
    Classifier::<Flex>::init(&tiny(), 1, &device)
        .save_pretrained(&tiny(), folder.path())
        .expect("saved");
    let valid = std::fs::read(folder.path().join("model.safetensors")).expect("read");
    survives("model.safetensors", &valid, 40_000, |bytes| {
        Classifier::<Flex>::from_bytes(bytes, "input", &tiny(), 1, &device).is_ok()
    });
}

/// A checkpoint of a run before its first step, with optimizer state.
fn checkpoint(model: &Classifier<Autodiff<Flex>>) -> Checkpoint {
    let mut tensors = state::collect(model, Vec::new());
    let parameters: Vec<_> =
        tensors.iter().map(|(name, data)| (name.clone(), data.clone())).collect();
    for (name, data) in parameters {
        let path = name.trim_start_matches("parameter/");
        for kind in ["moment_1", "moment_2", "anchor"] {
            tensors.insert(format!("{kind}/{path}"), data.clone());
        }
        tensors.insert(format!("time/{path}"), TensorData::new(vec![3i64], [1]));
    }
    let header = CheckpointHeader {
        progress: Progress {
            step: 3,
            examples: 24,
            train_seconds: 1.5,
            eval_seconds: 0.5,
            evaluations: Vec::new(),
        },
        metrics: Prefix { bytes: 100, sha256: "0".repeat(64) },
        contents: Contents { model: "1".repeat(64), data: "2".repeat(64) },
        settings: Settings::default().to_table(),
    };
    Checkpoint { header, tensors }
}

#[test]
fn checkpoints() {
    let model = Classifier::<Autodiff<Flex>>::init(&tiny(), 1, &Default::default());
    let valid = checkpoint(&model).to_bytes().expect("bytes");
    survives("checkpoint", &valid, 50_000, |bytes| {
        let read = Checkpoint::from_bytes(bytes).is_ok();
        assert_eq!(read, bytes == valid, "damage is noticed");
        read
    });
    // Without the checksum, which detects all damage: an attacker can write a valid one.
    survives("checkpoint (forged)", &valid[32..], 20_000, |bytes| {
        Checkpoint::from_safetensors(bytes)
            .is_ok_and(|checkpoint| state::restore(model.clone(), checkpoint.tensors).is_ok())
    });
}
