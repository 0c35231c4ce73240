//! Which places of a padded batch have a row in a matrix of tokens.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::backend::Backend;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use crate::kernels::numbers::{map_chunks, rows_per_task};
use crate::kernels::operation::{is_flex_backend, tensor};

/// The rows of a matrix `[rows, width]` as places in a batch `[batch, length]`, in the batch's order: every place has a
/// row, or only some have, so that nothing is computed for the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    batch: usize,
    length: usize,
    /// The place of each row, counted through the batch; `None` if every place has a row.
    rows: Option<Arc<[usize]>>,
}

impl Places {
    /// Every place has a row.
    pub fn all(batch: usize, length: usize) -> Self {
        Self { batch, length, rows: None }
    }

    /// The places with a token, those where `mask` `[batch, length]` is not 0, and each sequence's first place; all of a
    /// sequence that has no token.
    ///
    /// Where looking at the mask means to wait for a device, on any backend but flex, it is every place.
    pub fn of_tokens<B: Backend>(mask: &Tensor<B, 2, Int>) -> Self {
        let [batch, length] = mask.dims();
        if is_flex_backend::<B>() {
            let mask: Vec<bool> = mask.to_data().iter::<i64>().map(|token| token != 0).collect();
            Self::of(batch, length, &mask)
        } else {
            Self::all(batch, length)
        }
    }

    fn of(batch: usize, length: usize, mask: &[bool]) -> Self {
        let mut rows = Vec::with_capacity(mask.len());
        for (sequence, mask) in mask.chunks_exact(length.max(1)).enumerate() {
            let empty = mask.iter().all(|token| !token);
            let places = (0..length).filter(|&place| mask[place] || place == 0 || empty);
            rows.extend(places.map(|place| sequence * length + place));
        }
        let rows = (rows.len() < mask.len()).then(|| rows.into());
        Self { batch, length, rows }
    }

    /// Each sequence's first place alone.
    pub fn first(&self) -> Self {
        Self::all(self.batch, 1)
    }

    /// The rows of the sequences' first places.
    pub fn first_rows(&self) -> Vec<usize> {
        (0..self.batch).map(|sequence| self.start(sequence)).collect()
    }

    /// How many sequences there are.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// How many places each sequence has.
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.as_ref().map_or(self.batch * self.length, |rows| rows.len())
    }

    /// The rows of a matrix that has one for every place, `[batch · length, width]`.
    pub fn gather<B: Backend>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self.indices(&x.device()) {
            Some(indices) => x.select(0, indices),
            None => x,
        }
    }

    /// A matrix with a row for every place; the opposite of [`gather`](Self::gather), with zeros where there is no row.
    pub fn spread<B: Backend>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [_, width] = x.dims();
        match self.indices(&x.device()) {
            Some(indices) => {
                Tensor::zeros([self.batch * self.length, width], (&x.device(), x.dtype()))
                    .select_assign(0, indices, x, IndexingUpdateOp::Add)
            }
            None => x,
        }
    }

    /// Each row's place, counted through the batch, `[rows]`; `None` if every place has a row.
    pub fn indices<B: Backend>(&self, device: &B::Device) -> Option<Tensor<B, 1, Int>> {
        let rows: Vec<i64> = self.rows.as_ref()?.iter().map(|&place| place as i64).collect();
        let count = rows.len();
        Some(Tensor::from_data(TensorData::new(rows, [count]), device))
    }

    /// Each row's place in its sequence.
    pub fn columns(&self) -> Vec<usize> {
        (0..self.rows()).map(|row| self.place(row) % self.length).collect()
    }

    /// The first row of a sequence.
    fn start(&self, sequence: usize) -> usize {
        let place = sequence * self.length;
        self.rows.as_ref().map_or(place, |rows| rows.partition_point(|&row| row < place))
    }

    fn place(&self, row: usize) -> usize {
        self.rows.as_ref().map_or(row, |rows| rows[row])
    }

    /// Columns `from..from + heads · size` of a matrix of rows, as `[batch, heads, length, size]` with zeros where there
    /// is no row.
    pub(crate) fn split_heads(
        &self,
        matrix: &FlexTensor,
        from: usize,
        heads: usize,
        size: usize,
    ) -> FlexTensor {
        let Self { batch, length, .. } = *self;
        let columns = crate::kernels::operation::width(matrix);
        let numbers = matrix.storage::<f32>();
        let mut output = vec![0.0; batch * heads * length * size];
        map_chunks(&mut output, (heads * length * size).max(1), |sequence, output| {
            for row in self.start(sequence)..self.start(sequence + 1) {
                let place = self.place(row) - sequence * length;
                let row = &numbers[row * columns + from..][..heads * size];
                for (head, values) in row.chunks_exact(size).enumerate() {
                    output[(head * length + place) * size..][..size].copy_from_slice(values);
                }
            }
        });
        tensor(output, [batch, heads, length, size])
    }

    /// The opposite of [`split_heads`](Self::split_heads): a matrix of rows, each of them the heads of one tensor after
    /// the other.
    pub(crate) fn join_heads(
        &self,
        tensors: &[FlexTensor],
        heads: usize,
        size: usize,
    ) -> FlexTensor {
        let length = self.length;
        let numbers: Vec<&[f32]> = tensors.iter().map(|tensor| tensor.storage::<f32>()).collect();
        let columns = tensors.len() * heads * size;
        let mut output = vec![0.0; self.rows() * columns];
        let rows_per_task = rows_per_task(columns);
        map_chunks(&mut output, (rows_per_task * columns).max(1), |task, rows| {
            for (index, row) in rows.chunks_exact_mut(columns).enumerate() {
                let place = self.place(task * rows_per_task + index);
                let (sequence, place) = (place / length, place % length);
                for (part, values) in row.chunks_exact_mut(size).enumerate() {
                    let (tensor, head) = (part / heads, part % heads);
                    let from = ((sequence * heads + head) * length + place) * size;
                    values.copy_from_slice(&numbers[tensor][from..][..size]);
                }
            }
        });
        tensor(output, [self.rows(), columns])
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::*;
    use crate::kernels::testing::{numbers, values};

    fn places() -> Places {
        let mask = Tensor::<Flex, 2, Int>::from_ints(
            [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]],
            &Default::default(),
        );
        Places::of_tokens(&mask)
    }

    #[test]
    fn tokens_first_places_and_sequences_without_tokens_have_rows() {
        let places = places();
        let rows = [0, 1, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(places.rows.as_deref(), Some(&rows[..]));
        assert_eq!(places.first_rows(), [0, 2, 4, 8]);
        assert_eq!(places.columns(), [0, 1, 0, 2, 0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!((places.rows(), places.first()), (12, Places::all(4, 1)));
    }

    #[test]
    fn without_padding_every_place_has_a_row() {
        let mask = Tensor::<Flex, 2, Int>::ones([3, 5], &Default::default());
        assert_eq!(Places::of_tokens(&mask), Places::all(3, 5));
        assert_eq!(Places::all(3, 5).first_rows(), [0, 5, 10]);
    }

    #[test]
    fn spreading_is_undone_by_gathering() {
        let x = numbers::<Flex, 2>([12, 3], 1);
        let spread = places().spread(x.clone());
        assert_eq!(values(spread.clone().narrow(0, 2, 2)), [0.0; 6]);
        assert_eq!(values(places().gather(spread)), values(x));
    }

    #[test]
    fn heads_are_split_and_joined() {
        let places = places();
        let matrix = numbers::<Flex, 2>([12, 12], 1);
        let flex = crate::kernels::operation::primitive(matrix.clone());
        let [left, right] = [0, 6].map(|from| places.split_heads(&flex, from, 3, 2));
        let expected = places.spread(matrix.clone()).narrow(1, 6, 6);
        let expected = expected.reshape([4, 4, 3, 2]).swap_dims(1, 2);
        assert_eq!(right.storage::<f32>(), values(expected));
        let joined = places.join_heads(&[left, right], 3, 2);
        assert_eq!(joined.storage::<f32>(), values(matrix));
    }
}
