//! Tokenized examples to the tensors of a batch.

use std::{fmt, num::NonZeroUsize, str::FromStr};

use burn::{
    data::dataloader::batcher::Batcher,
    tensor::{Int, Tensor, TensorData, backend::Backend},
};
use serde::{Deserialize, Serialize};

use crate::{EncodedExample, RteError};

/// How long the rows of a batch are. As text: `longest`, `max-length`, `multiple-of-32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Padding {
    /// As long as the batch's longest example.
    #[default]
    Longest,
    /// As long as the maximum length, the same for every batch.
    MaxLength,
    /// As long as the batch's longest example, rounded up to a multiple of this number but not beyond the maximum length:
    /// few different lengths, for devices that compile their computation anew for each.
    MultipleOf(NonZeroUsize),
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Longest => f.write_str("longest"),
            Self::MaxLength => f.write_str("max-length"),
            Self::MultipleOf(multiple) => write!(f, "multiple-of-{multiple}"),
        }
    }
}

impl FromStr for Padding {
    type Err = RteError;

    fn from_str(text: &str) -> Result<Self, RteError> {
        match (text, text.strip_prefix("multiple-of-")) {
            ("longest", _) => Some(Self::Longest),
            ("max-length", _) => Some(Self::MaxLength),
            (_, Some(multiple)) => multiple.parse().ok().map(Self::MultipleOf),
            _ => None,
        }
        .ok_or_else(|| RteError::UnknownPadding(text.into()))
    }
}

impl TryFrom<String> for Padding {
    type Error = RteError;

    fn try_from(text: String) -> Result<Self, RteError> {
        text.parse()
    }
}

impl From<Padding> for String {
    fn from(padding: Padding) -> Self {
        padding.to_string()
    }
}

/// Makes batches: pads on the right with the padding id, mask 0 and segment 0.
#[derive(Debug, Clone)]
pub struct TextBatcher {
    /// How long the rows are.
    pub padding: Padding,
    /// The length of a row with [`Padding::MaxLength`], and the limit of rounding up with [`Padding::MultipleOf`]. Longer
    /// examples are never cut: they widen their batch.
    pub max_length: usize,
    /// The token id in padded places.
    pub pad_token_id: u32,
    /// The number of rows of every batch: one of fewer examples gets rows of padding, and
    /// [`is_example`](TextBatch::is_example) tells them apart. `None`: as many as there are examples.
    pub rows: Option<usize>,
}

/// A batch of tokenized texts.
#[derive(Debug, Clone)]
pub struct TextBatch<B: Backend> {
    /// The token ids, `[batch, length]`.
    pub input_ids: Tensor<B, 2, Int>,
    /// 1 for a token, 0 for padding, `[batch, length]`.
    pub attention_mask: Tensor<B, 2, Int>,
    /// The segments, `[batch, length]`.
    pub token_type_ids: Tensor<B, 2, Int>,
    /// The labels, `[batch]`, 0 for a row of padding; `None` where an example of the batch has none.
    pub labels: Option<Tensor<B, 1, Int>>,
    /// The examples' own numbers.
    pub idx: Vec<usize>,
    /// 1 for a row with an example, 0 for a row of padding, `[batch]`; `None` unless [`TextBatcher::rows`] is set.
    pub is_example: Option<Tensor<B, 1, Int>>,
}

impl<B: Backend> Batcher<B, EncodedExample, TextBatch<B>> for TextBatcher {
    fn batch(&self, items: Vec<EncodedExample>, device: &B::Device) -> TextBatch<B> {
        let longest = items.iter().map(|item| item.input_ids.len()).max().unwrap_or(0);
        let length = match self.padding {
            Padding::Longest => longest,
            Padding::MaxLength => longest.max(self.max_length),
            Padding::MultipleOf(multiple) => {
                longest.max(longest.next_multiple_of(multiple.get()).min(self.max_length))
            }
        };
        let rows = self.rows.map_or(items.len(), |rows| rows.max(items.len()));
        let matrix = |row: &dyn Fn(&EncodedExample) -> Vec<u32>, pad: u32| {
            let mut values = Vec::with_capacity(rows * length);
            for (index, item) in items.iter().enumerate() {
                values.extend(row(item).into_iter().map(i64::from));
                values.resize((index + 1) * length, i64::from(pad));
            }
            values.resize(rows * length, i64::from(pad));
            Tensor::from_data(TensorData::new(values, [rows, length]), device)
        };
        let vector = |mut values: Vec<i64>| {
            values.resize(rows, 0);
            Tensor::from_data(TensorData::new(values, [rows]), device)
        };
        let labels: Option<Vec<i64>> =
            items.iter().map(|item| item.label.map(|label| label as i64)).collect();
        TextBatch {
            input_ids: matrix(&|item| item.input_ids.clone(), self.pad_token_id),
            attention_mask: matrix(&|item| vec![1; item.input_ids.len()], 0),
            token_type_ids: matrix(&|item| item.token_type_ids.clone(), 0),
            labels: labels.map(vector),
            idx: items.iter().map(|item| item.idx).collect(),
            is_example: self.rows.map(|_| vector(vec![1; items.len()])),
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
        TextBatcher { padding, max_length, pad_token_id: 9, rows: None }
            .batch(items, &Default::default())
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
    fn multiples_give_few_lengths_within_the_maximum() {
        let length = |multiple, max_length| {
            let padding = Padding::MultipleOf(NonZeroUsize::new(multiple).unwrap());
            batch(padding, max_length, pair()).input_ids.dims()[1]
        };
        assert_eq!([length(1, 8), length(2, 8), length(3, 8), length(8, 8)], [3, 4, 3, 8]);
        assert_eq!(length(8, 5), 5, "the maximum length");
        assert_eq!(length(8, 2), 3, "no example is cut");
    }

    #[test]
    fn missing_rows_are_padding() {
        let batcher = TextBatcher {
            padding: Padding::Longest,
            max_length: 5,
            pad_token_id: 9,
            rows: Some(3),
        };
        let batch: TextBatch<Flex> = batcher.batch(pair(), &Default::default());
        assert_eq!(values(batch.input_ids), [2, 5, 3, 2, 9, 9, 9, 9, 9]);
        assert_eq!(values(batch.attention_mask), [1, 1, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(values(batch.labels.unwrap()), [1, 0, 0]);
        assert_eq!(values(batch.is_example.unwrap()), [1, 1, 0]);
        assert_eq!(batch.idx, [4, 8]);
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
    fn paddings_have_names() {
        for (padding, name) in [
            (Padding::Longest, "longest"),
            (Padding::MaxLength, "max-length"),
            (Padding::MultipleOf(NonZeroUsize::new(32).unwrap()), "multiple-of-32"),
        ] {
            assert_eq!(serde_json::to_value(padding).unwrap(), name);
            assert_eq!(serde_json::from_value::<Padding>(name.into()).unwrap(), padding);
        }
        for name in ["", "Longest", "multiple-of-", "multiple-of-0", "multiple-of-x", "32"] {
            let error = name.parse::<Padding>().unwrap_err().to_string();
            assert!(error.contains("longest, max-length and multiple-of-N"), "{error}");
        }
    }
}
