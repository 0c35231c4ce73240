//! Measures the seconds that a step takes for each line of standard input.
//!
//! A line is a batch as JSON: `input_ids`, `attention_mask`, `token_type_ids` (rows of one length) and `labels`. The
//! counterpart of `pytorch.py`; `compare.py` interleaves the two.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use adamw_l2sp::{AdamWL2SPConfig, AdamWL2SPOptimizer, Groups, clip_grad_norm};
use albert::{EncoderInput, ModelConfig, Precision, SequenceClassifier, cross_entropy};
use burn::module::AutodiffModule;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Int, Tensor};
use clap::{Parser, ValueEnum};
use l2sp::device::{self, DeviceName, PrecisionName, Work};
use l2sp::settings::precision;
use serde::Deserialize;

#[cfg(not(feature = "tch"))]
#[global_allocator]
static ALLOCATOR: l2sp::memory::Allocator = l2sp::memory::Allocator;

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Loss, gradients, clipping and the optimizer's step.
    Train,
    /// Loss and logits.
    Evaluate,
    /// The optimizer step alone, the mean of ten steps, on the clipped gradients of the batch in the first line.
    Optimizer,
}

/// Optimizer steps per line.
const STEPS: u32 = 10;

#[derive(Parser)]
struct Args {
    work: Kind,
    /// A folder with an ALBERT.
    model: PathBuf,
    /// Where to compute, as `l2sp devices` lists them.
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    #[arg(long, default_value = "fp32", value_parser = precision())]
    precision: PrecisionName,
}

#[derive(Deserialize)]
struct Batch {
    input_ids: Vec<Vec<i64>>,
    attention_mask: Vec<Vec<i64>>,
    token_type_ids: Vec<Vec<i64>>,
    labels: Vec<i64>,
}

fn matrix<B: Backend>(rows: &[Vec<i64>], device: &B::Device) -> Tensor<B, 2, Int> {
    let flat = rows.concat();
    Tensor::<B, 1, Int>::from_ints(flat.as_slice(), device).reshape([rows.len(), rows[0].len()])
}

impl Batch {
    fn tensors<B: Backend>(&self, device: &B::Device) -> (EncoderInput<B>, Tensor<B, 1, Int>) {
        let input = EncoderInput {
            input_ids: matrix(&self.input_ids, device),
            attention_mask: matrix(&self.attention_mask, device),
            token_type_ids: matrix(&self.token_type_ids, device),
        };
        (input, Tensor::from_ints(self.labels.as_slice(), device))
    }
}

/// The loss, read by the host, and the gradients.
fn gradients<B: AutodiffBackend>(
    model: &SequenceClassifier<B>,
    precision: Precision,
    batch: &Batch,
    device: &B::Device,
) -> (f64, GradientsParams) {
    let (input, labels) = batch.tensors(device);
    let loss = cross_entropy(model.in_precision(precision).forward(&input), labels);
    let grads = GradientsParams::from_grads(loss.backward(), model);
    device::compute_recorded();
    (loss.into_scalar().elem(), grads)
}

fn optimizer<B: AutodiffBackend>(
    model: &SequenceClassifier<B>,
) -> Result<AdamWL2SPOptimizer<B>, adamw_l2sp::OptimizerError> {
    let groups = Groups::new().source("encoder").biases_and_norms_undecayed();
    AdamWL2SPConfig::new().with_epsilon(1e-6).with_source_decay(0.5).init(model, groups)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    l2sp::memory::keep_pages();
    let mut args = Args::parse();
    let found = device::choose(Some(args.device), args.precision.required())?;
    args.precision = args.precision.on(&[found]).into();
    device::run(args.device, &args)?
}

impl Work for &Args {
    type Output = Result<(), Box<dyn std::error::Error>>;

    fn on<B: AutodiffBackend>(self, device: B::Device) -> Self::Output {
        time::<B>(self, &device)
    }
}

fn time<B: AutodiffBackend>(
    args: &Args,
    device: &B::Device,
) -> Result<(), Box<dyn std::error::Error>> {
    let config = ModelConfig::from_folder(&args.model)?;
    let (mut model, _) = SequenceClassifier::<B>::from_pretrained(&args.model, &config, 0, device)?;
    let mut optimizer = optimizer(&model)?;
    let mut kept: Option<(f64, GradientsParams)> = None;
    for line in std::io::stdin().lock().lines() {
        let batch: Batch = serde_json::from_str(&line?)?;
        let (seconds, loss) = match args.work {
            Kind::Train => {
                let start = Instant::now();
                let (loss, mut grads) =
                    gradients(&model, args.precision.required(), &batch, device);
                let norm = clip_grad_norm(&mut grads, &model, 1.0);
                device::compute_recorded();
                let norm: f64 = norm.into_scalar().elem();
                assert!(norm.is_finite());
                model = optimizer.step(2e-5, model, grads);
                device::finish::<B>(device)?;
                (start.elapsed(), loss)
            }
            Kind::Evaluate => {
                let valid = model.valid().in_precision(args.precision.required());
                let start = Instant::now();
                let (input, labels) = batch.tensors(device);
                let loss = cross_entropy(valid.forward(&input), labels);
                device::compute_recorded();
                let loss: f64 = loss.into_scalar().elem();
                (start.elapsed(), loss)
            }
            Kind::Optimizer => {
                let (loss, grads) = match kept.take() {
                    Some(kept) => kept,
                    None => {
                        let (loss, mut grads) =
                            gradients(&model, args.precision.required(), &batch, device);
                        clip_grad_norm(&mut grads, &model, 1.0);
                        (loss, grads)
                    }
                };
                let mut took = Duration::ZERO;
                for _ in 0..STEPS {
                    let mut again = GradientsParams::new();
                    burn::module::Module::visit(&model, &mut Copy { from: &grads, to: &mut again });
                    device::finish::<B>(device)?;
                    let start = Instant::now();
                    model = optimizer.step(2e-5, model, again);
                    device::finish::<B>(device)?;
                    took += start.elapsed();
                }
                kept = Some((loss, grads));
                (took / STEPS, loss)
            }
        };
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{} {loss}", seconds.as_secs_f64())?;
        stdout.flush()?;
    }
    Ok(())
}

/// Copies gradients, because a step consumes them.
struct Copy<'a> {
    from: &'a GradientsParams,
    to: &'a mut GradientsParams,
}

impl<B: AutodiffBackend> burn::module::ModuleVisitor<B> for Copy<'_> {
    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<B, D>>) {
        if let Some(gradient) = self.from.get::<B::InnerBackend, D>(param.id) {
            self.to.register(param.id, gradient);
        }
    }
}
