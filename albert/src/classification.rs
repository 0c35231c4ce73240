//! An encoder with a classifier on top, and its loss.

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, activation};

use crate::config::ModelConfig;
use crate::encoder::Encoder;
use crate::init;
use crate::input::EncoderInput;
use crate::ops::{cast, linear};
use crate::precision::Precision;

/// An encoder with a classifier: logits = W·dropout(p) + b.
///
/// In ALBERT and BERT p is the encoder's pooled output. RoBERTa's classifier computes it itself from the first token's
/// last hidden state h: p = tanh(dense(dropout(h))).
#[derive(Module, Debug)]
pub struct SequenceClassifier<B: Backend> {
    /// The pretrained part.
    pub encoder: Encoder<B>,
    /// `[hidden_size, hidden_size]`; RoBERTa's alone.
    pub dense: Option<Linear<B>>,
    /// `[hidden_size, labels]`
    pub classifier: Linear<B>,
    dropout: Dropout,
}

impl<B: Backend> SequenceClassifier<B> {
    /// A model whose parameters are initialized on first use, to be replaced by loaded ones.
    ///
    /// `config` must be [valid](ModelConfig::validate).
    pub fn new(config: &ModelConfig, device: &B::Device) -> Self {
        let linear = |outputs| LinearConfig::new(config.hidden_size, outputs).init(device);
        let mut encoder = Encoder::new(config, device);
        let mut dense = None;
        if config.model_type.is_roberta() {
            encoder.pooler = None;
            dense = Some(linear(config.hidden_size));
        }
        Self {
            encoder,
            dense,
            classifier: linear(config.num_labels()),
            dropout: DropoutConfig::new(config.classifier_dropout()).init(),
        }
    }

    /// A model with freshly drawn parameters; see [`Encoder::init`].
    pub fn init(config: &ModelConfig, seed: u64, device: &B::Device) -> Self {
        init::draw(Self::new(config, device), config, seed, |_| true)
    }

    /// The logits of a batch, `[batch, labels]`.
    ///
    /// # Panics
    ///
    /// As [`Encoder::forward`].
    pub fn forward(&self, input: &EncoderInput<B>) -> Tensor<B, 2> {
        let factors = self.encoder.factors;
        let mut pooled = self.encoder.pooled(input);
        if let Some(dense) = &self.dense {
            pooled = linear(dense, self.dropout.forward(pooled), factors).tanh();
        }
        linear(&self.classifier, self.dropout.forward(pooled), factors)
    }

    /// A copy that computes linear layers and attention in `precision`, for one forward pass. Gradients flow to this
    /// model's own parameters, which do not change.
    ///
    /// The copy's linear layers have parameters of that data type. Only bf16 on the flex backend leaves them float32:
    /// its products round their factors themselves.
    ///
    /// ```
    /// use albert::{ModelConfig, Precision, SequenceClassifier};
    /// use burn::backend::Flex;
    /// use burn::tensor::DType;
    ///
    /// # let config = ModelConfig { vocab_size: 9, embedding_size: 4, hidden_size: 8, num_hidden_layers: 1,
    /// #     num_attention_heads: 2, intermediate_size: 8, ..ModelConfig::albert_base_v2() };
    /// let model = SequenceClassifier::<Flex>::init(&config, 0, &Default::default());
    /// let lower = model.in_precision(Precision::Float16);
    /// assert_eq!(lower.classifier.weight.dtype(), DType::F16);
    /// assert_eq!(lower.encoder.embeddings.layer_norm.gamma.dtype(), DType::F32);
    /// ```
    pub fn in_precision(&self, precision: Precision) -> Self {
        let mut model = precision.of(self);
        model.encoder.factors = precision.factors::<B>();
        model
    }
}

/// The cross-entropy of `logits` `[n, labels]` and the true `labels` `[n]`: −1/n · Σᵢ log softmax(logitsᵢ)\[labelsᵢ\] with
/// the natural logarithm, as a tensor `[1]`. 16-bit logits are widened to float32 first.
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
    cross_entropies(logits, labels, 0.0).mean()
}

/// [`cross_entropy`] with label smoothing (Szegedy et al., <https://arxiv.org/abs/1512.00567>): ε = `smoothing` of the target
/// is spread evenly over all K labels, so the loss is (1 − ε) times the cross-entropy minus ε/(nK) · Σ log softmax(logits).
/// As `label_smoothing` of PyTorch's `cross_entropy`.
///
/// ```
/// use burn::backend::Flex;
/// use burn::tensor::{Int, Tensor};
///
/// let device = Default::default();
/// let logits = Tensor::<Flex, 2>::from_floats([[2.0, 0.0]], &device);
/// let labels = Tensor::<Flex, 1, Int>::from_ints([0], &device);
/// let loss: f32 = albert::smoothed_cross_entropy(logits, labels, 0.2).into_scalar();
/// assert!((loss - (0.9 * 0.126_928 + 0.1 * 2.126_928)).abs() < 1e-6);
/// ```
pub fn smoothed_cross_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    smoothing: f64,
) -> Tensor<B, 1> {
    cross_entropies(logits, labels, smoothing).mean()
}

/// The terms of the mean in [`cross_entropy`], and for a `smoothing` other than 0 in [`smoothed_cross_entropy`]: the loss of
/// each example, `[n]`.
pub fn cross_entropies<B: Backend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    smoothing: f64,
) -> Tensor<B, 1> {
    // Probabilities are float32 even for 16-bit logits.
    let low = matches!(logits.dtype(), DType::BF16 | DType::F16);
    let logits = if low { cast(logits, DType::F32) } else { logits };
    let losses = activation::log_softmax(logits, 1).neg();
    let of_labels = losses.clone().gather(1, labels.unsqueeze_dim(1)).squeeze_dim(1);
    match smoothing {
        0.0 => of_labels,
        _ => of_labels * (1.0 - smoothing) + losses.mean_dim(1).squeeze_dim(1) * smoothing,
    }
}

#[cfg(test)]
mod tests {
    use burn::module::AutodiffModule;

    use super::*;
    use crate::testing::{Train, batch, distance, tiny, tiny_bert, tiny_roberta, values};

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
    fn smoothed_loss_and_gradient_are_those_of_pytorch() {
        // torch.nn.functional.cross_entropy(…, label_smoothing=0.1) in float64
        let device = Default::default();
        let logits = Tensor::<Train, 2>::from_floats(
            [[2.0, -1.0, 0.5], [0.0; 3], [-30.0, 40.0, 1.0]],
            &device,
        )
        .require_grad();
        let labels = Tensor::from_ints([0, 2, 0], &device);
        let loss = smoothed_cross_entropy(logits.clone(), labels.clone(), 0.1);
        assert!((values(loss.clone())[0] - 22.707_752).abs() < 3e-6);
        let gradient = values(logits.grad(&loss.backward()).unwrap());
        let expected = [
            -0.049_245_43,
            0.001_926_41,
            0.047_319_02,
            0.1,
            0.1,
            -0.2,
            -0.311_111_1,
            0.322_222_2,
            -0.011_111_1,
        ];
        assert!(distance(&gradient, &expected) < 1e-6, "{gradient:?}");
        let plain = values(cross_entropy(logits.clone(), labels.clone()));
        assert!(distance(&values(smoothed_cross_entropy(logits, labels, 0.0)), &plain) < 1e-6);
    }

    #[test]
    fn without_dropout_training_and_inference_agree() {
        let model = SequenceClassifier::<Train>::init(&tiny(), 3, &Default::default());
        let training = values(model.forward(&batch(&[TOKENS], 8, 0)));
        let inference = values(model.valid().forward(&batch(&[TOKENS], 8, 0)));
        assert!(distance(&training, &inference) < 2e-6);
        assert_eq!(training, values(model.forward(&batch(&[TOKENS], 8, 0))));
    }

    /// On flex bf16 is a matter of the products; the parameters stay float32.
    #[test]
    fn bf16_rounds_products_and_leaves_parameters_and_gradients_in_float32() {
        let model = SequenceClassifier::<Train>::init(&tiny(), 3, &Default::default());
        let lower = model.in_precision(Precision::BFloat16);
        assert_eq!(lower.classifier.weight.dtype(), DType::F32);
        let input = batch(&[TOKENS], 8, 0);
        let [logits, rounded] = [&model, &lower].map(|model| model.forward(&input));
        assert_eq!(rounded.dtype(), DType::F32);
        let error = distance(&values(rounded.clone()), &values(logits));
        assert!(error > 0.0 && error < 1e-2, "{error}");
        let grads = rounded.sum().backward();
        let gradient = model.encoder.layer_groups[0].layers[0].ffn.weight.val().grad(&grads);
        assert!(values(gradient.unwrap()).iter().any(|&g| g != 0.0));
        let full = lower.in_precision(Precision::Float32).forward(&input);
        assert_eq!(values(full), values(model.forward(&input)));
    }

    #[test]
    fn robertas_classifier_has_a_dense_layer_instead_of_the_pooler() {
        let model = SequenceClassifier::<Train>::init(&tiny_roberta(), 3, &Default::default());
        assert!(model.encoder.pooler.is_none());
        let input = batch(&[&[0, 11, 4, 2]], 6, 1);
        let first: Tensor<Train, 2> =
            model.encoder.forward(&input).last_hidden_state.narrow(1, 0, 1).squeeze_dim(1);
        let dense = model.dense.as_ref().unwrap().forward(first).tanh();
        let expected = values(model.classifier.forward(dense));
        assert!(distance(&values(model.forward(&input)), &expected) < 2e-6);

        let bert = SequenceClassifier::<Train>::init(&tiny_bert(), 3, &Default::default());
        assert!(bert.encoder.pooler.is_some() && bert.dense.is_none());
    }

    #[test]
    fn each_dropout_acts_in_training_only() {
        for none in [tiny(), tiny_bert(), tiny_roberta()] {
            check_each_dropout(none);
        }
    }

    fn check_each_dropout(none: ModelConfig) {
        let device = Default::default();
        let inference = |config: &ModelConfig| {
            let model = SequenceClassifier::<Train>::init(config, 3, &device).valid();
            values(model.forward(&batch(&[TOKENS], 8, 0)))
        };
        for config in [
            ModelConfig { hidden_dropout_prob: 0.5, ..none.clone() },
            ModelConfig { attention_probs_dropout_prob: 0.5, ..none.clone() },
            ModelConfig { classifier_dropout_prob: Some(0.5), ..none.clone() },
        ] {
            assert_eq!(inference(&config), inference(&none));
            let model = SequenceClassifier::<Train>::init(&config, 3, &device);
            let once = values(model.forward(&batch(&[TOKENS], 8, 0)));
            let again = values(model.forward(&batch(&[TOKENS], 8, 0)));
            assert_ne!(once, again);
        }
    }
}
