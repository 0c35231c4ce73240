//! What the unit tests share: tiny configurations and batches for them.

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

use crate::config::ModelConfig;
use crate::input::EncoderInput;

pub(crate) type Train = Autodiff<Flex>;

/// Two groups of one layer; large weights, so that every part leaves its mark on the outputs.
pub(crate) fn tiny() -> ModelConfig {
    ModelConfig {
        vocab_size: 50,
        embedding_size: 6,
        hidden_size: 12,
        num_hidden_layers: 3,
        num_hidden_groups: 2,
        num_attention_heads: 3,
        intermediate_size: 20,
        max_position_embeddings: 32,
        initializer_range: 0.4,
        classifier_dropout_prob: Some(0.0),
        ..ModelConfig::albert_base_v2()
    }
}

/// The same sizes as a BERT.
pub(crate) fn tiny_bert() -> ModelConfig {
    sized_as_tiny(ModelConfig::bert_base())
}

/// The same sizes as a RoBERTa.
pub(crate) fn tiny_roberta() -> ModelConfig {
    sized_as_tiny(ModelConfig::roberta_base())
}

fn sized_as_tiny(config: ModelConfig) -> ModelConfig {
    let tiny = tiny();
    ModelConfig {
        vocab_size: tiny.vocab_size,
        embedding_size: tiny.hidden_size,
        hidden_size: tiny.hidden_size,
        num_hidden_layers: tiny.num_hidden_layers,
        num_hidden_groups: tiny.num_hidden_layers,
        num_attention_heads: tiny.num_attention_heads,
        intermediate_size: tiny.intermediate_size,
        max_position_embeddings: tiny.max_position_embeddings,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        initializer_range: tiny.initializer_range,
        ..config
    }
}

/// A batch of sequences, each padded with `filler` to `length`.
pub(crate) fn batch<B: Backend>(
    sequences: &[&[i64]],
    length: usize,
    filler: i64,
) -> EncoderInput<B> {
    let padded = |value: &dyn Fn(&[i64], usize) -> i64| -> Tensor<B, 2, Int> {
        let values: Vec<i64> =
            sequences.iter().flat_map(|ids| (0..length).map(|i| value(ids, i))).collect();
        Tensor::from_data(TensorData::new(values, [sequences.len(), length]), &Default::default())
    };
    EncoderInput {
        input_ids: padded(&|ids, i| ids.get(i).copied().unwrap_or(filler)),
        attention_mask: padded(&|ids, i| (i < ids.len()) as i64),
        token_type_ids: padded(&|ids, i| (i >= ids.len() / 2 && i < ids.len()) as i64),
    }
}

pub(crate) fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The largest absolute difference.
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
