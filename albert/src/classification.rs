//! ALBERT with a classifier on top, and its loss.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, activation};

use crate::config::AlbertConfig;
use crate::init;
use crate::input::AlbertInput;
use crate::model::AlbertModel;

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
        let pooled = self.albert.forward(input).pooler_output;
        self.classifier.forward(self.dropout.forward(pooled))
    }
}

/// Cross-entropy of `logits` `[batch, labels]` against the true `labels` `[batch]`, the mean over the batch, `[1]`:
/// −1/n · Σᵢ log softmax(logitsᵢ)\[labelsᵢ\], with the natural logarithm.
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
    activation::log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1)).mean().neg()
}
