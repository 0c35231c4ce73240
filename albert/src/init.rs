//! Fresh parameters, drawn on the host so that one seed means the same numbers on every backend.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::config::AlbertConfig;

/// Draws anew every parameter whose path is `selected`: weights normal with standard deviation `initializer_range`,
/// biases zero, norms the identity, the padding token's embedding zero.
pub(crate) fn draw<B: Backend, M: Module<B>>(
    module: M,
    config: &AlbertConfig,
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
    config: &'a AlbertConfig,
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
                let is_words = module == "word_embeddings";
                let width = shape.last().copied().unwrap_or_default();
                let mut weight = TensorData::random::<f32, _, _>(shape, normal, &mut self.rng);
                if let (true, Some(pad), Ok(rows)) =
                    (is_words, self.config.pad_token_id, weight.as_mut_slice::<f32>())
                {
                    rows[pad * width..(pad + 1) * width].fill(0.0);
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
