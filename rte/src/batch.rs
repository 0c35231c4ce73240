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
pub struct TextBatcher {
    /// How long the rows are.
    pub padding: Padding,
    /// The length of a row with [`Padding::MaxLength`]. Longer examples are never cut: they widen their batch.
    pub max_length: usize,
    /// The token id in padded places.
    pub pad_token_id: u32,
}

/// A batch of tokenised texts.
#[derive(Debug, Clone)]
pub struct TextBatch<B: Backend> {
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

impl<B: Backend> Batcher<B, EncodedExample, TextBatch<B>> for TextBatcher {
    fn batch(&self, items: Vec<EncodedExample>, device: &B::Device) -> TextBatch<B> {
        let longest = items.iter().map(|item| item.input_ids.len()).max().unwrap_or(0);
        let length = match self.padding {
            Padding::Longest => longest,
            Padding::MaxLength => longest.max(self.max_length),
        };
        let rows = items.len();
        let tensor = |row: &dyn Fn(&EncodedExample) -> Vec<u32>, pad: u32| {
            let mut values = Vec::with_capacity(rows * length);
            for (index, item) in items.iter().enumerate() {
                values.extend(row(item).into_iter().map(i64::from));
                values.resize((index + 1) * length, i64::from(pad));
            }
            Tensor::from_data(TensorData::new(values, [rows, length]), device)
        };
        let labels: Option<Vec<i64>> =
            items.iter().map(|item| item.label.map(|label| label as i64)).collect();
        TextBatch {
            input_ids: tensor(&|item| item.input_ids.clone(), self.pad_token_id),
            attention_mask: tensor(&|item| vec![1; item.input_ids.len()], 0),
            token_type_ids: tensor(&|item| item.token_type_ids.clone(), 0),
            labels: labels.map(|labels| Tensor::from_data(TensorData::new(labels, [rows]), device)),
            idx: items.iter().map(|item| item.idx).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::*;

    fn item(ids: &[u32], segments: &[u32], label: Option<usize>, idx: usize) -> EncodedExample {
        EncodedExample { input_ids: ids.to_vec(), token_type_ids: segments.to_vec(), label, idx }
    }

    fn batch(padding: Padding, max_length: usize, items: Vec<EncodedExample>) -> TextBatch<Flex> {
        TextBatcher { padding, max_length, pad_token_id: 9 }.batch(items, &Default::default())
    }

    fn values<const D: usize>(tensor: Tensor<Flex, D, Int>) -> Vec<i64> {
        tensor.into_data().convert::<i64>().to_vec().unwrap()
    }

    fn pair() -> Vec<EncodedExample> {
        vec![item(&[2, 5, 3], &[0, 0, 1], Some(1), 4), item(&[2], &[1], Some(0), 8)]
    }

    #[test]
    fn longest_pads_to_the_longest_of_the_batch() {
        let batch = batch(Padding::Longest, 128, pair());
        assert_eq!(batch.input_ids.dims(), [2, 3]);
        assert_eq!(values(batch.input_ids), [2, 5, 3, 2, 9, 9]);
        assert_eq!(values(batch.attention_mask), [1, 1, 1, 1, 0, 0]);
        assert_eq!(values(batch.token_type_ids), [0, 0, 1, 1, 0, 0]);
        assert_eq!(values(batch.labels.unwrap()), [1, 0]);
        assert_eq!(batch.idx, [4, 8]);
    }

    #[test]
    fn max_length_pads_every_batch_alike() {
        let batch = batch(Padding::MaxLength, 5, pair());
        assert_eq!(batch.input_ids.dims(), [2, 5]);
        assert_eq!(values(batch.input_ids), [2, 5, 3, 9, 9, 2, 9, 9, 9, 9]);
        assert_eq!(values(batch.attention_mask), [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn a_batch_with_an_unlabelled_example_has_no_labels() {
        let items = vec![item(&[2], &[0], Some(1), 0), item(&[2], &[0], None, 1)];
        assert!(batch(Padding::Longest, 5, items).labels.is_none());
    }

    #[test]
    fn longer_examples_widen_and_none_at_all_is_no_panic() {
        assert_eq!(batch(Padding::MaxLength, 2, pair()).input_ids.dims(), [2, 3]);
        assert_eq!(batch(Padding::Longest, 2, vec![]).input_ids.dims(), [0, 0]);
    }

    #[test]
    fn paddings_names_are_kebab_case() {
        assert_eq!(serde_json::to_string(&Padding::MaxLength).unwrap(), "\"max-length\"");
        assert_eq!(serde_json::from_str::<Padding>("\"longest\"").unwrap(), Padding::Longest);
    }
}
