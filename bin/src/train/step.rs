//! One optimizer step, in the order in which it happens: forward, loss, backward, clip, update.

use std::fmt::{self, Display, Formatter};

use adamw_l2sp::{AdamWL2SPOptimizer, Anchors, Schedule, clip_grad_norm, grad_norm, scale_grads};
use albert::{EncoderInput, Precision, SequenceClassifier, cross_entropies};
use burn::module::{AutodiffModule, Module};
use burn::optim::lr_scheduler::LrScheduler;
use burn::optim::{GradientsAccumulator, GradientsParams, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Int, Tensor};
use rte::TextBatch;

use super::progress::{Evaluation, Score};
use crate::device;
use crate::predictions::Predicted;

/// A model with its optimizer, learning-rate schedule and gradient clipping.
pub(crate) struct Trainer<B: AutodiffBackend> {
    /// The model.
    pub model: FineTuning<B>,
    /// AdamWL2SP, or AdamW: AdamWL2SP with all parameters novel.
    pub optimizer: AdamWL2SPOptimizer<B>,
    /// The learning rate by step.
    pub schedule: Schedule,
    /// The maximum global norm of the gradients; 0 disables clipping.
    pub max_grad_norm: f64,
    /// The pretrained parameters θ⁰ that the distance is measured from.
    pub anchors: Anchors<B::InnerBackend>,
    /// The seed of the dropout masks.
    pub seed: u64,
    /// The model before the last update. Its loss was finite; that of the current model is not known yet.
    pub last_good: Option<FineTuning<B>>,
}

/// The result of an optimizer step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Step {
    /// The loss and accuracy on the step's examples, before the update.
    pub score: Score,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The global L2 norm of the gradients, before clipping.
    pub grad_norm: f64,
    /// ‖θ − θ⁰‖₂ over the pretrained parameters, after the update.
    pub distance: f64,
}

/// A loss or gradient norm that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotFinite {
    /// The step, counted from 1: the one that was not taken, or the last one before an evaluation.
    pub step: usize,
    /// What is not finite.
    pub what: Quantity,
    /// NaN or an infinity.
    pub value: f64,
}

/// What must be finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The loss of a step's examples.
    Loss,
    /// The norm of the gradients of a step.
    GradientNorm,
    /// The loss of the validation examples.
    ValidationLoss,
}

impl Display for Quantity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loss => "loss",
            Self::GradientNorm => "gradient norm",
            Self::ValidationLoss => "validation loss",
        })
    }
}

impl<B: AutodiffBackend> Trainer<B> {
    /// Take one optimizer step on `batches`, whose gradients are accumulated, after `steps_taken` others.
    ///
    /// # Errors
    /// A loss or gradient norm that is not finite. The step is not taken, and the model is the last one whose loss was
    /// finite.
    pub(crate) fn step(
        &mut self,
        batches: Vec<TextBatch<B>>,
        steps_taken: usize,
    ) -> Result<Step, NotFinite> {
        self.model.dropout_seed = dropout_seed(self.seed, steps_taken);
        let learning_rate = self.schedule.step();

        let (mut grads, score) = self.model.gradients(batches);
        let grad_norm = clip(&mut grads, &self.model, self.max_grad_norm);
        for (what, value) in [(Quantity::Loss, score.loss()), (Quantity::GradientNorm, grad_norm)] {
            if !value.is_finite() {
                if what == Quantity::Loss {
                    self.restore_last_good();
                }
                return Err(NotFinite { step: steps_taken + 1, what, value });
            }
        }
        let before = self.model.clone();
        self.model = self.optimizer.step(learning_rate, before.clone(), grads);
        self.last_good = Some(before);

        let distance = value(self.anchors.squared_distance(&self.model)).sqrt();
        Ok(Step { score, learning_rate, grad_norm, distance })
    }

    /// Undo the last update, after which a loss was not finite.
    pub(super) fn restore_last_good(&mut self) {
        if let Some(last_good) = self.last_good.take() {
            self.model = last_good;
        }
    }
}

/// A classifier with its loss.
#[derive(Module, Debug)]
pub(crate) struct FineTuning<B: Backend> {
    /// The model that is fine-tuned.
    pub model: SequenceClassifier<B>,
    #[module(skip)]
    precision: Precision,
    #[module(skip)]
    label_smoothing: f64,
    #[module(skip)]
    dropout_seed: u64,
}

impl<B: Backend> FineTuning<B> {
    /// Fine-tune `model`, computing its forward and backward passes in `precision`.
    pub(crate) fn new(model: SequenceClassifier<B>, precision: Precision) -> Self {
        Self { model, precision, label_smoothing: 0.0, dropout_seed: 0 }
    }

    /// Smooth the labels of the training loss by ε; the loss of an evaluation is the plain cross-entropy in any case.
    pub(crate) fn with_label_smoothing(self, label_smoothing: f64) -> Self {
        Self { label_smoothing, ..self }
    }

    /// The evaluation and the predictions of a batch; empty if the batch has no labels.
    pub(super) fn evaluate(&self, batch: TextBatch<B>) -> (Evaluation, Predicted) {
        evaluate(&self.model.in_precision(self.precision), batch)
    }
}

/// The scale of the loss in fp16, so that small gradients do not underflow in the backward pass.
///
/// At this scale a gradient of a parameter may be as large as 16 and one of a hidden state as small as 1e-8. Each step
/// starts from it, so that a step depends on nothing but the weights and the batch.
const LOSS_SCALE: f64 = 4096.0;

impl<B: AutodiffBackend> FineTuning<B> {
    /// The gradients of a step and the score of its examples.
    pub(super) fn gradients(&self, batches: Vec<TextBatch<B>>) -> (GradientsParams, Score) {
        match self.precision {
            Precision::Float16 => self.scaled_gradients(batches),
            _ => self.gradients_at_scale(batches, 1.0),
        }
    }

    /// Forward, loss, backward: the gradient of the mean loss over all examples of a step, however the step is split into
    /// batches. The loss is multiplied by `loss_scale` for the backward pass, and the gradients are divided by it.
    ///
    /// Each batch is computed on its own device, by a copy of the model. The batches of different devices are computed
    /// at the same time, because nothing waits for a result before all of them have been started; their gradients are added
    /// on the model's device, in the order of the batches.
    fn gradients_at_scale(
        &self,
        batches: Vec<TextBatch<B>>,
        loss_scale: f64,
    ) -> (GradientsParams, Score) {
        let main = self.model.classifier.weight.device();
        let replicas = self.replicas(&main, &batches);
        for replica in &replicas {
            device::seed::<B>(&replica.device, self.dropout_seed);
        }
        let examples: usize = batches.iter().map(|batch| batch.idx.len()).sum();
        let mut score = Score { examples, ..Score::default() };
        let mut accumulator = GradientsAccumulator::new();
        let mut started: Vec<Backward<B>> = Vec::new();
        let mut finish = |started: &mut Vec<Backward<B>>| {
            device::compute_recorded();
            for batch in started.drain(..) {
                score.correct += batch.correct.into_scalar().elem::<i64>() as usize;
                score.loss_sum += batch.loss.into_scalar().elem::<f64>() * examples as f64;
                accumulator.accumulate(self, batch.grads.to_device(&main, self));
            }
        };
        for batch in batches {
            let share = batch.idx.len() as f64 / examples as f64;
            let is_example = batch.is_example.clone();
            let device = batch.input_ids.device();
            let replica = replicas.iter().find(|replica| replica.device == device);
            let (Some((input, labels)), Some(replica)) = (labelled(batch), replica) else {
                continue;
            };
            if started.iter().any(|batch| batch.loss.device() == device) {
                finish(&mut started);
            }
            let logits = replica.in_precision.forward(&input);
            let correct = is_correct(logits.clone().inner(), labels.clone().inner());
            let losses = cross_entropies(logits, labels, self.label_smoothing);
            // The losses of all batches add up to the mean over the step's examples.
            let (correct, loss) = match is_example {
                None => (correct, losses.mean() * share),
                // The mean and the batch's share as one factor: on XLA a share of 1 would make another graph.
                Some(is_example) => (
                    correct * is_example.clone().inner(),
                    (losses * is_example.float()).sum() * (1.0 / examples as f64),
                ),
            };
            let scaled = if loss_scale == 1.0 { loss.clone() } else { loss.clone() * loss_scale };
            let grads = GradientsParams::from_grads(scaled.backward(), &replica.model);
            started.push(Backward { loss: loss.inner(), correct: correct.sum(), grads });
        }
        finish(&mut started);
        let mut grads = accumulator.grads();
        if loss_scale != 1.0 {
            scale_grads(&mut grads, self, 1.0 / loss_scale);
        }
        (grads, score)
    }

    /// The model on each device of the batches.
    fn replicas(&self, main: &B::Device, batches: &[TextBatch<B>]) -> Vec<Replica<B>> {
        let mut replicas: Vec<Replica<B>> = Vec::new();
        for device in batches.iter().map(|batch| batch.input_ids.device()) {
            if replicas.iter().all(|replica| replica.device != device) {
                let model = match device == *main {
                    true => self.model.clone(),
                    false => self.model.clone().fork(&device),
                };
                let in_precision = model.in_precision(self.precision);
                replicas.push(Replica { device, model, in_precision });
            }
        }
        replicas
    }

    /// The gradients in fp16, at the largest loss scale without an overflow.
    fn scaled_gradients(&self, batches: Vec<TextBatch<B>>) -> (GradientsParams, Score) {
        let mut loss_scale = LOSS_SCALE;
        loop {
            let (grads, score) = self.gradients_at_scale(batches.clone(), loss_scale);
            if value(grad_norm(&grads, self)).is_finite() || loss_scale <= 1.0 {
                return (grads, score);
            }
            loss_scale /= 2.0;
        }
    }
}

/// The model on one of the devices of a step.
struct Replica<B: AutodiffBackend> {
    device: B::Device,
    /// Gradients are those of its parameters.
    model: SequenceClassifier<B>,
    in_precision: SequenceClassifier<B>,
}

/// A batch whose forward and backward passes have been started on its device.
struct Backward<B: AutodiffBackend> {
    loss: Tensor<B::InnerBackend, 1>,
    correct: Tensor<B::InnerBackend, 1, Int>,
    grads: GradientsParams,
}

/// Clip the gradients to `max_norm`, unless it is 0, and return their norm before clipping.
pub(crate) fn clip<B: AutodiffBackend, M: AutodiffModule<B>>(
    grads: &mut GradientsParams,
    model: &M,
    max_norm: f64,
) -> f64 {
    value(match max_norm > 0.0 {
        true => clip_grad_norm(grads, model, max_norm),
        false => grad_norm(grads, model),
    })
}

/// The value of a tensor of one element.
fn value<B: Backend>(scalar: Tensor<B, 1>) -> f64 {
    device::compute_recorded();
    scalar.into_scalar().elem()
}

/// The dropout seed of a step: different for each step, and for the same step of runs with neighbouring seeds.
fn dropout_seed(seed: u64, steps_taken: usize) -> u64 {
    // 2⁶⁴ divided by the golden ratio: odd, so that no two steps share a seed, and the seeds are far apart.
    seed ^ (steps_taken as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The evaluation and the predictions of `model` on a batch; empty if the batch has no labels.
pub(crate) fn evaluate<B: Backend>(
    model: &SequenceClassifier<B>,
    batch: TextBatch<B>,
) -> (Evaluation, Predicted) {
    let [_, label_count] = model.classifier.weight.dims();
    let mut evaluation = Evaluation::new(label_count);
    let (examples, is_example) = (batch.idx.len(), batch.is_example.clone());
    let Some((input, labels)) = labelled(batch) else { return (evaluation, Predicted::default()) };
    let logits = model.forward(&input);
    let losses = cross_entropies(logits.clone(), labels.clone(), 0.0);
    // With rows of padding a sum, so that on XLA the graph does not depend on the number of examples.
    let (loss, count) = match is_example {
        None => (losses.mean(), examples),
        Some(is_example) => ((losses * is_example.float()).sum(), 1),
    };
    let predicted = Predicted::of(logits, examples);
    evaluation.loss_sum = loss.into_scalar().elem::<f64>() * count as f64;
    for (label, prediction) in labels.into_data().iter::<i64>().zip(predicted.labels()) {
        evaluation.confusion.add(label as usize, prediction);
    }
    (evaluation, predicted)
}

/// A batch as the model's input and its labels; `None` for a batch without labels.
pub(crate) fn labelled<B: Backend>(
    mut batch: TextBatch<B>,
) -> Option<(EncoderInput<B>, Tensor<B, 1, Int>)> {
    let labels = batch.labels.take()?;
    Some((input(batch), labels))
}

/// A batch as the model's input.
pub(crate) fn input<B: Backend>(batch: TextBatch<B>) -> EncoderInput<B> {
    EncoderInput {
        input_ids: batch.input_ids,
        attention_mask: batch.attention_mask,
        token_type_ids: batch.token_type_ids,
    }
}

/// 1 for each row of `logits` `[batch, labels]` whose maximum is at the true label, otherwise 0; `labels` and the result are
/// `[batch]`.
pub(crate) fn is_correct<B: Backend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
) -> Tensor<B, 1, Int> {
    logits.argmax(1).squeeze_dim::<1>(1).equal(labels).int()
}

#[cfg(test)]
mod tests {
    use albert::ModelConfig;
    use burn::backend::{Autodiff, Flex};
    use burn::data::dataloader::batcher::Batcher;
    use rte::{EncodedExample, Padding, TextBatcher};

    use super::*;

    type Train = Autodiff<Flex>;

    /// Three examples in a batch, of `rows` rows if given.
    fn batch<B: Backend>(rows: Option<usize>) -> TextBatch<B> {
        let example = |idx: usize| EncodedExample {
            input_ids: (0..3 + idx as u32).map(|i| 2 + 5 * i + idx as u32).collect(),
            token_type_ids: vec![0; 3 + idx],
            label: Some(idx % 2),
            idx,
        };
        TextBatcher { padding: Padding::Longest, max_length: 8, pad_token_id: 0, rows }
            .batch((0..3).map(example).collect(), &Default::default())
    }

    #[test]
    fn rows_of_padding_count_neither_in_a_step_nor_in_an_evaluation() {
        let config = ModelConfig {
            vocab_size: 40,
            embedding_size: 8,
            hidden_size: 16,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 32,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            classifier_dropout_prob: Some(0.0),
            initializer_range: 0.3,
            ..ModelConfig::albert_base_v2()
        };
        let classifier = SequenceClassifier::<Train>::init(&config, 3, &Default::default());
        let model = FineTuning::new(classifier, Precision::Float32).with_label_smoothing(0.1);
        let results = |rows| {
            let (mut grads, score) = model.gradients(vec![batch(rows), batch(rows)]);
            let (evaluation, predicted) = model.valid().evaluate(batch(rows));
            let exact =
                (score.examples, score.correct, evaluation.confusion.clone(), predicted.len());
            (exact, [score.loss(), clip(&mut grads, &model, 0.0), evaluation.loss()])
        };
        let (expected_exact, expected) = results(None);
        for rows in [3, 5] {
            let (exact, actual) = results(Some(rows));
            assert_eq!(exact, expected_exact);
            for (actual, expected) in actual.into_iter().zip(expected) {
                assert!((actual / expected - 1.0).abs() < 1e-6, "{actual} instead of {expected}");
            }
        }
    }
}
