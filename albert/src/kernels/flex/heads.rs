//! The heads of attention: blocks of a matrix that has a row for each token.

use std::ops::Range;

use burn::backend::flex::FlexTensor;

use crate::kernels::TokenLayout;
use crate::kernels::flex::elements::{map_chunks, rows_per_task};
use crate::kernels::flex::operation::{tensor, width};
use crate::kernels::flex::product::Matrix;

/// The rows of a sequence.
pub(super) fn rows(layout: &TokenLayout, sequence: usize) -> Range<usize> {
    layout.first_row(sequence)..layout.first_row(sequence + 1)
}

/// The block of `rows` and of `size` columns that belongs to a head: the heads of a matrix lie next to each other.
pub(super) fn block(
    matrix: &FlexTensor,
    rows: Range<usize>,
    head: usize,
    size: usize,
) -> Matrix<'_> {
    Matrix::block(matrix.storage(), width(matrix), rows, head * size..(head + 1) * size)
}

/// The inverse of [`block`]: the matrix of these blocks, given for each group of heads in the order of sequences and then
/// heads. The groups lie next to each other.
pub(super) fn join_heads(
    layout: &TokenLayout,
    groups: &[Vec<Vec<f32>>],
    heads: usize,
    size: usize,
) -> FlexTensor {
    let columns = groups.len() * heads * size;
    let mut output = vec![0.0; layout.rows() * columns];
    let rows_per_task = rows_per_task(columns);
    map_chunks(&mut output, (rows_per_task * columns).max(1), |task, rows| {
        for (index, output) in rows.chunks_exact_mut(columns).enumerate() {
            let row = task * rows_per_task + index;
            let sequence = layout.position(row) / layout.length();
            let row = row - layout.first_row(sequence);
            for (part, values) in output.chunks_exact_mut(size).enumerate() {
                let block = &groups[part / heads][sequence * heads + part % heads];
                values.copy_from_slice(&block[row * size..][..size]);
            }
        }
    });
    tensor(output, [layout.rows(), columns])
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::{Int, Tensor};

    use super::*;
    use crate::kernels::flex::operation::primitive;
    use crate::kernels::flex::testing::draw;

    #[test]
    fn heads_are_blocks_and_joined_again() {
        let mask = Tensor::<Flex, 2, Int>::from_ints(
            [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]],
            &Default::default(),
        );
        let layout = TokenLayout::packed(&mask);
        let matrix = primitive(draw::<Flex, 2>([12, 12], 1));
        let elements = matrix.storage::<f32>();
        assert_eq!([0, 1, 2, 3].map(|i| rows(&layout, i)), [0..2, 2..4, 4..8, 8..12]);
        let groups = [0, 3].map(|first| {
            let blocks = (0..4).flat_map(|sequence| {
                let layout = &layout;
                (first..first + 3).map(move |head| {
                    let block = |row| &elements[row * 12 + head * 2..][..2];
                    rows(layout, sequence).flat_map(block).copied().collect::<Vec<_>>()
                })
            });
            blocks.collect::<Vec<_>>()
        });
        for (sequence, head) in [(0, 0), (1, 2), (3, 5)] {
            let elements = block(&matrix, rows(&layout, sequence), head, 2).to_vec();
            assert_eq!(elements, groups[head / 3][sequence * 3 + head % 3]);
        }
        assert_eq!(join_heads(&layout, &groups, 3, 2).storage::<f32>(), elements);
    }
}
