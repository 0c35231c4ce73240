//! Fine-tune a small convolutional net with AdamWL2SP, its parameter groups named by a regular
//! expression and its anchors read from the pretrained file.
//!
//! ```text
//! cargo run --release -p adamw-l2sp --example convnet
//! ```
//!
//! The source task is to classify strokes by their direction, four classes, in 1024 noisy pictures.
//! The target task is to tell `+` from `×`, with 16 pictures.

#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::ops::Range;

use adamw_l2sp::{
    AdamWL2SPConfig, AdamWL2SPOptimizer, Anchors, Groups, Schedule, ScheduleConfig, ScheduleKind,
    clip_grad_norm,
};
use burn::backend::{Autodiff, Flex};
use burn::lr_scheduler::LrScheduler;
use burn::module::AutodiffModule;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, loss::CrossEntropyLossConfig};
use burn::optim::{GradientsParams, Optimizer};
use burn::prelude::*;
use burn::record::{BinFileRecorder, FullPrecisionSettings, Recorder};
use burn::tensor::Distribution;
use burn::tensor::activation::relu;
use burn_store::{ModuleSnapshot, SafetensorsStore};

type B = Autodiff<Flex>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SIZE: usize = 12;
const BATCH: usize = 32;
const STEPS: usize = 60;

/// Figures: strokes through the centre, each given by its (down, right) direction.
const STROKES: [&[[i32; 2]]; 4] = [&[[0, 1]], &[[1, 0]], &[[1, 1]], &[[1, -1]]];
const CROSSES: [&[[i32; 2]]; 2] = [&[[0, 1], [1, 0]], &[[1, 1], [1, -1]]];

fn main() -> Result<()> {
    let device = Default::default();
    let folder = tempfile::tempdir()?;
    let pretrained = folder.path().join("pretrained.safetensors");
    let checkpoint = folder.path().join("checkpoint");

    // Pretrain with plain AdamW and publish the body without its head; `valid()` brings its running
    // statistics up to date.
    let source = Task::new(1, 1024, &STROKES)?;
    B::seed(&device, 2);
    let run = Run::new(Net::new(4, &device), Groups::new(), 0.0, 160)?.train(&source, 0..160);
    let mut body = SafetensorsStore::from_file(&pretrained).with_regex(r"^body\.");
    run.model.valid().save_into(&mut body)?;
    println!("source task: accuracy {:.3}", run.accuracy(&source));

    // The model to fine-tune: the pretrained body under a new head. Built separately for each run,
    // because clones of a `BatchNorm` share their running statistics.
    let (train, test) = (Task::new(3, 16, &CROSSES)?, Task::new(4, 512, &CROSSES)?);
    let model = || -> Result<Net<B>> {
        B::seed(&device, 5);
        let mut model = Net::new(2, &device);
        model.load_from(&mut SafetensorsStore::from_file(&pretrained).allow_partial(true))?;
        Ok(model)
    };
    let original = model()?;

    // The anchors are the file's values, and the model has to start from them. A step pulls by
    // learning rate times decay, so a run of few steps needs a large decay.
    let anchors = Anchors::from_safetensors(&pretrained, &original.valid())?;
    let groups = || Groups::new().source_matching(r"^body\.").biases_and_norms_undecayed();
    let anchored = || groups().anchored_at(anchors.clone()).anchors_must_equal_model();
    let free = Run::new(model()?, anchored(), 0.0, STEPS)?;
    let before = free.accuracy(&test);
    let free = free.train(&train, 0..STEPS);
    let halfway = Run::new(model()?, anchored(), 10.0, STEPS)?.train(&train, 0..STEPS / 2);

    // Save this run halfway: one full-precision record of model, optimizer and schedule.
    let recorder = BinFileRecorder::<FullPrecisionSettings>::default();
    let optimizer = Optimizer::<Net<B>, B>::to_record(&halfway.optimizer);
    let schedule = halfway.schedule.to_record::<B>();
    let state = (halfway.model.clone().into_record(), optimizer, schedule);
    Recorder::<B>::record(&recorder, state, checkpoint.clone())?;

    let pulled = halfway.train(&train, STEPS / 2..STEPS);
    println!("target task: accuracy {before:.3} before fine-tuning");
    for (decay, run) in [("without", &free), ("with", &pulled)] {
        let (accuracy, distance) = (run.accuracy(&test), run.distance());
        println!("{decay:>7} source decay: accuracy {accuracy:.3}, {distance:.3} from the source");
    }
    if pulled.accuracy(&test) < before + 0.15 {
        return Err("fine-tuning did not learn the target task".into());
    }
    if pulled.distance() > 0.8 * free.distance() {
        return Err("source decay did not keep the weights near the source".into());
    }

    // Resume: build everything afresh, then load it. The pretrained file is no longer needed: its
    // values are in the optimizer's record.
    std::fs::remove_file(&pretrained)?;
    let fresh = Run::new(Net::new(2, &device), groups(), 10.0, STEPS)?;
    let (model, optimizer, schedule) = Recorder::<B>::load(&recorder, checkpoint, &device)?;
    let resumed = Run {
        model: fresh.model.load_record(model),
        optimizer: Optimizer::<Net<B>, B>::load_record(fresh.optimizer, optimizer),
        schedule: fresh.schedule.load_record::<B>(schedule),
    };
    let resumed = resumed.train(&train, STEPS / 2..STEPS);

    if values(&resumed.model)? != values(&pulled.model)? {
        return Err("the resumed run ended with other weights".into());
    }
    let kept = resumed.optimizer.anchors(&resumed.model);
    if !kept.names().eq(anchors.names()) || kept.squared_distance(&original).into_scalar() != 0.0 {
        return Err("the resumed run is pulled to other anchors".into());
    }
    println!("resumed run is identical, its anchors are the pretrained weights");
    Ok(())
}

#[derive(Module, Debug)]
struct Net<B: Backend> {
    body: Body<B>,
    head: Linear<B>,
}

#[derive(Module, Debug)]
struct Body<B: Backend> {
    conv_1: Conv2d<B>,
    norm_1: BatchNorm<B>,
    conv_2: Conv2d<B>,
    norm_2: BatchNorm<B>,
}

impl<B: Backend> Net<B> {
    fn new(classes: usize, device: &B::Device) -> Self {
        let body = Body {
            conv_1: Conv2dConfig::new([1, 8], [3, 3]).init(device),
            norm_1: BatchNormConfig::new(8).init(device),
            conv_2: Conv2dConfig::new([8, 16], [3, 3]).with_stride([2, 2]).init(device),
            norm_2: BatchNormConfig::new(16).init(device),
        };
        Self { body, head: LinearConfig::new(16, classes).init(device) }
    }

    /// `[batch, 1, SIZE, SIZE]` to logits `[batch, classes]`.
    fn forward(&self, pictures: Tensor<B, 4>) -> Tensor<B, 2> {
        let body = &self.body;
        let hidden = relu(body.norm_1.forward(body.conv_1.forward(pictures)));
        let hidden = relu(body.norm_2.forward(body.conv_2.forward(hidden)));
        // The mean over the picture: where the figure is does not matter.
        self.head.forward(hidden.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2))
    }
}

/// A training run: everything that a checkpoint must hold.
struct Run {
    model: Net<B>,
    optimizer: AdamWL2SPOptimizer<B>,
    schedule: Schedule,
}

impl Run {
    fn new(model: Net<B>, groups: Groups<Flex>, source_decay: f64, steps: usize) -> Result<Self> {
        let warmup = ScheduleConfig::warmup_steps_for(0.1, steps);
        let schedule = ScheduleConfig::new(1e-2, warmup, steps).with_kind(ScheduleKind::Cosine);
        let config = AdamWL2SPConfig::new().with_source_decay(source_decay);
        let optimizer = config.init(&model, groups)?;
        Ok(Self { optimizer, schedule: schedule.init()?, model })
    }

    fn train(mut self, task: &Task, steps: Range<usize>) -> Self {
        for step in steps {
            let (pictures, labels) = task.batch(step);
            let logits = self.model.forward(pictures);
            let loss = CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels);
            let mut grads = GradientsParams::from_grads(loss.backward(), &self.model);
            clip_grad_norm(&mut grads, &self.model, 1.0);
            self.model = self.optimizer.step(self.schedule.step(), self.model, grads);
        }
        self
    }

    fn accuracy(&self, task: &Task) -> f32 {
        let predicted = self.model.valid().forward(task.pictures.clone().inner()).argmax(1);
        let right = predicted.squeeze_dim(1).equal(task.labels.clone().inner());
        right.float().mean().into_scalar()
    }

    /// ‖θ − θ⁰‖ over the source parameters, without the batch statistics, which no optimizer moves.
    fn distance(&self) -> f32 {
        let anchors = self.optimizer.anchors(&self.model);
        let weights = anchors.filter(|path| !path.contains("running_"));
        weights.squared_distance(&self.model).into_scalar().sqrt()
    }
}

/// Pictures `[n, 1, SIZE, SIZE]` and their classes `[n]`.
struct Task {
    pictures: Tensor<B, 4>,
    labels: Tensor<B, 1, Int>,
}

impl Task {
    /// `n` pictures of one figure each, somewhere in noise; the figure is the class.
    fn new(seed: u64, n: usize, figures: &[&[[i32; 2]]]) -> Result<Self> {
        let device = Default::default();
        B::seed(&device, seed);
        let noise =
            Tensor::<B, 3>::random([n, SIZE, SIZE], Distribution::Normal(0.0, 0.5), &device);
        let centres = Tensor::<B, 2>::random([n, 2], Distribution::Uniform(3.0, 9.0), &device);
        let mut pixels = noise.into_data().to_vec::<f32>()?;
        let centres = centres.int().into_data().convert::<i32>().to_vec::<i32>()?;

        let classes: Vec<usize> = (0..n).map(|picture| picture % figures.len()).collect();
        for (picture, class) in classes.iter().enumerate() {
            for [down, right] in figures[*class] {
                for along in -3..3 {
                    let row = (centres[2 * picture] + along * down) as usize;
                    let column = (centres[2 * picture + 1] + along * right) as usize;
                    pixels[(picture * SIZE + row) * SIZE + column] += 1.0;
                }
            }
        }
        let classes: Vec<i32> = classes.iter().map(|class| *class as i32).collect();
        let pictures = TensorData::new(pixels, [n, 1, SIZE, SIZE]);
        Ok(Self {
            pictures: Tensor::from_data(pictures, &device),
            labels: Tensor::from_ints(classes.as_slice(), &device),
        })
    }

    /// The batch of a step depends on the step alone, so that a resumed run sees the same batches.
    fn batch(&self, step: usize) -> (Tensor<B, 4>, Tensor<B, 1, Int>) {
        let n = self.labels.dims()[0];
        let size = BATCH.min(n);
        let start = step * size % n;
        let labels = self.labels.clone().narrow(0, start, size);
        (self.pictures.clone().narrow(0, start, size), labels)
    }
}

/// All values of the model, to compare bit for bit.
fn values(model: &Net<B>) -> Result<Vec<TensorData>> {
    let snapshots = model.valid().collect(None, None, false);
    Ok(snapshots
        .iter()
        .map(|snapshot| snapshot.to_data())
        .collect::<std::result::Result<_, _>>()?)
}
