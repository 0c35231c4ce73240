//! Initialization, drawn on the host so that a seed gives the same values on every backend.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::config::ModelConfig;

/// Draws every parameter whose path is `selected`: weights normal with standard deviation `initializer_range`, biases
/// zero, norms the identity, the padding token's embeddings zero.
pub(crate) fn draw<B: Backend, M: Module<B>>(
    module: M,
    config: &ModelConfig,
    seed: u64,
    selected: impl Fn(&str) -> bool,
) -> M {
    module.map(&mut Initialization {
        config,
        rng: StdRng::seed_from_u64(seed),
        selected,
        path: Vec::new(),
    })
}

struct Initialization<'a, F> {
    config: &'a ModelConfig,
    rng: StdRng,
    selected: F,
    path: Vec<String>,
}

impl<F> Initialization<'_, F> {
    fn values(&mut self, shape: Vec<usize>) -> TensorData {
        let field = |depth: usize| self.path.iter().rev().nth(depth).map_or("", String::as_str);
        let (module, name) = (field(1), field(0));
        match name {
            "gamma" => TensorData::ones::<f32, _>(shape),
            "weight" => {
                let normal = Distribution::Normal(0.0, self.config.initializer_range);
                let padding = match module {
                    "word_embeddings" => self.config.pad_token_id,
                    "position_embeddings" => self.config.position_padding(),
                    _ => None,
                };
                let width = shape.last().copied().unwrap_or_default();
                let mut weight = TensorData::random::<f32, _, _>(shape, normal, &mut self.rng);
                if let (Some(padding), Ok(rows)) = (padding, weight.as_mut_slice::<f32>()) {
                    rows[padding * width..(padding + 1) * width].fill(0.0);
                }
                weight
            }
            _ => TensorData::zeros::<f32, _>(shape),
        }
    }
}

impl<B: Backend, F: Fn(&str) -> bool> ModuleMapper<B> for Initialization<'_, F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if !(self.selected)(&self.path.join(".")) {
            return param;
        }
        let values = self.values(param.lazy_shape().to_vec());
        let (id, device) = (param.id, param.lazy_device());
        param.transform_for_load(Tensor::from_data(values, &device), id)
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use crate::classification::SequenceClassifier;
    use crate::config::ModelConfig;
    use crate::testing::{Train, tiny, values};

    #[test]
    fn a_seed_gives_the_same_values_on_every_backend() {
        let weight = |seed| {
            let model = SequenceClassifier::<Flex>::init(&tiny(), seed, &Default::default());
            values(model.classifier.weight.val())
        };
        let trained = SequenceClassifier::<Train>::init(&tiny(), 7, &Default::default());
        assert_eq!(weight(7), weight(7));
        assert_eq!(weight(7), values(trained.classifier.weight.val()));
        assert_ne!(weight(7), weight(8));
    }

    #[test]
    fn initial_parameters_are_distributed_as_in_hugging_faces_model() {
        let config = ModelConfig { vocab_size: 4000, initializer_range: 0.02, ..tiny() };
        let model = SequenceClassifier::<Train>::init(&config, 7, &Default::default());
        let embeddings = &model.encoder.embeddings;

        let words = values(embeddings.word_embeddings.weight.val());
        let (padding, drawn) = words.split_at(config.embedding_size);
        assert!(padding.iter().all(|&x| x == 0.0));
        let count = drawn.len() as f32;
        let mean = drawn.iter().sum::<f32>() / count;
        let deviation = (drawn.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count).sqrt();
        assert!(mean.abs() < 5e-4, "{mean}");
        assert!((deviation - 0.02).abs() < 5e-4, "{deviation}");

        let layer = &model.encoder.layer_groups[1].layers[0];
        let bias = layer.ffn.bias.as_ref().unwrap().val();
        assert!(bias.is_require_grad());
        assert!(values(bias).iter().all(|&x| x == 0.0));
        assert!(values(layer.layer_norm.gamma.val()).iter().all(|&x| x == 1.0));
        let shift = layer.layer_norm.beta.as_ref().unwrap().val();
        assert!(values(shift).iter().all(|&x| x == 0.0));
        let query = values(layer.attention.query.weight.val());
        assert_ne!(query, values(layer.attention.key.weight.val()));
    }
}
