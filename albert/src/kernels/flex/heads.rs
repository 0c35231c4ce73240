//! A matrix with a row for each token, split into heads and joined again.

use burn::backend::flex::FlexTensor;

use crate::kernels::TokenLayout;
use crate::kernels::flex::elements::{map_chunks, rows_per_task};
use crate::kernels::flex::operation::{tensor, width};

/// Columns `from..from + heads · size` of a matrix of rows, as `[batch, heads, length, size]` with zeros where there is
/// no row.
pub(super) fn split_heads(
    layout: &TokenLayout,
    matrix: &FlexTensor,
    from: usize,
    heads: usize,
    size: usize,
) -> FlexTensor {
    let (batch, length) = (layout.batch(), layout.length());
    let columns = width(matrix);
    let elements = matrix.storage::<f32>();
    let mut output = vec![0.0; batch * heads * length * size];
    map_chunks(&mut output, (heads * length * size).max(1), |sequence, output| {
        for row in layout.first_row(sequence)..layout.first_row(sequence + 1) {
            let position = layout.position(row) - sequence * length;
            let row = &elements[row * columns + from..][..heads * size];
            for (head, values) in row.chunks_exact(size).enumerate() {
                output[(head * length + position) * size..][..size].copy_from_slice(values);
            }
        }
    });
    tensor(output, [batch, heads, length, size])
}

/// The inverse of [`split_heads`]: a matrix of rows, the heads of each tensor left of those of the next.
pub(super) fn join_heads(
    layout: &TokenLayout,
    tensors: &[FlexTensor],
    heads: usize,
    size: usize,
) -> FlexTensor {
    let length = layout.length();
    let tensors: Vec<&[f32]> = tensors.iter().map(|tensor| tensor.storage::<f32>()).collect();
    let columns = tensors.len() * heads * size;
    let mut output = vec![0.0; layout.rows() * columns];
    let rows_per_task = rows_per_task(columns);
    map_chunks(&mut output, (rows_per_task * columns).max(1), |task, rows| {
        for (index, row) in rows.chunks_exact_mut(columns).enumerate() {
            let position = layout.position(task * rows_per_task + index);
            let (sequence, position) = (position / length, position % length);
            for (part, values) in row.chunks_exact_mut(size).enumerate() {
                let (tensor, head) = (part / heads, part % heads);
                let from = ((sequence * heads + head) * length + position) * size;
                values.copy_from_slice(&tensors[tensor][from..][..size]);
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
    use crate::kernels::flex::testing::{draw, values};

    #[test]
    fn heads_are_split_and_joined() {
        let mask = Tensor::<Flex, 2, Int>::from_ints(
            [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]],
            &Default::default(),
        );
        let layout = TokenLayout::packed(&mask);
        let matrix = draw::<Flex, 2>([12, 12], 1);
        let flex = primitive(matrix.clone());
        let [left, right] = [0, 6].map(|from| split_heads(&layout, &flex, from, 3, 2));
        let expected = layout.unpack(matrix.clone()).narrow(1, 6, 6);
        #[expect(clippy::disallowed_methods, reason = "the view is only read")]
        let expected = expected.reshape([4, 4, 3, 2]).swap_dims(1, 2);
        assert_eq!(right.storage::<f32>(), values(expected));
        let joined = join_heads(&layout, &[left, right], 3, 2);
        assert_eq!(joined.storage::<f32>(), values(matrix));
    }
}
