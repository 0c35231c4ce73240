//! Does a piece of work for each line of standard input, and says how many seconds it took.
//!
//! A line is a batch as JSON: `input_ids`, `attention_mask`, `token_type_ids` (rows of one length) and `labels`. The
//! twin of `pytorch.py`, so that `compare.py` can have the two take turns.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use adamw_l2sp::{AdamWL2SPConfig, AdamWL2SPOptimizer, Groups, clip_grad_norm};
use albert::{AlbertConfig, AlbertForSequenceClassification, AlbertInput, cross_entropy};
use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{ElementConversion, Int, Tensor};
use clap::{Parser, ValueEnum};
use serde::Deserialize;

#[global_allocator]
static ALLOCATOR: bin::memory::Allocator = bin::memory::Allocator;

type Train = Autodiff<Flex>;
type Model = AlbertForSequenceClassification<Train>;

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    /// Loss, gradients, clipping and the optimizer's step.
    Train,
    /// Loss and logits.
    Evaluate,
    /// The optimizer's step alone, the mean of ten in a row, on the clipped gradients of the first line's batch.
    Optimizer,
}

/// Steps of the optimizer a line.
const STEPS: u32 = 10;

#[derive(Parser)]
struct Args {
    work: Work,
    /// A folder with an ALBERT.
    model: PathBuf,
}

#[derive(Deserialize)]
struct Batch {
    input_ids: Vec<Vec<i64>>,
    attention_mask: Vec<Vec<i64>>,
    token_type_ids: Vec<Vec<i64>>,
    labels: Vec<i64>,
}

fn matrix<B: Backend>(rows: &[Vec<i64>]) -> Tensor<B, 2, Int> {
    let flat = rows.concat();
    Tensor::<B, 1, Int>::from_ints(flat.as_slice(), &Default::default())
        .reshape([rows.len(), rows[0].len()])
}

impl Batch {
    fn tensors<B: Backend>(&self) -> (AlbertInput<B>, Tensor<B, 1, Int>) {
        let input = AlbertInput {
            input_ids: matrix(&self.input_ids),
            attention_mask: matrix(&self.attention_mask),
            token_type_ids: matrix(&self.token_type_ids),
        };
        (input, Tensor::from_ints(self.labels.as_slice(), &Default::default()))
    }
}

/// The loss, read by the host, and the gradients.
fn gradients(model: &Model, batch: &Batch) -> (f64, GradientsParams) {
    let (input, labels) = batch.tensors();
    let loss = cross_entropy(model.forward(&input), labels);
    let value = loss.clone().into_scalar().elem();
    (value, GradientsParams::from_grads(loss.backward(), model))
}

fn optimizer(model: &Model) -> Result<AdamWL2SPOptimizer<Train>, adamw_l2sp::OptimizerError> {
    let groups = Groups::new().source("albert").biases_and_norms_undecayed();
    AdamWL2SPConfig::new().with_epsilon(1e-6).with_source_decay(0.5).init(model, groups)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    bin::memory::keep_pages();
    let args = Args::parse();
    let config = AlbertConfig::from_folder(&args.model)?;
    let device = Default::default();
    let (mut model, _) = Model::from_pretrained(&args.model, &config, 0, &device)?;
    let mut optimizer = optimizer(&model)?;
    let mut kept: Option<(f64, GradientsParams)> = None;
    for line in std::io::stdin().lock().lines() {
        let batch: Batch = serde_json::from_str(&line?)?;
        let (seconds, loss) = match args.work {
            Work::Train => {
                let start = Instant::now();
                let (loss, mut grads) = gradients(&model, &batch);
                let norm: f64 = clip_grad_norm(&mut grads, &model, 1.0).into_scalar().elem();
                model = optimizer.step(2e-5, model, grads);
                assert!(norm.is_finite());
                (start.elapsed(), loss)
            }
            Work::Evaluate => {
                let valid = model.valid();
                let start = Instant::now();
                let (input, labels) = batch.tensors();
                let loss: f64 = cross_entropy(valid.forward(&input), labels).into_scalar().elem();
                (start.elapsed(), loss)
            }
            Work::Optimizer => {
                let (loss, grads) = match kept.take() {
                    Some(kept) => kept,
                    None => {
                        let (loss, mut grads) = gradients(&model, &batch);
                        clip_grad_norm(&mut grads, &model, 1.0);
                        (loss, grads)
                    }
                };
                let mut took = Duration::ZERO;
                for _ in 0..STEPS {
                    let mut again = GradientsParams::new();
                    burn::module::Module::visit(&model, &mut Copy { from: &grads, to: &mut again });
                    let start = Instant::now();
                    model = optimizer.step(2e-5, model, again);
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

/// Gives the same gradients again.
struct Copy<'a> {
    from: &'a GradientsParams,
    to: &'a mut GradientsParams,
}

impl burn::module::ModuleVisitor<Train> for Copy<'_> {
    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<Train, D>>) {
        if let Some(gradient) = self.from.get::<Flex, D>(param.id) {
            self.to.register(param.id, gradient);
        }
    }
}
