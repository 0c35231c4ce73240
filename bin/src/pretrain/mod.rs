//! Pretraining of the bundled model: an ALBERT from generated text.

mod masking;
mod vocabulary;

use std::f64::consts::SQRT_2;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::thread::{self, ScopedJoinHandle};

use adamw_l2sp::{AdamWL2SPConfig, Groups, ScheduleConfig};
use albert::{AlbertForPreTraining, HiddenAct, ModelConfig, Precision, cross_entropy};
use burn::module::{AutodiffModule, Module};
use burn::nn::Linear;
use burn::optim::lr_scheduler::LrScheduler;
use burn::optim::{GradientsAccumulator, GradientsParams, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Int, Tensor, TensorData};
use clap::Args;
use embedded::{Document, first_text, text};
use indicatif::ProgressBar;
use rte::{Example, Padding, TextBatcher, TextTokenizer};
use serde::Serialize;

use masking::{Masked, MaskedBatch, Masking, masked_batch};
use vocabulary::unigram_tokenizer;

use crate::ProgramError;
use crate::device::{self, DeviceKind, DeviceName, Work};
use crate::model_folder::write_tokenizer_config;
use crate::settings::at_least_one;
use crate::signals::StopRequest;
use crate::terminal::{notice, progress_bar};
use crate::train::metrics_log::MetricsLog;
use crate::train::step::{clip, is_correct, labelled};

/// The flags of `pretrain`.
#[derive(Args, Debug)]
pub(crate) struct PretrainArgs {
    /// The model folder to write: config.json, model.safetensors, tokenizer.json, metrics.jsonl
    #[arg(long, value_name = "FOLDER")]
    pub output: PathBuf,

    /// Replace the files of an earlier model in that folder; other files are kept
    #[arg(long)]
    pub overwrite: bool,

    /// Optimizer steps
    #[arg(long, value_name = "COUNT", default_value_t = 8_000, value_parser = at_least_one)]
    pub steps: usize,

    /// Documents in a step
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = at_least_one)]
    pub batch_size: usize,

    /// The peak learning rate, reached after the first 5 % of the steps; it then falls linearly to zero
    #[arg(long, value_name = "NUMBER", default_value_t = 2e-3)]
    pub learning_rate: f64,

    /// Seeds the text, the weights and what is masked
    #[arg(long, value_name = "NUMBER", default_value_t = 10013)]
    pub seed: u64,

    /// The device to use, such as cpu, cuda:1, vulkan or tch:cuda:0; `l2sp devices` lists them [default: the best device
    /// available]
    #[arg(long, value_name = "NAME")]
    pub device: Option<DeviceName>,
}

/// A step is split into this number of parts, which are computed in parallel. It does not depend on the number of cores,
/// so that the sum is the same on every machine.
const PARTS: usize = 4;

/// Steps between two lines of metrics.jsonl.
const REPORT_EVERY: usize = 100;

/// Steps between two saves of the unfinished model, in case of a crash.
const SAVE_EVERY: usize = 1000;

/// The number of simple documents at the beginning of the text.
const FIRST_DOCUMENTS: usize = 80_000;

/// The number of documents that the vocabulary is built from.
const TOKENIZER_DOCUMENTS: usize = 100_000;

/// The longest document, in tokens.
const MAX_LENGTH: usize = 128;

/// The number of documents that the finished model is evaluated on.
const HELD_OUT: usize = 2048;

/// The configuration of the embedded model: as large as two megabytes of weights allow, and without dropout, as in
/// ALBERT version 2.
fn config(vocab_size: usize) -> ModelConfig {
    ModelConfig {
        vocab_size,
        embedding_size: 64,
        hidden_size: 128,
        num_hidden_layers: 4,
        num_hidden_groups: 2,
        num_attention_heads: 4,
        intermediate_size: 512,
        max_position_embeddings: 128,
        hidden_act: HiddenAct::Relu,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        classifier_dropout_prob: Some(0.0),
        // About 1/√hidden_size. With the 0.02 of large models, attention stays nearly uniform for many steps.
        initializer_range: 0.09,
        ..ModelConfig::albert_base_v2()
    }
}

/// Structured initial weights, from which a network of this size learns to relate words to each other. From random weights
/// it learns word frequencies, but for many thousands of steps not who did what.
///
/// - Position embeddings are [`sinusoids`], so that the previous position is the same rotation of every position.
/// - The key weights are half the query weights, so that a word attends to its other occurrences and to its neighbours
///   (Trockman & Kolter, arXiv 2305.09828).
/// - The output of each sublayer is scaled by 0.1, so that the identity of a word survives the layers (Wang et al.,
///   arXiv 2203.00555).
/// - The prediction head is initialized to the transpose of the embedding projection.
fn start<B: AutodiffBackend>(
    mut model: AlbertForPreTraining<B>,
    config: &ModelConfig,
    device: &B::Device,
) -> AlbertForPreTraining<B> {
    let set = |linear: &mut Linear<B>, weight: Tensor<B, 2>| {
        linear.weight = linear.weight.clone().map(|_| weight.detach().require_grad());
    };
    let positions = &mut model.encoder.embeddings.position_embeddings;
    positions.weight = positions.weight.clone().map(|_| sinusoids(config, device).require_grad());
    for layer in model.encoder.layer_groups.iter_mut().flat_map(|group| &mut group.layers) {
        let attention = &mut layer.attention;
        set(&mut attention.key, attention.query.weight.val() * 0.5);
        for linear in [&mut attention.dense, &mut layer.ffn_output] {
            let weight = linear.weight.val() * 0.1;
            set(linear, weight);
        }
    }
    if let Some(projection) = &model.encoder.embedding_projection {
        #[expect(clippy::disallowed_methods, reason = "the view is only read")]
        let transposed = projection.weight.val().transpose().into_data();
        // Copied through the host, because two parameters must not share memory.
        set(&mut model.predictions.dense, Tensor::from_data(transposed, device));
    }
    model
}

/// Position embeddings, `[max_position_embeddings, embedding_size]`: sinusoids (Vaswani et al., arXiv 1706.03762, section
/// 3.5) with the standard deviation of the other weights and periods of 2π to about 2π · 100 words.
fn sinusoids<B: Backend>(config: &ModelConfig, device: &B::Device) -> Tensor<B, 2> {
    let (positions, size) = (config.max_position_embeddings, config.embedding_size);
    let amplitude = SQRT_2 * config.initializer_range;
    let value = |position: usize, dimension: usize| {
        let exponent = (dimension / 2) as f64 / (size / 2) as f64;
        let angle = position as f64 / 100_f64.powf(exponent);
        let wave = if dimension.is_multiple_of(2) { angle.sin() } else { angle.cos() };
        (amplitude * wave) as f32
    };
    let values: Vec<f32> = (0..positions * size).map(|at| value(at / size, at % size)).collect();
    Tensor::from_data(TensorData::new(values, [positions, size]), device)
}

/// Pretrain a model, and write its folder.
///
/// # Errors
/// The device is unusable, the folder cannot be written to, the settings are invalid, the loss is not finite, or a signal
/// stopped the program.
pub(crate) fn pretrain(args: &PretrainArgs) -> Result<(), ProgramError> {
    let device = device::choose(args.device, Precision::Float32)?;
    if device.name.kind == DeviceKind::Xla {
        return Err(ProgramError::Usage(
            "the parts of a step are computed in threads, which XLA does not support; use another --device".into(),
        ));
    }
    notice(format_args!("device {device}, fp32"));
    device::run(device.name, args)?
}

impl Work for &PretrainArgs {
    type Output = Result<(), ProgramError>;

    fn on<B: AutodiffBackend>(self, device: B::Device) -> Self::Output {
        run::<B>(self, &device)
    }
}

fn run<B: AutodiffBackend>(args: &PretrainArgs, device: &B::Device) -> Result<(), ProgramError> {
    create_output(args)?;
    let stop = StopRequest::listen(None)?;

    // The vocabulary of the text determines the size of the model.
    let tokenizer_json = tokenizer_json(args.seed);
    let tokenizer = TextTokenizer::from_bytes(&tokenizer_json, "tokenizer.json", MAX_LENGTH)?;
    let config = config(tokenizer.vocab_size());
    let training_text = first_text(args.seed).take(FIRST_DOCUMENTS).chain(text(args.seed));
    let mut documents = Documents::new(training_text, args.seed, &tokenizer);
    let mut model =
        start(AlbertForPreTraining::<B>::init(&config, args.seed, device), &config, device);
    let mut optimizer = AdamWL2SPConfig::new()
        .with_epsilon(1e-6)
        .init(&model, Groups::new().biases_and_norms_undecayed())?;
    let warmup = ScheduleConfig::warmup_steps_for(0.05, args.steps);
    let mut schedule = ScheduleConfig::new(args.learning_rate, warmup, args.steps).init()?;

    let save = |model: &AlbertForPreTraining<B>| {
        model.save_pretrained(&config, &args.output)?;
        let path = args.output.join("tokenizer.json");
        files::write(&path, &tokenizer_json).map_err(ProgramError::io("write", &path))?;
        write_tokenizer_config(&config, &tokenizer_json, None, MAX_LENGTH, &args.output)
    };
    let mut report = Report::new(args)?;
    for step in 1..=args.steps {
        let documents = documents.take(args.batch_size)?;
        let (mut grads, losses) = gradients(&model, documents, &tokenizer, device)?;
        if !clip(&mut grads, &model, 1.0).is_finite() {
            return Err(ProgramError::Diverged { step });
        }
        let learning_rate = schedule.step();
        model = optimizer.step(learning_rate, model, grads);
        report.step(step, losses, learning_rate)?;
        if step.is_multiple_of(SAVE_EVERY) {
            save(&model)?;
        }
        if stop.is_requested() {
            break;
        }
    }
    let steps = report.finish();

    // What it leaves.
    save(&model)?;
    if steps < args.steps {
        let (signal, model) = (stop.signal().unwrap_or(2), args.output.clone());
        return Err(ProgramError::PretrainingStopped { step: steps, signal, model });
    }
    let losses = evaluate(&model.valid(), args.seed, &tokenizer, device)?;
    writeln!(
        std::io::stdout(),
        "on held-out text: {:.2} % of the masked words and {:.2} % of the sentence orders correct; model in {}",
        100.0 * losses.words_found,
        100.0 * losses.orders_correct,
        args.output.display(),
    )
    .map_err(ProgramError::stdout)
}

/// Create the output folder. One that is not empty needs `--overwrite`, which replaces the files that are written and
/// leaves others alone.
fn create_output(args: &PretrainArgs) -> Result<(), ProgramError> {
    let folder = &args.output;
    fs::create_dir_all(folder).map_err(ProgramError::io("create", folder))?;
    let mut entries = fs::read_dir(folder).map_err(ProgramError::io("read", folder))?;
    if entries.next().is_some() && !args.overwrite {
        return Err(ProgramError::OutputInUse(folder.clone()));
    }
    Ok(())
}

/// A tokenizer for the words of a seed's text.
fn tokenizer_json(seed: u64) -> Vec<u8> {
    let corpus: Vec<Document> = text(seed).take(TOKENIZER_DOCUMENTS).collect();
    let parts = corpus.iter().flat_map(|document| [&*document.first, &*document.second]);
    format!("{:#}\n", unigram_tokenizer(parts)).into_bytes()
}

/// A seed's text, some of its parts switched, some of its words masked.
struct Documents<'a> {
    text: Box<dyn Iterator<Item = Document>>,
    masking: Masking,
    tokenizer: &'a TextTokenizer,
}

impl<'a> Documents<'a> {
    fn new(
        text: impl Iterator<Item = Document> + 'static,
        seed: u64,
        tokenizer: &'a TextTokenizer,
    ) -> Self {
        let masking = Masking::new(seed, tokenizer.vocab_size());
        Self { text: Box::new(text), masking, tokenizer }
    }

    fn take(&mut self, count: usize) -> Result<Vec<Masked>, ProgramError> {
        let pair = |(idx, document): (usize, Document)| {
            let switched = document.switched.unwrap_or_else(|| self.masking.switches());
            let (text, text_pair) = match switched {
                false => (document.first, document.second),
                true => (document.second, document.first),
            };
            Example { text, text_pair: Some(text_pair), label: Some(usize::from(switched)), idx }
        };
        let pairs: Vec<_> = self.text.by_ref().take(count).enumerate().map(pair).collect();
        let encoded = self.tokenizer.encode_all(&pairs)?;
        Ok(encoded.into_iter().map(|example| self.masking.mask(example)).collect())
    }
}

/// Means over the documents of one or more steps.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Losses {
    /// Cross-entropy of the masked words.
    mlm_loss: f64,
    /// Cross-entropy of the order of the parts.
    sop_loss: f64,
    /// The share of masked words that had the highest score.
    words_found: f64,
    /// The share of documents whose order of parts was predicted correctly.
    orders_correct: f64,
}

impl Losses {
    fn add(&mut self, other: Self, share: f64) {
        self.mlm_loss += share * other.mlm_loss;
        self.sop_loss += share * other.sop_loss;
        self.words_found += share * other.words_found;
        self.orders_correct += share * other.orders_correct;
    }
}

/// The forward pass of one part of a step. The step has `words` masked words and `documents` documents. The loss is
/// the contribution of the part to the loss of the step, which is the mean over the words plus the mean over the documents.
fn forward<B: Backend>(
    model: &AlbertForPreTraining<B>,
    part: MaskedBatch<B>,
    words: usize,
    documents: usize,
) -> (Tensor<B, 1>, Losses) {
    let MaskedBatch { batch, positions, words: targets } = part;
    let word_share = targets.dims()[0] as f64 / words as f64;
    let document_share = batch.idx.len() as f64 / documents as f64;
    let Some((input, switched)) = labelled(batch) else {
        return (Tensor::zeros([1], &positions.device()), Losses::default());
    };
    let (scores, sop_logits) = model.forward_at(&input, positions);
    let mlm_loss = cross_entropy(scores.clone(), targets.clone()) * word_share;
    let sop_loss = cross_entropy(sop_logits.clone(), switched.clone()) * document_share;
    let count = |correct: Tensor<B, 1, Int>| correct.sum().into_scalar().elem::<i64>() as f64;
    let losses = Losses {
        mlm_loss: mlm_loss.clone().into_scalar().elem(),
        sop_loss: sop_loss.clone().into_scalar().elem(),
        words_found: count(is_correct(scores, targets)) / words as f64,
        orders_correct: count(is_correct(sop_logits, switched)) / documents as f64,
    };
    (mlm_loss + sop_loss, losses)
}

/// Split a step into parts, each of documents of similar length.
fn parts(mut documents: Vec<Masked>) -> Vec<Vec<Masked>> {
    documents.sort_by_key(|document| document.example.input_ids.len());
    let size = documents.len().div_ceil(PARTS);
    documents.chunks(size).map(<[Masked]>::to_vec).collect()
}

/// The gradient of a step, whose parts are computed in parallel and summed in a fixed order.
fn gradients<B: AutodiffBackend>(
    model: &AlbertForPreTraining<B>,
    documents: Vec<Masked>,
    tokenizer: &TextTokenizer,
    device: &B::Device,
) -> Result<(GradientsParams, Losses), ProgramError> {
    let words = documents.iter().map(|document| document.targets.len()).sum();
    let count = documents.len();
    let batcher = batcher(tokenizer);
    let results: Vec<_> = thread::scope(|scope| {
        let part = |part: Vec<Masked>| {
            // A fork of the model has separate parameters, so each part has a separate autodiff graph.
            let model = model.clone().fork(device);
            let batcher = &batcher;
            scope.spawn(move || {
                let batch = masked_batch::<B>(batcher, part, device);
                let (loss, losses) = forward(&model, batch, words, count);
                (GradientsParams::from_grads(loss.backward(), &model), losses)
            })
        };
        let threads: Vec<_> = parts(documents).into_iter().map(part).collect();
        threads.into_iter().map(ScopedJoinHandle::join).collect()
    });
    let (mut accumulator, mut sum) = (GradientsAccumulator::new(), Losses::default());
    for result in results {
        let (grads, losses) = result.map_err(|_| ProgramError::from_first_panic())?;
        accumulator.accumulate(model, grads);
        sum.add(losses, 1.0);
    }
    Ok((accumulator.grads(), sum))
}

/// Evaluate the model on text that it has not been trained on.
fn evaluate<B: Backend>(
    model: &AlbertForPreTraining<B>,
    seed: u64,
    tokenizer: &TextTokenizer,
    device: &B::Device,
) -> Result<Losses, ProgramError> {
    let seed = seed.wrapping_add(1);
    let documents = Documents::new(text(seed), seed, tokenizer).take(HELD_OUT)?;
    let words = documents.iter().map(|document| document.targets.len()).sum();
    let batcher = batcher(tokenizer);
    let mut sum = Losses::default();
    for part in documents.chunks(64) {
        let batch = masked_batch(&batcher, part.to_vec(), device);
        sum.add(forward(model, batch, words, documents.len()).1, 1.0);
    }
    Ok(sum)
}

fn batcher(tokenizer: &TextTokenizer) -> TextBatcher {
    TextBatcher {
        padding: Padding::Longest,
        max_length: MAX_LENGTH,
        pad_token_id: tokenizer.pad_token_id(),
        rows: None,
    }
}

/// Progress on standard error, and the means over every [`REPORT_EVERY`] steps in metrics.jsonl.
struct Report {
    bar: ProgressBar,
    metrics: MetricsLog,
    total: usize,
    steps: usize,
    recent: Losses,
    since: usize,
}

/// A line of metrics.jsonl.
#[derive(Serialize)]
struct ReportLine {
    step: usize,
    #[serde(flatten)]
    losses: Losses,
    learning_rate: f64,
}

impl Report {
    fn new(args: &PretrainArgs) -> Result<Self, ProgramError> {
        let metrics = MetricsLog::open(args.output.join("metrics.jsonl"), None, &[])?;
        let bar = progress_bar(args.steps, "steps");
        let recent = Losses::default();
        Ok(Self { bar, metrics, total: args.steps, steps: 0, recent, since: 0 })
    }

    fn step(
        &mut self,
        step: usize,
        losses: Losses,
        learning_rate: f64,
    ) -> Result<(), ProgramError> {
        self.bar.set_position(step as u64);
        self.steps = step;
        self.since += 1;
        self.recent.add(losses, 1.0);
        if !step.is_multiple_of(REPORT_EVERY) && step < self.total {
            return Ok(());
        }
        let mut losses = Losses::default();
        losses.add(std::mem::take(&mut self.recent), 1.0 / self.since as f64);
        self.since = 0;
        let text = format!(
            "step {step}  masked words: loss {:.3}, accuracy {:.1} %  sentence order: loss {:.3}, accuracy {:.1} %",
            losses.mlm_loss,
            100.0 * losses.words_found,
            losses.sop_loss,
            100.0 * losses.orders_correct,
        );
        self.bar.suspend(|| notice(format_args!("{text}")));
        self.metrics.write(&ReportLine { step, losses, learning_rate })
    }

    /// The steps taken.
    fn finish(self) -> usize {
        self.bar.finish_and_clear();
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};

    type Train = Autodiff<Flex>;

    /// The gradient of a step computed at once equals the sum over its parts.
    #[test]
    fn the_gradients_of_the_parts_sum_to_that_of_the_step() {
        let device = Default::default();
        let json = tokenizer_json(1);
        let tokenizer =
            TextTokenizer::from_bytes(&json, "tokenizer.json", MAX_LENGTH).expect("read");
        let documents = Documents::new(text(1), 1, &tokenizer).take(10).expect("documents");
        let model =
            AlbertForPreTraining::<Train>::init(&config(tokenizer.vocab_size()), 1, &device);

        let words = documents.iter().map(|document| document.targets.len()).sum();
        let step = masked_batch(&batcher(&tokenizer), documents.clone(), &device);
        let (loss, expected) = forward(&model, step, words, 10);
        let grads = loss.backward();
        let expected_grad = model.predictions.dense.weight.grad(&grads).expect("a gradient");

        let (grads, losses) = gradients(&model, documents, &tokenizer, &device).expect("gradients");
        let id = model.predictions.dense.weight.id;
        let grad = grads.get::<Flex, 2>(id).expect("a gradient");
        grad.to_data().assert_approx_eq::<f32>(
            &expected_grad.to_data(),
            burn::tensor::Tolerance::rel_abs(1e-4, 1e-6),
        );
        assert!((losses.mlm_loss - expected.mlm_loss).abs() < 1e-5);
        assert!((losses.orders_correct - expected.orders_correct).abs() < 1e-12);
    }

    #[test]
    fn initial_attention_prefers_the_same_word_and_its_neighbours() {
        let config = config(100);
        let device = Default::default();
        let model =
            start(AlbertForPreTraining::<Train>::init(&config, 1, &device), &config, &device);
        let values = |tensor: Tensor<Train, 2>| tensor.into_data().to_vec::<f32>().expect("floats");
        for group in &model.encoder.layer_groups {
            let attention = &group.layers[0].attention;
            let halves = values(attention.query.weight.val() * 0.5);
            assert_eq!(values(attention.key.weight.val()), halves);
        }
        let positions = model.encoder.embeddings.position_embeddings.weight.val();
        #[expect(clippy::disallowed_methods, reason = "the view is only read")]
        let similarity = values(positions.clone().matmul(positions.transpose()));
        let of = |position: usize, other: usize| {
            similarity[position * config.max_position_embeddings + other]
        };
        for position in 0..100 {
            assert!(of(position, position) > of(position, position + 1));
            assert!(of(position, position + 1) > of(position, position + 2));
            assert!(
                (of(position, position + 1) - of(0, 1)).abs() < 1e-4,
                "the same for every position"
            );
        }
    }

    #[test]
    fn the_model_stays_within_two_megabytes() {
        let json = tokenizer_json(1);
        let tokenizer =
            TextTokenizer::from_bytes(&json, "tokenizer.json", MAX_LENGTH).expect("read");
        let config = config(tokenizer.vocab_size());
        config.validate().expect("a valid configuration");
        let model = AlbertForPreTraining::<Flex>::init(&config, 1, &Default::default());
        assert!(4 * model.num_params() < 2_000_000, "{} parameters", model.num_params());
    }
}
