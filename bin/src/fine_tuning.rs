//! The model as burn-train's Learner sees it: a training step, a validation step.

use std::sync::Arc;

use adamw_l2sp::{grad_norm, scale_grads};
use albert::{EncoderInput, Precision, SequenceClassifier, cross_entropy};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Int, Tensor};
use burn::train::metric::{Adaptor, ItemLazy};
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use rte::RteBatch;

use crate::journal::{Journal, Score, Slot};

/// ALBERT's classifier, being fine-tuned.
#[derive(Module, Debug)]
pub struct FineTuning<B: Backend> {
    /// What is fine-tuned.
    pub model: SequenceClassifier<B>,
    #[module(skip)]
    journal: Arc<Journal>,
    #[module(skip)]
    seed: u64,
    #[module(skip)]
    precision: Precision,
}

impl<B: Backend> FineTuning<B> {
    /// `model`, whose steps go into `journal`, draw their dropout from `seed` and are computed in `precision`.
    pub fn new(
        model: SequenceClassifier<B>,
        journal: Arc<Journal>,
        seed: u64,
        precision: Precision,
    ) -> Self {
        Self { model, journal, seed, precision }
    }
}

/// What the model reads of a batch.
pub fn input<B: Backend>(batch: RteBatch<B>) -> EncoderInput<B> {
    EncoderInput {
        input_ids: batch.input_ids,
        attention_mask: batch.attention_mask,
        token_type_ids: batch.token_type_ids,
    }
}

/// What the model reads of a batch, and the labels; nothing for a batch without labels.
pub fn labelled<B: Backend>(
    mut batch: RteBatch<B>,
) -> Option<(EncoderInput<B>, Tensor<B, 1, Int>)> {
    let labels = batch.labels.take()?;
    Some((input(batch), labels))
}

/// How many of the largest `logits` `[batch, labels]` are at the true `labels` `[batch]`.
pub fn count_correct<B: Backend>(logits: Tensor<B, 2>, labels: Tensor<B, 1, Int>) -> usize {
    let right = logits.argmax(1).squeeze_dim::<1>(1).equal(labels);
    right.int().sum().into_scalar().elem::<i64>() as usize
}

/// What the dashboard gets to see of a step.
pub struct StepOutput(pub Slot);

impl ItemLazy for StepOutput {
    type ItemSync = Self;

    fn sync(self) -> Self {
        self
    }
}

impl Adaptor<Slot> for StepOutput {
    fn adapt(&self) -> Slot {
        self.0.clone()
    }
}

/// The seed of a step's dropout: another one for each step, and for the same step of runs with neighbouring seeds.
fn step_seed(seed: u64, step: usize) -> u64 {
    // An odd number, so that no two steps share their seed; 2⁶⁴ over the golden ratio, so that they lie far apart.
    seed ^ (step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What a loss in fp16 is multiplied with before its backward pass, so that small gradients do not vanish.
///
/// At this scale a gradient of a parameter may be as large as 16 and one of a hidden state as small as 1e-8. Each step
/// begins with it, so that a step depends on nothing but the weights and the batch.
const LOSS_SCALE: f64 = 4096.0;

impl<B: AutodiffBackend> FineTuning<B> {
    /// The gradient of the mean loss over all examples of a step's batches: the same as of one large batch, however it is
    /// cut. It is computed from the loss times `loss_scale`, and divided by it again.
    fn gradients(&self, batches: Vec<RteBatch<B>>, loss_scale: f64) -> (GradientsParams, Score) {
        if let Some(batch) = batches.first() {
            // The dropout of a step depends on nothing but the seed and the step's number.
            let seed = step_seed(self.seed, self.journal.step());
            B::seed(&batch.input_ids.device(), seed);
        }
        let model = self.model.in_precision(self.precision);
        let examples: usize = batches.iter().map(|batch| batch.idx.len()).sum();
        let mut score = Score { examples, ..Score::default() };
        let mut accumulator = GradientsAccumulator::new();
        for batch in batches {
            let share = batch.idx.len() as f64 / examples as f64;
            let Some((input, labels)) = labelled(batch) else { continue };
            let logits = model.forward(&input);
            score.correct += count_correct(logits.clone().inner(), labels.clone().inner());
            let loss = cross_entropy(logits, labels) * share;
            score.loss_sum += loss.clone().into_scalar().elem::<f64>() * examples as f64;
            let loss = if loss_scale == 1.0 { loss } else { loss * loss_scale };
            accumulator.accumulate(self, GradientsParams::from_grads(loss.backward(), self));
        }
        let mut grads = accumulator.grads();
        if loss_scale != 1.0 {
            scale_grads(&mut grads, self, 1.0 / loss_scale);
        }
        (grads, score)
    }

    /// The same in fp16, with the largest scale of the loss at which no gradient is too large for it.
    fn scaled_gradients(&self, batches: Vec<RteBatch<B>>) -> (GradientsParams, Score) {
        let mut loss_scale = LOSS_SCALE;
        loop {
            let (grads, score) = self.gradients(batches.clone(), loss_scale);
            let norm: f64 = grad_norm(&grads, self).into_scalar().elem();
            if norm.is_finite() || loss_scale <= 1.0 {
                return (grads, score);
            }
            loss_scale /= 2.0;
        }
    }
}

impl<B: AutodiffBackend> TrainStep for FineTuning<B> {
    type Input = Vec<RteBatch<B>>;
    type Output = StepOutput;

    fn step(&self, batches: Self::Input) -> TrainOutput<StepOutput> {
        let (grads, score) = match self.precision {
            Precision::Float16 => self.scaled_gradients(batches),
            _ => self.gradients(batches, 1.0),
        };
        TrainOutput { grads, item: StepOutput(self.journal.begin_step(score)) }
    }
}

impl<B: Backend> InferenceStep for FineTuning<B> {
    type Input = Vec<RteBatch<B>>;
    type Output = StepOutput;

    fn step(&self, batches: Self::Input) -> StepOutput {
        let mut score = Score::default();
        let model = self.model.in_precision(self.precision);
        for batch in batches {
            score.add(score_batch(&model, batch));
        }
        self.journal.evaluated(score);
        StepOutput(Slot { score, record: Arc::default() })
    }
}

/// The model's loss and right answers on a labelled batch.
pub fn score_batch<B: Backend>(model: &SequenceClassifier<B>, batch: RteBatch<B>) -> Score {
    let examples = batch.idx.len();
    let Some((input, labels)) = labelled(batch) else { return Score::default() };
    let logits = model.forward(&input);
    let loss: f64 = cross_entropy(logits.clone(), labels.clone()).into_scalar().elem();
    Score { loss_sum: loss * examples as f64, correct: count_correct(logits, labels), examples }
}
