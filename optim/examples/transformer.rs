//! Fine-tune a text classifier with AdamWL2SP: everything but the head is source, pulled back to its pretrained value.
//!
//! The model is that of the text-classification example of Burn: embeddings of tokens and of positions, a
//! `TransformerEncoder`, and a linear head on the first token.
//!
//! ```text
//! cargo run --release -p adamw-l2sp --example transformer
//! ```
//!
//! Every token has a hidden valence; a sentence has the sum of its tokens', and token 0 anywhere
//! flips its sign. The source task asks for the sign, with 4096 sentences. The target task is to tell
//! negative, neutral and positive sentences apart, with 96.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::ops::Range;

use adamw_l2sp::{
    AdamWL2SPConfig, AdamWL2SPOptimizer, Groups, Schedule, ScheduleConfig, clip_grad_norm,
};
use burn::backend::{Autodiff, Flex};
use burn::lr_scheduler::LrScheduler;
use burn::module::AutodiffModule;
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, loss::CrossEntropyLossConfig};
use burn::optim::{GradientsParams, Optimizer};
use burn::prelude::*;
use burn::record::{FullPrecisionSettings, NamedMpkFileRecorder, Recorder};
use burn::tensor::Distribution;
use burn_store::{ModuleSnapshot, SafetensorsStore};

type B = Autodiff<Flex>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const WIDTH: usize = 16;
const VOCABULARY: usize = 24;
const LENGTH: usize = 8;
const BATCH: usize = 32;
const STEPS: usize = 80;

fn main() -> Result<()> {
    let device = Default::default();
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);

    // Pretrain with plain AdamW. The file also holds the head of the source task, with its two classes.
    let source = Task::signs(1, 4096);
    B::seed(&device, 2);
    let model = Classifier::new(2, &device);
    let run = Run::new(model, Groups::new(), 0.0, 400)?.train(&source, 0..400);
    let pretrained = run.model.valid();
    pretrained.save_into(&mut SafetensorsStore::from_file(file("pretrained.safetensors")))?;
    println!("source task: accuracy {:.3}", run.accuracy(&source));

    // The model to fine-tune: everything but the head is loaded, the head is new.
    let (train, test) = (Task::moods(3, 96), Task::moods(4, 1024));
    let mut model = Classifier::new(3, &device);
    let weights = SafetensorsStore::from_file(file("pretrained.safetensors"));
    model.load_from(&mut weights.with_regex("^(embedding|transformer)").allow_partial(true))?;

    // Fine-tune without and with a pull back to the pretrained values. A step pulls by learning rate
    // times decay, so a run of few steps needs a large decay.
    let groups = || Groups::source_in(&pretrained).novel("output").biases_and_norms_undecayed();
    let start = Run::new(model, groups(), 10.0, STEPS)?;
    let halfway = start.clone().train(&train, 0..STEPS / 2);
    let pulled = halfway.clone().train(&train, STEPS / 2..STEPS);
    let free = Run::new(start.model.clone(), groups(), 0.0, STEPS)?.train(&train, 0..STEPS);
    println!("target task: accuracy {:.3} before fine-tuning", start.accuracy(&test));
    for (decay, run) in [("without", &free), ("with", &pulled)] {
        let (accuracy, distance) = (run.accuracy(&test), run.distance());
        println!("{decay:>7} source decay: accuracy {accuracy:.3}, {distance:.3} from the source");
    }
    if pulled.accuracy(&test) < start.accuracy(&test) + 0.15 {
        return Err("fine-tuning did not learn the target task".into());
    }
    if pulled.distance() > 0.8 * free.distance() {
        return Err("source decay did not keep the weights near the source".into());
    }

    // Save the run halfway, as Burn's own checkpoints do: a full-precision file for each part.
    let recorder = NamedMpkFileRecorder::<FullPrecisionSettings>::default();
    let optimizer = Optimizer::<Classifier<B>, B>::to_record(&halfway.optimizer);
    let schedule = halfway.schedule.to_record::<B>();
    halfway.model.save_file(file("model"), &recorder)?;
    Recorder::<B>::record(&recorder, optimizer, file("optimizer"))?;
    Recorder::<B>::record(&recorder, schedule, file("schedule"))?;

    // Resume: build everything afresh, then load it. Of the module that says what is source only the
    // names count: the anchors come with the optimizer's record.
    let names = Classifier::<Flex>::new(3, &device);
    let groups = Groups::source_in(&names).novel("output").biases_and_norms_undecayed();
    let fresh = Run::new(Classifier::new(3, &device), groups, 10.0, STEPS)?;
    let optimizer = Recorder::<B>::load(&recorder, file("optimizer"), &device)?;
    let schedule = Recorder::<B>::load(&recorder, file("schedule"), &device)?;
    let resumed = Run {
        model: fresh.model.load_file(file("model"), &recorder, &device)?,
        optimizer: Optimizer::<Classifier<B>, B>::load_record(fresh.optimizer, optimizer),
        schedule: fresh.schedule.load_record::<B>(schedule),
    };
    let resumed = resumed.train(&train, STEPS / 2..STEPS);

    if values(&resumed.model)? != values(&pulled.model)? {
        return Err("the resumed run ended with other weights".into());
    }
    let expected = pulled.optimizer.anchors(&pulled.model);
    let kept = resumed.optimizer.anchors(&resumed.model);
    if !kept.names().eq(expected.names())
        || kept.squared_distance(&start.model).into_scalar() != 0.0
    {
        return Err("the resumed run is pulled to other anchors".into());
    }
    println!("resumed run is identical, its anchors are the pretrained weights");
    Ok(())
}

#[derive(Module, Debug)]
struct Classifier<B: Backend> {
    embedding_token: Embedding<B>,
    embedding_pos: Embedding<B>,
    transformer: TransformerEncoder<B>,
    output: Linear<B>,
}

impl<B: Backend> Classifier<B> {
    fn new(classes: usize, device: &B::Device) -> Self {
        Self {
            embedding_token: EmbeddingConfig::new(VOCABULARY, WIDTH).init(device),
            embedding_pos: EmbeddingConfig::new(LENGTH, WIDTH).init(device),
            transformer: TransformerEncoderConfig::new(WIDTH, 2 * WIDTH, 4, 1).init(device),
            output: LinearConfig::new(WIDTH, classes).init(device),
        }
    }

    /// Tokens `[batch, LENGTH]` to logits `[batch, classes]`.
    fn forward(&self, tokens: Tensor<B, 2, Int>) -> Tensor<B, 2> {
        let [batch, length] = tokens.dims();
        let positions = Tensor::arange(0..length as i64, &tokens.device()).unsqueeze::<2>();
        let positions = self.embedding_pos.forward(positions);
        let embedded = (self.embedding_token.forward(tokens) + positions) / 2;
        let encoded = self.transformer.forward(TransformerEncoderInput::new(embedded));
        // The head sees the first token alone, which has attended to all others.
        self.output.forward(encoded.narrow(1, 0, 1).reshape([batch, WIDTH]))
    }
}

/// A training run: everything that a checkpoint must hold.
#[derive(Clone)]
struct Run {
    model: Classifier<B>,
    optimizer: AdamWL2SPOptimizer<B>,
    schedule: Schedule,
}

impl Run {
    fn new(
        model: Classifier<B>,
        groups: Groups<Flex>,
        source_decay: f64,
        steps: usize,
    ) -> Result<Self> {
        let warmup = ScheduleConfig::warmup_steps_for(0.1, steps);
        let schedule = ScheduleConfig::new(5e-3, warmup, steps).init()?;
        let config = AdamWL2SPConfig::new().with_source_decay(source_decay);
        Ok(Self { optimizer: config.init(&model, groups)?, schedule, model })
    }

    fn train(mut self, task: &Task, steps: Range<usize>) -> Self {
        for step in steps {
            // Batch and dropout depend on the step alone, so that a resumed run has the same ones.
            let (tokens, labels) = task.batch(step);
            B::seed(&tokens.device(), step as u64);
            let logits = self.model.forward(tokens);
            let loss = CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels);
            let mut grads = GradientsParams::from_grads(loss.backward(), &self.model);
            clip_grad_norm(&mut grads, &self.model, 1.0);
            self.model = self.optimizer.step(self.schedule.step(), self.model, grads);
        }
        self
    }

    fn accuracy(&self, task: &Task) -> f32 {
        let predicted = self.model.valid().forward(task.tokens.clone().inner()).argmax(1);
        let right = predicted.squeeze_dim(1).equal(task.labels.clone().inner());
        right.float().mean().into_scalar()
    }

    /// ‖θ − θ⁰‖ over the source parameters.
    fn distance(&self) -> f32 {
        let anchors = self.optimizer.anchors(&self.model);
        anchors.squared_distance(&self.model).into_scalar().sqrt()
    }
}

/// Tokens `[n, LENGTH]` and the classes `[n]` of their sentences.
struct Task {
    tokens: Tensor<B, 2, Int>,
    labels: Tensor<B, 1, Int>,
}

impl Task {
    /// Class 1 where the valence is positive.
    fn signs(seed: u64, n: usize) -> Self {
        let (tokens, valence) = sentences(seed, n);
        Self { tokens, labels: valence.greater_elem(0).int() }
    }

    /// Classes 0 to 2: valence below -2, up to 2, above.
    fn moods(seed: u64, n: usize) -> Self {
        let (tokens, valence) = sentences(seed, n);
        let labels = valence.clone().greater_elem(-3).int() + valence.greater_elem(2).int();
        Self { tokens, labels }
    }

    fn batch(&self, step: usize) -> (Tensor<B, 2, Int>, Tensor<B, 1, Int>) {
        let start = step * BATCH % self.labels.dims()[0];
        let labels = self.labels.clone().narrow(0, start, BATCH);
        (self.tokens.clone().narrow(0, start, BATCH), labels)
    }
}

/// Random sentences `[n, LENGTH]` and their valences `[n]`.
fn sentences(seed: u64, n: usize) -> (Tensor<B, 2, Int>, Tensor<B, 1, Int>) {
    let device = Default::default();
    B::seed(&device, seed);
    let uniform = Distribution::Uniform(0.0, VOCABULARY as f64);
    let tokens = Tensor::<B, 2>::random([n, LENGTH], uniform, &device).int();
    // -2 to 2, in an order that the token id does not reveal.
    let valences = (tokens.clone() * 7).remainder_scalar(5) - 2;
    let turned = tokens.clone().equal_elem(0).any_dim(1).int();
    let sums = valences.sum_dim(1) * (turned * -2 + 1);
    (tokens, sums.squeeze_dim(1))
}

/// All values of the model, to compare bit for bit.
fn values(model: &Classifier<B>) -> Result<Vec<TensorData>> {
    let snapshots = model.collect(None, None, false);
    Ok(snapshots
        .iter()
        .map(|snapshot| snapshot.to_data())
        .collect::<std::result::Result<_, _>>()?)
}
