//! Tokenised examples to the tensors of a batch.

use burn::{
    data::dataloader::batcher::Batcher,
    tensor::{Int, Tensor, TensorData, backend::Backend},
};
use serde::{Deserialize, Serialize};

use crate::EncodedExample;

/// How long the rows of a batch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// As long as the batch's longest example.
    #[default]
    Longest,
    /// As long as the maximum length, the same for every batch.
    MaxLength,
}

/// Makes batches: pads on the right with the padding id, mask 0 and segment 0.
#[derive(Debug, Clone)]
pub struct RteBatcher {
    /// How long the rows are.
    pub padding: Padding,
    /// The length of a row with [`Padding::MaxLength`]. Longer examples are never cut: they widen their batch.
    pub max_length: usize,
    /// The token id in padded places.
    pub pad_token_id: u32,
}

/// A batch of tokenised pairs.
#[derive(Debug, Clone)]
pub struct RteBatch<B: Backend> {
    /// The token ids, `[batch, length]`.
    pub input_ids: Tensor<B, 2, Int>,
    /// 1 for a token, 0 for padding, `[batch, length]`.
    pub attention_mask: Tensor<B, 2, Int>,
    /// The segments, `[batch, length]`.
    pub token_type_ids: Tensor<B, 2, Int>,
    /// The labels, `[batch]`; `None` where an example of the batch has none.
    pub labels: Option<Tensor<B, 1, Int>>,
    /// The examples' own numbers.
    pub idx: Vec<usize>,
}

impl<B: Backend> Batcher<B, EncodedExample, RteBatch<B>> for RteBatcher {
    fn batch(&self, items: Vec<EncodedExample>, device: &B::Device) -> RteBatch<B> {
        let longest = items.iter().map(|item| item.input_ids.len()).max().unwrap_or(0);
        let length = match self.padding {
            Padding::Longest => longest,
            Padding::MaxLength => longest.max(self.max_length),
        };
        let rows = items.len();
        let tensor = |row: &dyn Fn(&EncodedExample) -> Vec<u32>, pad: u32| {
            let mut values = Vec::with_capacity(rows * length);
            for item in &items {
                values.extend(row(item).into_iter().map(i64::from));
                values.resize(values.len().next_multiple_of(length.max(1)), i64::from(pad));
            }
            Tensor::from_data(TensorData::new(values, [rows, length]), device)
        };
        let labels: Option<Vec<i64>> =
            items.iter().map(|item| item.label.map(|label| label as i64)).collect();
        RteBatch {
            input_ids: tensor(&|item| item.input_ids.clone(), self.pad_token_id),
            attention_mask: tensor(&|item| vec![1; item.input_ids.len()], 0),
            token_type_ids: tensor(&|item| item.token_type_ids.clone(), 0),
            labels: labels.map(|labels| Tensor::from_data(TensorData::new(labels, [rows]), device)),
            idx: items.iter().map(|item| item.idx).collect(),
        }
    }
}
