//! Fine-tune a small MLP with AdamWL2SP, its parameter groups named by path.
//!
//! ```text
//! cargo run --release -p adamw-l2sp --example mlp
//! ```
//!
//! Two directions are hidden in the input space. The source task asks on which side of either an
//! input lies: four classes, 2048 examples. The target task asks whether both sides are the same,
//! and has 48 examples: too few to find the directions, but enough once they are known.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::ops::Range;

use adamw_l2sp::{
    AdamWL2SPConfig, AdamWL2SPOptimizer, Groups, Schedule, ScheduleConfig, clip_grad_norm,
};
use burn::backend::{Autodiff, Flex};
use burn::lr_scheduler::LrScheduler;
use burn::module::AutodiffModule;
use burn::nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig};
use burn::optim::{GradientsParams, Optimizer};
use burn::prelude::*;
use burn::record::{BinBytesRecorder, FullPrecisionSettings, Recorder};
use burn::tensor::Distribution;
use burn_store::{ModuleSnapshot, SafetensorsStore};

type B = Autodiff<Flex>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const INPUTS: usize = 16;
const STEPS: usize = 120;

fn main() -> Result<()> {
    let device = Default::default();
    let folder = tempfile::tempdir()?;
    let pretrained = folder.path().join("pretrained.safetensors");
    let checkpoint = folder.path().join("checkpoint.safetensors");

    // Pretrain. Without a rule every parameter is novel: plain AdamW.
    let source = Task::source(1, 2048);
    B::seed(&device, 2);
    let run = Run::new(Mlp::new(4, &device), Groups::new(), 0.0, 200)?.train(&source, 0..200);
    run.model.save_into(&mut SafetensorsStore::from_file(&pretrained))?;
    println!("source task: accuracy {:.3}", run.accuracy(&source));

    // The model to fine-tune: pretrained layers under a new head of two classes.
    let (train, test) = (Task::target(3, 48), Task::target(4, 1024));
    let mut model = Mlp::new(2, &device);
    let layers = SafetensorsStore::from_file(&pretrained).with_regex("^layer_");
    model.load_from(&mut layers.allow_partial(true))?;

    // Fine-tune without and with a pull back to the pretrained layers. A step pulls by learning
    // rate times decay, so a run of few steps needs a large decay.
    let groups = || Groups::new().source("layer_1").source("layer_2").biases_and_norms_undecayed();
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

    // Save the run halfway: the weights as safetensors, the rest as a full-precision record.
    halfway.model.save_into(&mut SafetensorsStore::from_file(&checkpoint))?;
    let optimizer = Optimizer::<Mlp<B>, B>::to_record(&halfway.optimizer);
    let recorder = BinBytesRecorder::<FullPrecisionSettings>::default();
    let state = (optimizer, halfway.schedule.to_record::<B>());
    let bytes = Recorder::<B>::record(&recorder, state, ())?;

    // Resume: build everything afresh, then load it. The anchors come with the optimizer's record.
    let mut model = Mlp::new(2, &device);
    model.load_from(&mut SafetensorsStore::from_file(&checkpoint))?;
    let fresh = Run::new(model, groups(), 10.0, STEPS)?;
    let (optimizer, schedule) = Recorder::<B>::load(&recorder, bytes, &device)?;
    let resumed = Run {
        model: fresh.model,
        optimizer: Optimizer::<Mlp<B>, B>::load_record(fresh.optimizer, optimizer),
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
struct Mlp<B: Backend> {
    layer_1: Linear<B>,
    layer_2: Linear<B>,
    head: Linear<B>,
}

impl<B: Backend> Mlp<B> {
    fn new(classes: usize, device: &B::Device) -> Self {
        Self {
            layer_1: LinearConfig::new(INPUTS, 32).init(device),
            layer_2: LinearConfig::new(32, 32).init(device),
            head: LinearConfig::new(32, classes).init(device),
        }
    }

    /// `[batch, INPUTS]` to logits `[batch, classes]`.
    fn forward(&self, inputs: Tensor<B, 2>) -> Tensor<B, 2> {
        let hidden = self.layer_2.forward(self.layer_1.forward(inputs).tanh()).tanh();
        self.head.forward(hidden)
    }
}

/// A training run: everything that a checkpoint must hold.
#[derive(Clone)]
struct Run {
    model: Mlp<B>,
    optimizer: AdamWL2SPOptimizer<B>,
    schedule: Schedule,
}

impl Run {
    fn new(model: Mlp<B>, groups: Groups<Flex>, source_decay: f64, steps: usize) -> Result<Self> {
        let warmup = ScheduleConfig::warmup_steps_for(0.1, steps);
        let config = AdamWL2SPConfig::new().with_source_decay(source_decay);
        Ok(Self {
            optimizer: config.init(&model, groups)?,
            schedule: ScheduleConfig::new(5e-3, warmup, steps).init()?,
            model,
        })
    }

    fn train(mut self, task: &Task, steps: Range<usize>) -> Self {
        for _ in steps {
            let logits = self.model.forward(task.inputs.clone());
            let loss = CrossEntropyLossConfig::new().init(&logits.device());
            let loss = loss.forward(logits, task.labels.clone());
            let mut grads = GradientsParams::from_grads(loss.backward(), &self.model);
            clip_grad_norm(&mut grads, &self.model, 1.0);
            self.model = self.optimizer.step(self.schedule.step(), self.model, grads);
        }
        self
    }

    fn accuracy(&self, task: &Task) -> f32 {
        let predicted = self.model.valid().forward(task.inputs.clone().inner()).argmax(1);
        let right = predicted.squeeze_dim(1).equal(task.labels.clone().inner());
        right.float().mean().into_scalar()
    }

    /// ‖θ − θ⁰‖ over the source parameters.
    fn distance(&self) -> f32 {
        let anchors = self.optimizer.anchors(&self.model);
        anchors.squared_distance(&self.model).into_scalar().sqrt()
    }
}

/// Inputs `[n, INPUTS]` and their classes `[n]`.
struct Task {
    inputs: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
}

impl Task {
    /// Classes 0 to 3: one bit for the side of each direction.
    fn source(seed: u64, n: usize) -> Self {
        let (inputs, first, second) = sides(seed, n);
        Self { inputs, labels: first + second * 2 }
    }

    /// Class 1 where the sides differ.
    fn target(seed: u64, n: usize) -> Self {
        let (inputs, first, second) = sides(seed, n);
        Self { inputs, labels: first.not_equal(second).int() }
    }
}

/// Normally distributed inputs, and on which side, 0 or 1, of either direction they lie.
fn sides(seed: u64, n: usize) -> (Tensor<B, 2>, Tensor<B, 1, Int>, Tensor<B, 1, Int>) {
    let device = Default::default();
    let normal = |seed, shape| {
        B::seed(&device, seed);
        Tensor::<B, 2>::random(shape, Distribution::Normal(0.0, 1.0), &device)
    };
    let directions = normal(0, [INPUTS, 2]);
    let inputs = normal(seed, [n, INPUTS]);
    let sides = inputs.clone().matmul(directions).greater_elem(0).int();
    (inputs, sides.clone().narrow(1, 0, 1).squeeze_dim(1), sides.narrow(1, 1, 1).squeeze_dim(1))
}

/// All values of the model, to compare bit for bit.
fn values(model: &Mlp<B>) -> Result<Vec<TensorData>> {
    let snapshots = model.collect(None, None, false);
    Ok(snapshots
        .iter()
        .map(|snapshot| snapshot.to_data())
        .collect::<std::result::Result<_, _>>()?)
}
