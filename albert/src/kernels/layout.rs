//! Which positions of a padded batch have a row in a matrix of tokens.

use std::sync::Arc;

use burn::tensor::backend::Backend;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

#[cfg(feature = "flex")]
use crate::kernels::flex;

/// How the rows of a matrix `[rows, width]` map to the positions of a batch `[batch, length]`, in the batch's order.
///
/// *Padded*: every position has a row. *Packed*: only some have, so that nothing is computed for the padding.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLayout {
    batch: usize,
    length: usize,
    /// Each row's position, counted through the batch; `None` if every position has a row.
    rows: Option<Arc<[usize]>>,
}

impl TokenLayout {
    /// Every position has a row.
    pub fn padded(batch: usize, length: usize) -> Self {
        Self { batch, length, rows: None }
    }

    /// Rows for the positions where `mask` `[batch, length]` is not 0 and for each sequence's first position; all of a
    /// sequence that has no token.
    ///
    /// Looking at the mask means waiting for the device, so on any backend but flex the layout is
    /// [`padded`](Self::padded).
    pub fn packed<B: Backend>(mask: &Tensor<B, 2, Int>) -> Self {
        let [batch, length] = mask.dims();
        #[cfg(feature = "flex")]
        if flex::is_flex_backend::<B>() {
            let mask: Vec<bool> = mask.to_data().iter::<i64>().map(|token| token != 0).collect();
            return Self::of_mask(batch, length, &mask);
        }
        Self::padded(batch, length)
    }

    #[cfg(feature = "flex")]
    fn of_mask(batch: usize, length: usize, mask: &[bool]) -> Self {
        let mut rows = Vec::with_capacity(mask.len());
        for (sequence, mask) in mask.chunks_exact(length.max(1)).enumerate() {
            let empty = mask.iter().all(|token| !token);
            let positions = (0..length).filter(|&i| mask[i] || i == 0 || empty);
            rows.extend(positions.map(|i| sequence * length + i));
        }
        let rows = (rows.len() < mask.len()).then(|| rows.into());
        Self { batch, length, rows }
    }

    /// One row for each sequence: its first token.
    pub fn first_tokens(&self) -> Self {
        Self::padded(self.batch, 1)
    }

    /// The rows of the sequences' first tokens.
    pub fn first_rows(&self) -> Vec<usize> {
        (0..self.batch).map(|sequence| self.first_row(sequence)).collect()
    }

    /// The number of sequences.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The length of a padded sequence.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows.as_ref().map_or(self.batch * self.length, |rows| rows.len())
    }

    /// This layout's rows of the padded matrix `x`, `[batch · length, width]`.
    pub fn pack<B: Backend>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self.indices(&x.device()) {
            Some(indices) => x.select(0, indices),
            None => x,
        }
    }

    /// The inverse of [`pack`](Self::pack), with zeros where there is no row: `[rows, width]` to
    /// `[batch · length, width]`.
    pub fn unpack<B: Backend>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [_, width] = x.dims();
        match self.indices(&x.device()) {
            Some(indices) => {
                Tensor::zeros([self.batch * self.length, width], (&x.device(), x.dtype()))
                    .select_assign(0, indices, x, IndexingUpdateOp::Add)
            }
            None => x,
        }
    }

    /// Each row's position, counted through the batch, `[rows]`; `None` if every position has a row.
    pub fn indices<B: Backend>(&self, device: &B::Device) -> Option<Tensor<B, 1, Int>> {
        let rows: Vec<i64> = self.rows.as_ref()?.iter().map(|&position| position as i64).collect();
        let count = rows.len();
        Some(Tensor::from_data(TensorData::new(rows, [count]), device))
    }

    /// Each row's position in its sequence.
    pub fn positions(&self) -> Vec<usize> {
        (0..self.rows()).map(|row| self.position(row) % self.length).collect()
    }

    /// The first row of a sequence; of the sequence after the last, the number of rows.
    pub(super) fn first_row(&self, sequence: usize) -> usize {
        let position = sequence * self.length;
        self.rows.as_ref().map_or(position, |rows| rows.partition_point(|&row| row < position))
    }

    /// A row's position, counted through the batch.
    pub(super) fn position(&self, row: usize) -> usize {
        self.rows.as_ref().map_or(row, |rows| rows[row])
    }
}

#[cfg(feature = "flex")]
#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::*;
    use crate::kernels::flex::testing::{draw, values};

    fn packed() -> TokenLayout {
        let mask = Tensor::<Flex, 2, Int>::from_ints(
            [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]],
            &Default::default(),
        );
        TokenLayout::packed(&mask)
    }

    #[test]
    fn tokens_first_positions_and_sequences_without_tokens_have_rows() {
        let layout = packed();
        let rows = [0, 1, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(layout.rows.as_deref(), Some(&rows[..]));
        assert_eq!(layout.first_rows(), [0, 2, 4, 8]);
        assert_eq!(layout.positions(), [0, 1, 0, 2, 0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!((layout.rows(), layout.first_tokens()), (12, TokenLayout::padded(4, 1)));
    }

    #[test]
    fn without_padding_every_position_has_a_row() {
        let mask = Tensor::<Flex, 2, Int>::ones([3, 5], &Default::default());
        assert_eq!(TokenLayout::packed(&mask), TokenLayout::padded(3, 5));
        assert_eq!(TokenLayout::padded(3, 5).first_rows(), [0, 5, 10]);
    }

    #[test]
    fn packing_undoes_unpacking() {
        let x = draw::<Flex, 2>([12, 3], 1);
        let unpacked = packed().unpack(x.clone());
        assert_eq!(values(unpacked.clone().narrow(0, 2, 2)), [0.0; 6]);
        assert_eq!(values(packed().pack(unpacked)), values(x));
    }
}
