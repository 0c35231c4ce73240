//! The batches of each optimizer step, in the seeded order.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rte::{EncodedExample, TextBatch, TextBatcher};

/// Loads the batches of each optimizer step, through all epochs of a run.
///
/// Every epoch has each example once, in an order that depends on nothing but the seed and the number of the epoch; the
/// last step of an epoch takes the examples that are left. So loading can start at any step, which
/// resuming needs. (Burn's own loader yields one epoch, whose order it does not tell, and cannot start within it.)
#[derive(Clone)]
pub(super) struct StepLoader<B: Backend> {
    /// The training examples.
    pub examples: Arc<Vec<EncodedExample>>,
    /// Makes a batch of the examples of one device's share.
    pub batcher: TextBatcher,
    /// Examples in a batch.
    pub batch_size: usize,
    /// Batches in a step.
    pub batches_per_step: usize,
    /// The seed of the order.
    pub seed: u64,
    /// The number of steps taken before, which are skipped.
    pub steps_taken: usize,
    /// The number of steps in the run.
    pub total_steps: usize,
    /// The devices. Each batch is cut into as many shares, one for each device.
    pub devices: Vec<B::Device>,
}

impl<B: Backend> StepLoader<B> {
    fn examples_per_step(&self) -> usize {
        self.batch_size.saturating_mul(self.batches_per_step)
    }

    fn steps_per_epoch(&self) -> usize {
        self.examples.len().div_ceil(self.examples_per_step())
    }

    /// The order of the examples in an epoch, counted from 0.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        // All epochs share one random stream, so the orders of the earlier ones are drawn again.
        let mut rng = StdRng::seed_from_u64(self.seed);
        for _ in 0..=epoch {
            order.sort_unstable();
            order.shuffle(&mut rng);
        }
        order
    }

    /// The steps that are left.
    pub(super) fn steps(&self) -> Steps<'_, B> {
        Steps { loader: self, step: self.steps_taken, order: Vec::new() }
    }
}

/// The steps of a [`StepLoader`].
pub(super) struct Steps<'a, B: Backend> {
    loader: &'a StepLoader<B>,
    /// The next step, counted from 0.
    step: usize,
    /// The order of the current epoch; empty before the first.
    order: Vec<usize>,
}

impl<B: Backend> Iterator for Steps<'_, B> {
    type Item = Vec<TextBatch<B>>;

    fn next(&mut self) -> Option<Self::Item> {
        let loader = self.loader;
        if self.step >= loader.total_steps {
            return None;
        }
        let (epoch, step) =
            (self.step / loader.steps_per_epoch(), self.step % loader.steps_per_epoch());
        if step == 0 || self.order.is_empty() {
            self.order = loader.order(epoch);
        }
        self.step += 1;
        let examples = self.order.chunks(loader.examples_per_step()).nth(step)?;
        let share = |(examples, device): (&[usize], &B::Device)| {
            let examples = examples.iter().map(|&index| loader.examples[index].clone());
            loader.batcher.batch(examples.collect(), device)
        };
        let share_size = loader.batch_size.div_ceil(loader.devices.len());
        let batches = examples.chunks(loader.batch_size);
        let shares = batches.flat_map(|batch| batch.chunks(share_size).zip(&loader.devices));
        Some(shares.map(share).collect())
    }
}

// burn-train's Learner takes its data by these traits.

impl<B: Backend> DataLoaderIterator<Vec<TextBatch<B>>> for Steps<'_, B> {
    fn progress(&self) -> Progress {
        Progress::new(self.step, self.loader.total_steps)
    }
}

impl<B: Backend> DataLoader<B, Vec<TextBatch<B>>> for StepLoader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Vec<TextBatch<B>>> + 'a> {
        Box::new(self.steps())
    }

    fn num_items(&self) -> usize {
        self.examples.len()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, Vec<TextBatch<B>>>> {
        Arc::new(Self { devices: vec![device.clone()], ..self.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, Vec<TextBatch<B>>>> {
        let examples = Arc::new(self.examples[start..end].to_vec());
        Arc::new(Self { examples, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use rte::Padding;

    fn loader(examples: usize, batch_size: usize) -> StepLoader<Flex> {
        let example = |idx| EncodedExample {
            input_ids: vec![idx as u32 + 1; 1 + idx % 3],
            token_type_ids: vec![0; 1 + idx % 3],
            label: Some(idx % 2),
            idx,
        };
        StepLoader {
            examples: Arc::new((0..examples).map(example).collect()),
            batcher: TextBatcher {
                padding: Padding::Longest,
                max_length: 8,
                pad_token_id: 0,
                rows: None,
            },
            batch_size,
            batches_per_step: 1,
            seed: 7,
            steps_taken: 0,
            total_steps: 1000,
            devices: vec![Default::default()],
        }
    }

    /// The examples of each of the next steps.
    fn take(loader: &StepLoader<Flex>, steps: usize) -> Vec<Vec<usize>> {
        let examples = |step: Vec<TextBatch<Flex>>| step.into_iter().flat_map(|batch| batch.idx);
        loader.steps().take(steps).map(|step| examples(step).collect()).collect()
    }

    #[test]
    fn each_epoch_has_every_example_once_in_a_different_order() {
        let loader = StepLoader { batches_per_step: 2, ..loader(20, 3) };
        let steps = take(&loader, 12);
        let epochs: Vec<&[Vec<usize>]> = steps.chunks(4).collect();
        for steps in &epochs {
            assert_eq!(steps.iter().map(Vec::len).collect::<Vec<_>>(), [6, 6, 6, 2]);
            let mut all: Vec<usize> = steps.concat();
            all.sort_unstable();
            assert_eq!(all, (0..20).collect::<Vec<_>>());
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_ne!(epochs[1], epochs[2]);
    }

    #[test]
    fn the_order_depends_on_the_seed_alone() {
        let order = |seed| take(&StepLoader { seed, ..loader(20, 4) }, 10);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn the_run_ends_at_its_last_step() {
        let loader = StepLoader { total_steps: 4, ..loader(10, 4) };
        let sizes: Vec<usize> = take(&loader, 9).iter().map(Vec::len).collect();
        assert_eq!(sizes, [4, 4, 2, 4]);
    }

    #[test]
    fn a_run_resumes_from_any_step() {
        let all = StepLoader { batches_per_step: 2, total_steps: 8, ..loader(10, 2) };
        let steps = take(&all, 9);
        assert_eq!(steps.len(), 8);
        for steps_taken in 0..=8 {
            let rest = take(&StepLoader { steps_taken, ..all.clone() }, 9);
            assert_eq!(rest, steps[steps_taken..], "after {steps_taken} steps");
        }
    }

    #[test]
    fn progress_counts_steps() {
        let loader = StepLoader { total_steps: 3, ..loader(5, 2) };
        let mut steps = loader.iter();
        steps.next();
        assert_eq!((steps.progress().items_processed, steps.progress().items_total), (1, 3));
    }
}
