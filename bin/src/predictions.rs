//! What a model predicts for examples: as tensors in a checkpoint, and as lines of JSON for users.

use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use report::{LabelledPrediction, Prediction};
use rte::TextDataset;
use serde::Serialize;

use crate::ProgramError;
use crate::device;
use crate::resume::state::Tensors;

/// The predictions for examples, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Predicted {
    /// The model's index of the predicted label of each example.
    labels: Vec<i64>,
    /// The probabilities of the model's labels, example by example.
    probabilities: Vec<f32>,
}

/// What the names of the tensors begin with.
const PREDICTED: &str = "best_predicted";

impl Predicted {
    /// The predictions that `logits` `[batch, labels]` stand for. Only the first `examples` rows are of examples; the rest is
    /// padding.
    pub(crate) fn of<B: Backend>(logits: Tensor<B, 2>, examples: usize) -> Self {
        let [_, label_count] = logits.dims();
        // Some devices compute them in 16 bits.
        let logits = logits.cast(DType::F32);
        let (labels, probabilities) = (logits.clone().argmax(1), softmax(logits, 1));
        device::compute_recorded();
        let labels = labels.into_data().iter().take(examples).collect();
        let probabilities = probabilities.into_data().iter().take(examples * label_count).collect();
        Self { labels, probabilities }
    }

    /// Append the predictions for the next examples.
    pub(crate) fn extend(&mut self, next: Self) {
        self.labels.extend(next.labels);
        self.probabilities.extend(next.probabilities);
    }

    /// The number of examples.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The predicted label of each example.
    pub(crate) fn labels(&self) -> impl Iterator<Item = usize> {
        self.labels.iter().map(|label| *label as usize)
    }

    /// The predictions as users see them; `labels` are those of the model, `idx` the numbers of the examples.
    pub(crate) fn named(
        &self,
        labels: &[&str],
        idx: impl IntoIterator<Item = usize>,
    ) -> impl Iterator<Item = Prediction> {
        let rows = self.labels().zip(self.probabilities.chunks(labels.len().max(1)));
        idx.into_iter().zip(rows).map(|(idx, (label, row))| {
            let probabilities = labels.iter().zip(row);
            Prediction {
                idx,
                label: labels[label].to_owned(),
                probabilities: probabilities
                    .map(|(label, probability)| ((*label).to_owned(), f64::from(*probability)))
                    .collect(),
            }
        })
    }

    /// The predictions for the labelled examples of `dataset`, with their texts and labels. `labels` are those of the model,
    /// `label_indices` the model's index of each of the task's labels.
    pub(crate) fn labelled(
        &self,
        labels: &[&str],
        label_indices: &[usize],
        dataset: &TextDataset,
    ) -> impl Iterator<Item = LabelledPrediction> {
        let examples = dataset.examples();
        let named = self.named(labels, examples.iter().map(|example| example.idx));
        named.zip(examples).filter_map(|(prediction, example)| {
            Some(LabelledPrediction {
                prediction,
                text: example.text.clone(),
                text_pair: example.text_pair.clone(),
                true_label: labels[label_indices[example.label?]].to_owned(),
            })
        })
    }

    /// The tensors of a checkpoint for the predictions of the best model.
    pub(crate) fn to_tensors(&self) -> Tensors {
        let examples = self.len();
        let labels = self.probabilities.len() / examples.max(1);
        [
            (name("label"), TensorData::new(self.labels.clone(), [examples])),
            (
                name("probabilities"),
                TensorData::new(self.probabilities.clone(), [examples, labels]),
            ),
        ]
        .into()
    }

    /// Take the predictions for this number of examples and labels out of `tensors`, if they hold some.
    ///
    /// # Errors
    /// Tensors of another shape or type, labels that the model does not have.
    pub(crate) fn take(
        tensors: &mut Tensors,
        [examples, labels]: [usize; 2],
    ) -> Result<Option<Self>, String> {
        let taken = [name("label"), name("probabilities")].map(|name| tensors.remove(&name));
        let [Some(label), Some(probabilities)] = taken else { return Ok(None) };
        let is_label = |label: &i64| usize::try_from(*label).is_ok_and(|label| label < labels);
        match (label.as_slice::<i64>(), probabilities.as_slice::<f32>()) {
            (Ok(label), Ok(probabilities))
                if label.len() == examples
                    && probabilities.len() == examples * labels
                    && label.iter().all(is_label) =>
            {
                Ok(Some(Self { labels: label.to_vec(), probabilities: probabilities.to_vec() }))
            }
            _ => Err(format!("{PREDICTED} is not of {examples} examples and {labels} labels")),
        }
    }
}

fn name(part: &str) -> String {
    format!("{PREDICTED}/{part}")
}

/// Objects as lines of JSON.
///
/// # Errors
/// An object that JSON cannot hold, which is a bug in the caller.
pub(crate) fn json_lines<T: Serialize>(
    objects: impl Iterator<Item = T>,
) -> Result<String, ProgramError> {
    let mut text = String::new();
    for object in objects {
        text += &serde_json::to_string(&object)
            .map_err(|error| ProgramError::Internal(error.to_string()))?;
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use rte::{Example, Task};

    use super::*;

    /// Three examples, two labels; of equal logits the first counts.
    fn predicted() -> Predicted {
        let device = Default::default();
        let of = |logits: &[[f32; 2]]| {
            let data = TensorData::new(logits.concat(), [logits.len(), 2]);
            Predicted::of(Tensor::<Flex, 2>::from_data(data, &device), logits.len())
        };
        let mut predicted = of(&[[0.0, 0.0], [3.0f32.ln(), 0.0]]);
        predicted.extend(of(&[[0.0, 200.0]]));
        predicted
    }

    #[test]
    fn rows_of_padding_are_no_predictions() {
        let logits = Tensor::<Flex, 2>::zeros([3, 2], &Default::default());
        let predicted = Predicted::of(logits, 2);
        assert_eq!((predicted.len(), predicted.probabilities), (2, vec![0.5; 4]));
    }

    #[test]
    fn predictions_have_the_names_of_the_labels_and_of_the_examples() {
        let predicted = predicted();
        assert_eq!((predicted.len(), predicted.labels().collect()), (3, vec![0, 0, 1]));
        // The model has the labels in another order than the task, and in upper case.
        let example =
            |label, idx| Example { text: format!("text {idx}"), text_pair: None, label, idx };
        let task = Task::from_columns("text", None, "label", vec!["no".into(), "yes".into()]);
        let examples = vec![example(Some(0), 7), example(None, 8), example(Some(1), 7)];
        let dataset = TextDataset::from_examples(examples, &task.expect("a task"), "examples");
        let lines =
            json_lines(predicted.labelled(&["YES", "NO"], &[1, 0], &dataset)).expect("JSON");
        assert_eq!(
            lines,
            "{\"idx\":7,\"label\":\"YES\",\"probabilities\":{\"YES\":0.5,\"NO\":0.5},\"text\":\"text 7\",\"true_label\":\"NO\"}\n\
             {\"idx\":7,\"label\":\"NO\",\"probabilities\":{\"YES\":0.0,\"NO\":1.0},\"text\":\"text 7\",\"true_label\":\"YES\"}\n"
        );
    }

    #[test]
    fn predictions_survive_a_checkpoint() {
        let mut tensors = predicted().to_tensors();
        tensors.insert("parameter/w".into(), TensorData::new(vec![1.0f32], [1]));
        let taken = Predicted::take(&mut tensors.clone(), [3, 2]).expect("read");
        assert_eq!(taken, Some(predicted()));
        for other in [[2, 2], [3, 1], [3, 3]] {
            let error = Predicted::take(&mut tensors.clone(), other).expect_err("refused");
            assert!(error.contains("best_predicted"), "{error}");
        }
        Predicted::take(&mut tensors, [3, 2]).expect("read");
        assert_eq!(tensors.into_keys().collect::<Vec<_>>(), ["parameter/w"]);
        // A checkpoint of an earlier version has none.
        assert_eq!(Predicted::take(&mut Tensors::new(), [3, 2]), Ok(None));
    }
}
