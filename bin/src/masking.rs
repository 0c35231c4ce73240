//! Batches to pretrain on: masked words, and parts of a text in their order or switched.

use burn::data::dataloader::batcher::Batcher;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rte::{EncodedExample, RteBatch, RteBatcher};

/// Ids from here on are text; those before are `<pad>`, `<unk>`, `[CLS]`, `[SEP]` and `[MASK]`.
pub const FIRST_WORD: u32 = 5;
const MASK: u32 = 4;

/// A document with some of its words hidden.
#[derive(Clone, Debug)]
pub struct Masked {
    /// The document; its label says whether its parts are switched.
    pub example: EncodedExample,
    /// What is to be found: each hidden word's place in the document, and the word.
    pub targets: Vec<(usize, u32)>,
}

/// Hides words at random, as BERT does (Devlin et al., arXiv 1810.04805, section 3.1).
#[derive(Debug)]
pub struct Masking {
    rng: StdRng,
    vocab_size: u32,
}

impl Masking {
    /// The stream of choices of a seed.
    pub fn new(seed: u64, vocab_size: usize) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), vocab_size: vocab_size as u32 }
    }

    /// Whether to switch a document's two parts: for one half of all.
    pub fn switches(&mut self) -> bool {
        self.rng.random_bool(0.5)
    }

    /// Each word is to be found again with probability 0.15, at least one in a document. Of these, 80 % become
    /// `[MASK]`, 10 % any word, and 10 % stay.
    pub fn mask(&mut self, mut example: EncodedExample) -> Masked {
        let is_word = |id: u32| id >= FIRST_WORD;
        let words: Vec<usize> =
            (0..example.input_ids.len()).filter(|&at| is_word(example.input_ids[at])).collect();
        let mut places: Vec<usize> =
            words.iter().copied().filter(|_| self.rng.random_bool(0.15)).collect();
        if places.is_empty() && !words.is_empty() {
            places.push(words[self.rng.random_range(0..words.len())]);
        }
        let targets = places.into_iter().map(|at| {
            let word = example.input_ids[at];
            example.input_ids[at] = match self.rng.random_range(0..10_u32) {
                0 => word,
                1 => self.rng.random_range(FIRST_WORD..self.vocab_size),
                _ => MASK,
            };
            (at, word)
        });
        let targets = targets.collect();
        Masked { example, targets }
    }
}

/// Documents as tensors.
#[derive(Clone, Debug)]
pub struct MaskedBatch<B: Backend> {
    /// The documents; a label of 1 where the parts are switched.
    pub batch: RteBatch<B>,
    /// `[n]`: where words are hidden, counted through the batch's rows.
    pub positions: Tensor<B, 1, Int>,
    /// `[n]`: the hidden words.
    pub words: Tensor<B, 1, Int>,
}

/// Pads documents to the longest.
pub fn masked_batch<B: Backend>(
    batcher: &RteBatcher,
    documents: Vec<Masked>,
    device: &B::Device,
) -> MaskedBatch<B> {
    let (examples, targets): (Vec<_>, Vec<_>) =
        documents.into_iter().map(|document| (document.example, document.targets)).unzip();
    let batch: RteBatch<B> = batcher.batch(examples, device);
    let [_, length] = batch.input_ids.dims();
    let (positions, words): (Vec<i64>, Vec<i64>) = targets
        .iter()
        .enumerate()
        .flat_map(|(row, targets)| targets.iter().map(move |target| (row, target)))
        .map(|(row, &(at, word))| ((row * length + at) as i64, i64::from(word)))
        .unzip();
    let tensor = |values: Vec<i64>| {
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), device)
    };
    MaskedBatch { batch, positions: tensor(positions), words: tensor(words) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use rte::Padding;

    fn example(length: u32) -> EncodedExample {
        EncodedExample {
            input_ids: [2].into_iter().chain(FIRST_WORD..FIRST_WORD + length).chain([3]).collect(),
            token_type_ids: vec![0; length as usize + 2],
            label: Some(0),
            idx: 0,
        }
    }

    #[test]
    fn a_seventh_of_the_words_is_hidden_most_of_them_by_the_mask() {
        let mut masking = Masking::new(7, 1000);
        let (mut hidden, mut masks, mut kept) = (0, 0, 0);
        for _ in 0..1000 {
            let Masked { example: masked, targets } = masking.mask(example(100));
            hidden += targets.len();
            for (at, word) in targets {
                assert_eq!(word, example(100).input_ids[at]);
                masks += usize::from(masked.input_ids[at] == MASK);
                kept += usize::from(masked.input_ids[at] == word);
            }
            assert_eq!((masked.input_ids[0], masked.input_ids[101]), (2, 3));
        }
        let near = |count: usize, share: f64| (count as f64 - share).abs() < 4.0 * share.sqrt();
        assert!(near(hidden, 15_000.0), "{hidden}");
        assert!(near(masks, 0.8 * hidden as f64), "{masks}");
        assert!(near(kept, 0.1 * hidden as f64), "{kept}");
    }

    #[test]
    fn a_short_document_hides_one_word() {
        let mut masking = Masking::new(7, 1000);
        assert!((0..100).all(|_| masking.mask(example(1)).targets.len() == 1));
    }

    #[test]
    fn positions_count_through_padded_rows() {
        let document = |length, at| Masked { example: example(length), targets: vec![(at, 9)] };
        let batcher = RteBatcher { padding: Padding::Longest, max_length: 32, pad_token_id: 0 };
        let documents = vec![document(1, 1), document(4, 2)];
        let batch = masked_batch::<Flex>(&batcher, documents, &Default::default());
        batch.positions.to_data().assert_eq(&TensorData::from([1_i64, 6 + 2]), false);
        batch.words.to_data().assert_eq(&TensorData::from([9_i64, 9]), false);
    }
}
