//! Fine-tune with burn-train's Learner: parameter groups, a schedule, and clipping by the global norm inside the training
//! step.
//!
//! ```text
//! cargo run --release -p adamw-l2sp --example learner
//! ```
//!
//! On a terminal the Learner draws its dashboard, elsewhere it prints a line per batch. Two directions are hidden in the
//! input space. The source task asks on which side of either an input lies: four classes, 1024 examples. The target
//! task asks whether both sides are the same, and has 48 examples.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::path::Path;

use adamw_l2sp::{
    AdamWL2SPConfig, AdamWL2SPOptimizer, Anchors, Groups, ScheduleConfig, clip_grad_norm,
};
use burn::backend::{Autodiff, Flex};
use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::AutodiffModule;
use burn::nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig};
use burn::optim::{GradientsParams, Optimizer};
use burn::prelude::*;
use burn::tensor::Distribution;
use burn::tensor::backend::AutodiffBackend;
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{
    ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
};

type B = Autodiff<Flex>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const INPUTS: usize = 16;
const BATCH: usize = 16;
const EPOCHS: usize = 40;

fn main() -> Result<()> {
    let device = Default::default();
    let folder = tempfile::tempdir()?;

    // Pretrain. Without a rule every parameter is novel: plain AdamW.
    B::seed(&device, 2);
    let source = Task { train: quadrants(1, 1024), test: quadrants(2, 256) };
    let pretrained = Classifier::<B>::new(4, &device);
    let pretrained = source.learn(pretrained, Groups::new(), 0.0, 5, folder.path())?;

    // Fine-tune: everything but the head is source, pulled back to its pretrained value.
    let target = Task { train: agreements(3, 48), test: agreements(4, 1024) };
    let head = LinearConfig::new(32, 2).init(&device);
    let start = Classifier { encoder: pretrained.encoder.clone(), head };
    let groups = Groups::source_in(&pretrained.valid()).novel("head").biases_and_norms_undecayed();
    let tuned = target.learn(start.clone(), groups, 10.0, EPOCHS, folder.path())?;

    let (before, after) = (target.accuracy(&start), target.accuracy(&tuned));
    println!("target task: accuracy {before:.3} before fine-tuning, {after:.3} after it");
    let anchors = Anchors::from_module(&pretrained.valid());
    let anchors = anchors.filter(|path| path.starts_with("encoder"));
    println!("{:.3} from the source", anchors.squared_distance(&tuned).into_scalar().sqrt());
    if after < before + 0.15 {
        return Err("fine-tuning did not learn the target task".into());
    }
    Ok(())
}

#[derive(Module, Debug)]
struct Classifier<B: Backend> {
    encoder: [Linear<B>; 2],
    head: Linear<B>,
}

impl<B: Backend> Classifier<B> {
    fn new(classes: usize, device: &B::Device) -> Self {
        Self {
            encoder: [INPUTS, 32].map(|inputs| LinearConfig::new(inputs, 32).init(device)),
            head: LinearConfig::new(32, classes).init(device),
        }
    }

    /// `[batch, INPUTS]` to logits `[batch, classes]`.
    fn forward(&self, inputs: Tensor<B, 2>) -> Tensor<B, 2> {
        let hidden = self.encoder.iter().fold(inputs, |x, layer| layer.forward(x).tanh());
        self.head.forward(hidden)
    }

    fn classify(&self, batch: Batch<B>) -> ClassificationOutput<B> {
        let output = self.forward(batch.inputs);
        let loss = CrossEntropyLossConfig::new().init(&output.device());
        let loss = loss.forward(output.clone(), batch.classes.clone());
        ClassificationOutput::new(loss, output, batch.classes)
    }
}

impl<B: AutodiffBackend> TrainStep for Classifier<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B>;

    fn step(&self, batch: Batch<B>) -> TrainOutput<ClassificationOutput<B>> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }

    /// The Learner has the gradients of all parameters here, before the optimizer's step.
    fn optimize<AB, O>(self, optimizer: &mut O, lr: f64, mut grads: GradientsParams) -> Self
    where
        AB: AutodiffBackend,
        O: Optimizer<Self, AB>,
        Self: AutodiffModule<AB>,
    {
        clip_grad_norm(&mut grads, &self, 1.0);
        optimizer.step(lr, self, grads)
    }
}

impl<B: Backend> InferenceStep for Classifier<B> {
    type Input = Batch<B>;
    type Output = ClassificationOutput<B>;

    fn step(&self, batch: Batch<B>) -> ClassificationOutput<B> {
        self.classify(batch)
    }
}

/// An input and its class.
#[derive(Clone, Debug)]
struct Example {
    inputs: Vec<f32>,
    class: i64,
}

/// Inputs `[batch, INPUTS]` and their classes `[batch]`.
#[derive(Clone, Debug)]
struct Batch<B: Backend> {
    inputs: Tensor<B, 2>,
    classes: Tensor<B, 1, Int>,
}

#[derive(Clone)]
struct Stack;

impl<B: Backend> Batcher<B, Example, Batch<B>> for Stack {
    fn batch(&self, examples: Vec<Example>, device: &B::Device) -> Batch<B> {
        let classes: Vec<i64> = examples.iter().map(|example| example.class).collect();
        let inputs: Vec<f32> = examples.into_iter().flat_map(|example| example.inputs).collect();
        let shape = [classes.len(), INPUTS];
        Batch {
            inputs: Tensor::from_data(TensorData::new(inputs, shape), device),
            classes: Tensor::from_data(&classes[..], device),
        }
    }
}

struct Task {
    train: Vec<Example>,
    test: Vec<Example>,
}

impl Task {
    /// `model` after some epochs of training on this task.
    fn learn(
        &self,
        model: Classifier<B>,
        groups: Groups<Flex>,
        source_decay: f64,
        epochs: usize,
        folder: &Path,
    ) -> Result<Classifier<B>> {
        let steps = epochs * self.train.len().div_ceil(BATCH);
        let warmup = ScheduleConfig::warmup_steps_for(0.1, steps);
        let schedule = ScheduleConfig::new(1e-2, warmup, steps).init()?;
        let optimizer: AdamWL2SPOptimizer<B> =
            AdamWL2SPConfig::new().with_source_decay(source_decay).init(&model, groups)?;

        let train = DataLoaderBuilder::<B, _, _>::new(Stack).batch_size(BATCH).shuffle(5);
        let test = DataLoaderBuilder::<Flex, _, _>::new(Stack).batch_size(self.test.len());
        let training = SupervisedTraining::new(
            folder,
            train.build(InMemDataset::new(self.train.clone())),
            test.build(InMemDataset::new(self.test.clone())),
        )
        .metrics((AccuracyMetric::<Flex>::new(), LossMetric::<Flex>::new()))
        .with_application_logger(None)
        .num_epochs(epochs);
        let result = training.launch(Learner::new(model, optimizer, schedule));
        Ok(AutodiffModule::<B>::from_inner(result.model))
    }

    fn accuracy(&self, model: &Classifier<B>) -> f32 {
        let batch: Batch<Flex> = Stack.batch(self.test.clone(), &Default::default());
        let predicted = model.valid().forward(batch.inputs).argmax(1).squeeze_dim(1);
        predicted.equal(batch.classes).float().mean().into_scalar()
    }
}

/// Classes 0 to 3: one bit for the side of each direction.
fn quadrants(seed: u64, n: usize) -> Vec<Example> {
    examples(seed, n, |sides| sides[0] + 2 * sides[1])
}

/// Class 1 where the sides differ.
fn agreements(seed: u64, n: usize) -> Vec<Example> {
    examples(seed, n, |sides| i64::from(sides[0] != sides[1]))
}

/// Normally distributed inputs; their class depends on which side, 0 or 1, of either direction they lie.
fn examples(seed: u64, n: usize, class: impl Fn([i64; 2]) -> i64) -> Vec<Example> {
    let normal = |seed, rows| {
        let device = Default::default();
        Flex::seed(&device, seed);
        let shape = [rows, INPUTS];
        let values = Tensor::<Flex, 2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let values: Vec<f32> = values.into_data().iter().collect();
        values.chunks(INPUTS).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    let directions = normal(0, 2);
    let side = |inputs: &[f32], direction: usize| {
        let along: f32 = inputs.iter().zip(&directions[direction]).map(|(x, d)| x * d).sum();
        i64::from(along > 0.0)
    };
    let example = |inputs: Vec<f32>| {
        let class = class([side(&inputs, 0), side(&inputs, 1)]);
        Example { inputs, class }
    };
    normal(seed, n).into_iter().map(example).collect()
}
