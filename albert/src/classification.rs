//! ALBERT with a classifier on top, and its loss.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, activation};

use crate::config::AlbertConfig;
use crate::init;
use crate::input::AlbertInput;
use crate::model::AlbertModel;
use crate::ops::{cast, linear};
use crate::precision::Precision;

/// ALBERT with a linear classifier over the pooled first token, after dropout.
#[derive(Module, Debug)]
pub struct AlbertForSequenceClassification<B: Backend> {
    /// The encoder.
    pub albert: AlbertModel<B>,
    /// `[hidden_size, labels]`
    pub classifier: Linear<B>,
    dropout: Dropout,
}

impl<B: Backend> AlbertForSequenceClassification<B> {
    /// A model whose parameters come into being on first use, to be replaced by loaded ones.
    ///
    /// `config` must be [valid](AlbertConfig::validate).
    pub fn new(config: &AlbertConfig, device: &B::Device) -> Self {
        Self {
            albert: AlbertModel::new(config, device),
            classifier: LinearConfig::new(config.hidden_size, config.num_labels()).init(device),
            dropout: DropoutConfig::new(config.classifier_dropout()).init(),
        }
    }

    /// A model with fresh parameters; see [`AlbertModel::init`].
    pub fn init(config: &AlbertConfig, seed: u64, device: &B::Device) -> Self {
        init::draw(Self::new(config, device), config, seed, |_| true)
    }

    /// Scores a batch: logits `[batch, labels]`.
    ///
    /// # Panics
    ///
    /// As [`AlbertModel::forward`].
    pub fn forward(&self, input: &AlbertInput<B>) -> Tensor<B, 2> {
        let pooled = self.albert.pooled(input);
        linear(&self.classifier, self.dropout.forward(pooled))
    }

    /// The model with the parameters of its linear layers in `precision`, for one forward pass. The gradients go through to
    /// this model's own parameters, which stay as they are.
    ///
    /// ```
    /// use albert::{AlbertConfig, AlbertForSequenceClassification, Precision};
    /// use burn::backend::Flex;
    /// use burn::tensor::DType;
    ///
    /// # let config = AlbertConfig { vocab_size: 9, embedding_size: 4, hidden_size: 8, num_hidden_layers: 1,
    /// #     num_attention_heads: 2, intermediate_size: 8, ..AlbertConfig::base_v2() };
    /// let model = AlbertForSequenceClassification::<Flex>::init(&config, 0, &Default::default());
    /// let lower = model.in_precision(Precision::BFloat16);
    /// assert_eq!(lower.classifier.weight.dtype(), DType::BF16);
    /// assert_eq!(lower.albert.embeddings.layer_norm.gamma.dtype(), DType::F32);
    /// ```
    pub fn in_precision(&self, precision: Precision) -> Self {
        precision.of(self)
    }
}

/// Cross-entropy of `logits` `[batch, labels]` against the true `labels` `[batch]`, the mean over the batch, `[1]`:
/// −1/n · Σᵢ log softmax(logitsᵢ)\[labelsᵢ\], with the natural logarithm, in float32 at least.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
///
/// let device = Default::default();
/// let logits = Tensor::<Flex, 2>::from_floats([[0.0, 0.0], [2.0, 0.0]], &device);
/// let labels = Tensor::<Flex, 1, Int>::from_ints([1, 0], &device);
/// let loss: f32 = albert::cross_entropy(logits, labels).into_scalar();
/// assert!((loss - (0.693_147 + 0.126_928) / 2.0).abs() < 1e-6);
/// ```
pub fn cross_entropy<B: Backend>(logits: Tensor<B, 2>, labels: Tensor<B, 1, Int>) -> Tensor<B, 1> {
    let low = matches!(logits.dtype(), DType::BF16 | DType::F16);
    let logits = if low { cast(logits, DType::F32) } else { logits };
    activation::log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1)).mean().neg()
}

#[cfg(test)]
mod tests {
    use burn::module::AutodiffModule;

    use super::*;
    use crate::testing::{Train, batch, distance, tiny, values};

    const TOKENS: &[i64] = &[2, 11, 4, 3, 9, 3];

    #[test]
    fn loss_has_its_known_value() {
        // torch.nn.functional.cross_entropy in float64
        let device = Default::default();
        let logits = Tensor::<Train, 2>::from_floats(
            [[2.0, -1.0, 0.5], [0.0; 3], [-30.0, 40.0, 1.0]],
            &device,
        );
        let loss = cross_entropy(logits, Tensor::from_ints([0, 2, 0], &device));
        assert!((values(loss)[0] - 23.779_974).abs() < 3e-6);
    }

    #[test]
    fn without_dropout_training_and_inference_agree() {
        let model = AlbertForSequenceClassification::<Train>::init(&tiny(), 3, &Default::default());
        let training = values(model.forward(&batch(&[TOKENS], 8, 0)));
        let inference = values(model.valid().forward(&batch(&[TOKENS], 8, 0)));
        assert!(distance(&training, &inference) < 2e-6);
        assert_eq!(training, values(model.forward(&batch(&[TOKENS], 8, 0))));
    }

    #[test]
    fn each_dropout_acts_in_training_only() {
        let none = tiny();
        let device = Default::default();
        let inference = |config: &AlbertConfig| {
            let model = AlbertForSequenceClassification::<Train>::init(config, 3, &device).valid();
            values(model.forward(&batch(&[TOKENS], 8, 0)))
        };
        for config in [
            AlbertConfig { hidden_dropout_prob: 0.5, ..none.clone() },
            AlbertConfig { attention_probs_dropout_prob: 0.5, ..none.clone() },
            AlbertConfig { classifier_dropout_prob: Some(0.5), ..none.clone() },
        ] {
            assert_eq!(inference(&config), inference(&none));
            let model = AlbertForSequenceClassification::<Train>::init(&config, 3, &device);
            let once = values(model.forward(&batch(&[TOKENS], 8, 0)));
            let again = values(model.forward(&batch(&[TOKENS], 8, 0)));
            assert_ne!(once, again);
        }
    }
}
