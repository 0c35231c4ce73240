//! Seeded subsets of a split: a sample, and a part set aside for validation.

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{RteError, TextDataset};

impl TextDataset {
    /// At most `max_examples` examples, drawn without replacement by `seed` and kept in their order; a smaller split as
    /// it is. The same seed draws the same examples.
    pub fn sample(&self, max_examples: usize, seed: u64) -> Self {
        let mut positions: Vec<usize> = (0..self.examples().len()).collect();
        if positions.len() > max_examples {
            positions.shuffle(&mut StdRng::seed_from_u64(seed));
            positions.truncate(max_examples);
            positions.sort_unstable();
        }
        self.select(&positions)
    }

    /// Divides a split into a training and a validation part, which has `share` of the examples of each label, drawn by
    /// `seed`, rounded, and at least one where the label has two. Both parts keep the examples' order.
    ///
    /// # Errors
    ///
    /// [`RteError::InvalidShare`] where a part would be empty.
    pub fn divide(&self, share: f64, seed: u64) -> Result<(Self, Self), RteError> {
        let examples = self.examples();
        let mut random = StdRng::seed_from_u64(seed);
        let (mut training, mut validation) = (Vec::new(), Vec::new());
        let labels = (0..self.task().labels.len()).map(Some).chain([None]);
        for label in labels {
            let mut positions: Vec<usize> =
                (0..examples.len()).filter(|position| examples[*position].label == label).collect();
            positions.shuffle(&mut random);
            let held_out = match positions.len() {
                0 | 1 => 0,
                count => ((count as f64 * share).round() as usize).clamp(1, count - 1),
            };
            validation.extend_from_slice(&positions[..held_out]);
            training.extend_from_slice(&positions[held_out..]);
        }
        if !(share > 0.0 && share < 1.0) || training.is_empty() || validation.is_empty() {
            return Err(RteError::InvalidShare { share, examples: examples.len() });
        }
        training.sort_unstable();
        validation.sort_unstable();
        Ok((self.select(&training), self.select(&validation)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Example, testing};

    /// 90 examples of one label, 10 of the other.
    fn dataset() -> TextDataset {
        let example = |idx: usize| Example {
            text: "a".to_owned(),
            text_pair: Some("b".to_owned()),
            label: Some(usize::from(idx.is_multiple_of(10))),
            idx,
        };
        TextDataset::from_examples((0..100).map(example).collect(), &testing::rte(), "rows")
    }

    fn idx(dataset: &TextDataset) -> Vec<usize> {
        dataset.examples().iter().map(|example| example.idx).collect()
    }

    #[test]
    fn a_sample_depends_on_its_seed_alone_and_keeps_the_order() {
        let sample = idx(&dataset().sample(20, 1));
        assert_eq!(sample.len(), 20);
        assert!(sample.is_sorted());
        assert_eq!(sample, idx(&dataset().sample(20, 1)));
        assert_ne!(sample, idx(&dataset().sample(20, 2)));
        assert_ne!(sample, (0..20).collect::<Vec<_>>());
        assert_eq!(idx(&dataset().sample(100, 1)), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_subset_lacks_a_label_only_where_one_of_its_examples_does() {
        let mut examples = dataset().examples().to_vec();
        let (head, tail): (Vec<usize>, Vec<usize>) = (0..100).partition(|position| *position < 50);
        examples[70].label = None;
        let dataset = TextDataset::from_examples(examples, &testing::rte(), "rows");
        dataset.select(&head).require_labels().unwrap();
        let error = dataset.select(&tail).require_labels().unwrap_err().to_string();
        assert!(error.starts_with("rows, row 71: the label is missing"), "{error}");
    }

    #[test]
    fn a_validation_part_has_its_share_of_every_label() {
        let (training, validation) = dataset().divide(0.2, 1).unwrap();
        let labels = |dataset: &TextDataset| {
            dataset.examples().iter().filter(|example| example.label == Some(1)).count()
        };
        assert_eq!((idx(&training).len(), labels(&training)), (80, 8));
        assert_eq!((idx(&validation).len(), labels(&validation)), (20, 2));
        let mut all = [idx(&training), idx(&validation)].concat();
        assert!(idx(&training).is_sorted() && idx(&validation).is_sorted());
        all.sort();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(idx(&validation), idx(&dataset().divide(0.2, 1).unwrap().1));
        assert_ne!(idx(&validation), idx(&dataset().divide(0.2, 2).unwrap().1));
    }

    #[test]
    fn a_share_that_leaves_a_part_empty_is_refused() {
        for share in [0.0, 1.0, -0.1, f64::NAN] {
            let error = dataset().divide(share, 1).unwrap_err().to_string();
            assert!(error.contains("of 100 examples leaves no example"), "{error}");
        }
        assert!(dataset().sample(1, 1).divide(0.5, 1).is_err());
    }
}
