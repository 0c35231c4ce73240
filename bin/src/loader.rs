//! Batches in the seeded order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rte::{EncodedExample, RteBatch, RteBatcher};

/// Loads the examples of one optimizer step at a time, as one or several batches.
///
/// Every epoch sees each example once, in an order that depends on nothing but the seed and the
/// epoch's number; the last step of an epoch takes what is left. Validation has no seed and keeps
/// the order of the data. (Burn's own loader cannot stop at a step in the middle of an epoch, group
/// the batches of a step, or say what order it is in.)
#[derive(Clone)]
pub struct Loader<B: Backend> {
    examples: Arc<Vec<EncodedExample>>,
    batcher: RteBatcher,
    batch_size: usize,
    batches_per_step: usize,
    order: Order,
    device: B::Device,
}

#[derive(Clone)]
enum Order {
    /// As the data has it.
    Given,
    /// Shuffled anew each epoch, for so many steps in all.
    Shuffled { seed: u64, total_steps: usize, epoch: Arc<AtomicUsize>, skip: Arc<AtomicUsize> },
}

impl<B: Backend> Loader<B> {
    /// All of `examples` in their own order, batch by batch.
    pub fn in_order(
        examples: Vec<EncodedExample>,
        batcher: RteBatcher,
        batch_size: usize,
        device: B::Device,
    ) -> Self {
        Self {
            examples: Arc::new(examples),
            batcher,
            batch_size,
            batches_per_step: 1,
            order: Order::Given,
            device,
        }
    }

    /// `examples` in a new order each epoch, up to `total_steps` optimizer steps of
    /// `batches_per_step` batches, as if `done` steps had been taken. After an epoch's last step the next is the end of
    /// that epoch, which has no more steps.
    pub fn shuffled(
        self,
        seed: u64,
        batches_per_step: usize,
        total_steps: usize,
        done: usize,
    ) -> Self {
        let steps_per_epoch = self.examples.len().div_ceil(self.batch_size * batches_per_step);
        let epoch = epochs_before(done, steps_per_epoch);
        let skip = done - epoch * steps_per_epoch;
        let [epoch, skip] = [epoch, skip].map(|count| Arc::new(AtomicUsize::new(count)));
        let order = Order::Shuffled { seed, total_steps, epoch, skip };
        Self { batches_per_step, order, ..self }
    }

    /// The next epoch's examples, as indices, and how many of them are done already.
    fn next_epoch(&self) -> (Vec<usize>, usize) {
        let mut indices: Vec<usize> = (0..self.examples.len()).collect();
        let mut done = 0;
        if let Order::Shuffled { seed, total_steps, epoch, skip } = &self.order {
            let epoch = epoch.fetch_add(1, Ordering::Relaxed);
            // Epoch by epoch from one stream: any epoch's order can be had again.
            let mut rng = StdRng::seed_from_u64(*seed);
            for _ in 0..=epoch {
                indices.sort_unstable();
                indices.shuffle(&mut rng);
            }
            let steps_before = epoch * indices.len().div_ceil(self.step_size());
            indices.truncate(total_steps.saturating_sub(steps_before) * self.step_size());
            done = indices.len().min(skip.swap(0, Ordering::Relaxed) * self.step_size());
        }
        (indices, done)
    }

    fn step_size(&self) -> usize {
        self.batch_size * self.batches_per_step
    }
}

impl<B: Backend> DataLoader<B, Vec<RteBatch<B>>> for Loader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Vec<RteBatch<B>>> + 'a> {
        let (indices, position) = self.next_epoch();
        Box::new(Epoch { loader: self, indices, position })
    }

    fn num_items(&self) -> usize {
        self.examples.len()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, Vec<RteBatch<B>>>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, Vec<RteBatch<B>>>> {
        let examples = Arc::new(self.examples[start..end].to_vec());
        Arc::new(Self { examples, ..self.clone() })
    }
}

/// The epochs that are over when `done` steps are taken; the one under way is not, even after its last step.
pub fn epochs_before(done: usize, steps_per_epoch: usize) -> usize {
    done.saturating_sub(1) / steps_per_epoch.max(1)
}

struct Epoch<'a, B: Backend> {
    loader: &'a Loader<B>,
    indices: Vec<usize>,
    position: usize,
}

impl<B: Backend> Iterator for Epoch<'_, B> {
    type Item = Vec<RteBatch<B>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Loader { examples, batcher, batch_size, device, .. } = self.loader;
        let end = self.indices.len().min(self.position + self.loader.step_size());
        let step = &self.indices[self.position..end];
        self.position = end;
        let batches = step.chunks(*batch_size).map(|batch| {
            let batch = batch.iter().map(|&index| examples[index].clone()).collect();
            batcher.batch(batch, device)
        });
        (!step.is_empty()).then(|| batches.collect())
    }
}

impl<B: Backend> DataLoaderIterator<Vec<RteBatch<B>>> for Epoch<'_, B> {
    fn progress(&self) -> Progress {
        Progress::new(self.position, self.indices.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use rte::Padding;

    fn loader(examples: usize, batch_size: usize) -> Loader<Flex> {
        let example = |idx| EncodedExample {
            input_ids: vec![idx as u32 + 1; 1 + idx % 3],
            token_type_ids: vec![0; 1 + idx % 3],
            label: Some(idx % 2),
            idx,
        };
        let batcher = RteBatcher { padding: Padding::Longest, max_length: 8, pad_token_id: 0 };
        let examples = (0..examples).map(example).collect();
        Loader::in_order(examples, batcher, batch_size, Default::default())
    }

    /// Each step's examples in the next epoch.
    fn epoch(loader: &Loader<Flex>) -> Vec<Vec<usize>> {
        let examples = |step: Vec<RteBatch<Flex>>| step.into_iter().flat_map(|batch| batch.idx);
        loader.iter().map(|step| examples(step).collect()).collect()
    }

    #[test]
    fn validation_keeps_the_order() {
        let loader = loader(5, 2);
        assert_eq!(epoch(&loader), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(epoch(&loader), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn each_epoch_has_every_example_once_in_an_order_of_its_own() {
        let loader = loader(20, 3).shuffled(7, 2, 1000, 0);
        let epochs: Vec<Vec<Vec<usize>>> = (0..3).map(|_| epoch(&loader)).collect();
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
        let orders = |seed| {
            let loader = loader(20, 4).shuffled(seed, 1, 1000, 0);
            [epoch(&loader), epoch(&loader)]
        };
        assert_eq!(orders(1), orders(1));
        assert_ne!(orders(1), orders(2));
    }

    #[test]
    fn the_run_ends_at_its_last_step() {
        let loader = loader(10, 4).shuffled(1, 1, 4, 0);
        let steps: Vec<usize> = (0..3).map(|_| epoch(&loader).len()).collect();
        assert_eq!(steps, [3, 1, 0]);
    }

    #[test]
    fn a_run_goes_on_from_any_step() {
        let whole = loader(10, 2).shuffled(1, 2, 8, 0);
        let steps: Vec<_> = (0..3).flat_map(|_| epoch(&whole)).collect();
        assert_eq!(steps.len(), 8);
        for done in 0..=8 {
            let rest = loader(10, 2).shuffled(1, 2, 8, done);
            let epochs = 3 - epochs_before(done, 3);
            let rest: Vec<_> = (0..epochs).map(|_| epoch(&rest)).collect();
            assert_eq!(rest.concat(), steps[done..], "after {done} steps");
            // The end of an epoch comes before the next one's steps: there is an evaluation between them.
            assert_eq!(rest[0].is_empty(), [3, 6, 8].contains(&done));
        }
    }

    #[test]
    fn progress_counts_examples() {
        let loader = loader(5, 2);
        let mut epoch = loader.iter();
        epoch.next();
        assert_eq!((epoch.progress().items_processed, epoch.progress().items_total), (2, 5));
    }
}
