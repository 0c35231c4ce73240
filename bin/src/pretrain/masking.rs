//! Batches for pretraining: documents with masked words, whose two parts may be swapped.

use burn::data::dataloader::batcher::Batcher;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rte::{EncodedExample, TextBatch, TextBatcher};

/// The first token id of a word; the ids before it are `<pad>`, `<unk>`, `[CLS]`, `[SEP]` and `[MASK]`.
pub(super) const FIRST_WORD: u32 = 5;
const MASK: u32 = 4;

/// A document with some of its words masked.
#[derive(Clone, Debug)]
pub(super) struct Masked {
    /// The document; its label is 1 if its parts are swapped, else 0.
    pub example: EncodedExample,
    /// The position and the original token id of each masked word.
    pub targets: Vec<(usize, u32)>,
}

/// The share of words to predict.
const HIDDEN: f64 = 0.15;

/// The number of followers kept for each word.
const FOLLOWERS: usize = 100;

/// Masks words at random, as BERT does (Devlin et al., arXiv 1810.04805, section 3.1).
///
/// BERT replaces most of these words by `[MASK]` and some by any other word, which rarely fits its context and so reveals
/// that it is wrong. Here the replacement is a word that has followed the same word elsewhere, and replacements and
/// unchanged words are more frequent: the model must compare each word with the rest of the document.
#[derive(Debug)]
pub(super) struct Masking {
    rng: StdRng,
    /// By word: the words that followed it most recently, and the count of all that did.
    followers: Vec<(Vec<u32>, usize)>,
}

impl Masking {
    /// The masks of a seed.
    pub(super) fn new(seed: u64, vocab_size: usize) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), followers: vec![(Vec::new(), 0); vocab_size] }
    }

    /// Whether to swap the two parts of a document: true for half of the documents.
    pub(super) fn switches(&mut self) -> bool {
        self.rng.random_bool(0.5)
    }

    /// Choose the words to predict, at least one in a document. Of these, 50 % become `[MASK]`, 30 % another word
    /// that has followed the previous word, and 20 % are unchanged.
    pub(super) fn mask(&mut self, mut example: EncodedExample) -> Masked {
        let original = example.input_ids.clone();
        self.see(&original);
        let words: Vec<usize> =
            (0..original.len()).filter(|&at| original[at] >= FIRST_WORD).collect();
        let mut positions: Vec<usize> =
            words.iter().copied().filter(|_| self.rng.random_bool(HIDDEN)).collect();
        if positions.is_empty() && !words.is_empty() {
            positions.push(words[self.rng.random_range(0..words.len())]);
        }
        let targets = positions.into_iter().map(|at| {
            let word = original[at];
            example.input_ids[at] = match self.rng.random_range(0..10_u32) {
                0..2 => word,
                2..5 => {
                    let (followers, _) = &self.followers[original[at - 1] as usize];
                    followers[self.rng.random_range(0..followers.len() as u32) as usize]
                }
                _ => MASK,
            };
            (at, word)
        });
        let targets = targets.collect();
        Masked { example, targets }
    }

    /// Record which word followed which.
    fn see(&mut self, ids: &[u32]) {
        for pair in ids.windows(2).filter(|pair| pair[1] >= FIRST_WORD) {
            let (followers, seen) = &mut self.followers[pair[0] as usize];
            match followers.len() < FOLLOWERS {
                true => followers.push(pair[1]),
                false => followers[*seen % FOLLOWERS] = pair[1],
            }
            *seen += 1;
        }
    }
}

/// Documents as tensors.
#[derive(Clone, Debug)]
pub(super) struct MaskedBatch<B: Backend> {
    /// The documents; the label is 1 where the parts are swapped.
    pub batch: TextBatch<B>,
    /// `[n]`: the positions of the masked words in the flattened batch.
    pub positions: Tensor<B, 1, Int>,
    /// `[n]`: the original token ids of the masked words.
    pub words: Tensor<B, 1, Int>,
}

/// Make a batch of documents padded to the longest.
pub(super) fn masked_batch<B: Backend>(
    batcher: &TextBatcher,
    documents: Vec<Masked>,
    device: &B::Device,
) -> MaskedBatch<B> {
    let (examples, targets): (Vec<_>, Vec<_>) =
        documents.into_iter().map(|document| (document.example, document.targets)).unzip();
    let batch: TextBatch<B> = batcher.batch(examples, device);
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

    /// `length` different words, of which neighbours are `step` apart.
    fn example(length: u32, step: u32) -> EncodedExample {
        let words = (0..length).map(|at| FIRST_WORD + at * step % length);
        EncodedExample {
            input_ids: [2].into_iter().chain(words).chain([3]).collect(),
            token_type_ids: vec![0; length as usize + 2],
            label: Some(0),
            idx: 0,
        }
    }

    #[test]
    fn a_share_of_the_words_is_masked_half_of_them_by_the_mask_token() {
        let mut masking = Masking::new(7, 1000);
        let (mut hidden, mut masks, mut kept) = (0, 0, 0);
        for step in (1..101).cycle().take(1000) {
            let original = example(101, step);
            let Masked { example: masked, targets } = masking.mask(original.clone());
            hidden += targets.len();
            for (at, word) in targets {
                assert_eq!(word, original.input_ids[at]);
                masks += usize::from(masked.input_ids[at] == MASK);
                kept += usize::from(masked.input_ids[at] == word);
            }
            assert_eq!((masked.input_ids[0], masked.input_ids[102]), (2, 3));
        }
        let near = |count: usize, share: f64| (count as f64 - share).abs() < 4.0 * share.sqrt();
        assert!(near(hidden, 101_000.0 * HIDDEN), "{hidden}");
        assert!(near(masks, 0.5 * hidden as f64), "{masks}");
        // A hundredth of the replacements are the original word by chance.
        assert!(near(kept, 0.203 * hidden as f64), "{kept}");
    }

    #[test]
    fn replacements_have_followed_the_previous_word() {
        let mut masking = Masking::new(7, 1000);
        for step in (1..4).cycle().take(500) {
            let original = example(101, step);
            let Masked { example: masked, targets } = masking.mask(original.clone());
            for (at, word) in
                targets.into_iter().filter(|&(at, _)| at > 1 && masked.input_ids[at] != MASK)
            {
                let before = original.input_ids[at - 1];
                let ahead = (101 + masked.input_ids[at] - before) % 101;
                assert!((1..4).contains(&ahead), "{before} {word} {ahead}");
            }
        }
    }

    #[test]
    fn a_short_document_has_one_masked_word() {
        let mut masking = Masking::new(7, 1000);
        assert!((0..100).all(|_| masking.mask(example(1, 1)).targets.len() == 1));
    }

    #[test]
    fn positions_count_through_padded_rows() {
        let document = |length, at| Masked { example: example(length, 1), targets: vec![(at, 9)] };
        let batcher =
            TextBatcher { padding: Padding::Longest, max_length: 32, pad_token_id: 0, rows: None };
        let documents = vec![document(1, 1), document(4, 2)];
        let batch = masked_batch::<Flex>(&batcher, documents, &Default::default());
        batch.positions.to_data().assert_eq(&TensorData::from([1_i64, 6 + 2]), false);
        batch.words.to_data().assert_eq(&TensorData::from([9_i64, 9]), false);
    }
}
