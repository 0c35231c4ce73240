//! Seeded choices, the same on every machine.

use std::cell::RefCell;

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// A random stream, shared by all functions that draw from it. It draws only 32-bit integers, so that results do not depend
/// on the word size of the machine.
#[derive(Debug)]
pub(crate) struct Draw(RefCell<ChaCha8Rng>);

impl Draw {
    /// The stream of a seed. Each use of a seed has a different `stream` number.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(RefCell::new(rng))
    }

    /// A number below `count`.
    pub(crate) fn below(&self, count: usize) -> usize {
        self.0.borrow_mut().random_range(0..count as u32) as usize
    }

    /// Heads or tails.
    pub(crate) fn coin(&self) -> bool {
        self.below(2) == 0
    }

    /// True once in `count` times.
    pub(crate) fn one_in(&self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// One of the items.
    pub(crate) fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// `N` different ones of the items, in any order.
    pub(crate) fn distinct<'a, T, const N: usize>(&self, items: &'a [T]) -> [&'a T; N] {
        let mut indices = [usize::MAX; N];
        for filled in 0..N {
            while indices[filled] == usize::MAX || indices[..filled].contains(&indices[filled]) {
                indices[filled] = self.below(items.len());
            }
        }
        indices.map(|index| &items[index])
    }

    /// The items in any order.
    pub(crate) fn shuffle<T>(&self, items: &mut [T]) {
        items.shuffle(&mut *self.0.borrow_mut());
    }
}
