//! Matrix products by the crate `gemm`, each thread computing its own part of the result.
//!
//! Flex's own product zeroes its result and copies it before `gemm` writes it, and leaves multi-threading to `gemm`,
//! which packs one of the factors on a single thread: a tenth of a training step on one core. Here the result's memory is
//! written once, by the threads that compute it. `gemm` takes pointers, so this module holds the crate's only unsafe
//! code; what it relies on is asserted.
#![expect(unsafe_code, reason = "gemm takes pointers, and results are not zeroed first")]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;
use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use crate::kernels::flex::operation::tensor;

/// Below this many multiplications a second thread costs more than it saves.
const SERIAL: usize = 1 << 22;

/// Parts start at multiples of this, the size of `gemm`'s own blocks.
const PIECE: usize = 64;

/// The least length of a side that is cut in two, and of the other side. For smaller parts `gemm` may add in another order
/// than for the whole, and the result would depend on the number of threads.
const SHORTEST_CUT: usize = 4 * PIECE;
const SHORTEST_UNCUT: usize = PIECE / 2;

/// Matrices of one size, `[…, rows, columns]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrices<'a> {
    elements: &'a [f32],
    batch: &'a [usize],
    /// The element in row i and column j of the first is `elements[i · row_stride + j · column_stride]`.
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrices<'a> {
    /// The matrices of a contiguous tensor of rank 2 or more.
    pub(crate) fn of(tensor: &'a FlexTensor) -> Self {
        let shape = tensor.layout().shape().as_slice();
        let (batch, matrix) = shape.split_at(shape.len() - 2);
        let (rows, columns) = (matrix[0], matrix[1]);
        let elements = tensor.storage();
        Self { elements, batch, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The matrix with this index in the batch.
    fn get(self, index: usize) -> Self {
        let size = self.rows * self.columns;
        Self { elements: &self.elements[index * size..][..size], batch: &[], ..self }
    }

    fn split_rows(self, row: usize) -> [Self; 2] {
        let lower = &self.elements[row * self.row_stride..];
        [Self { rows: row, ..self }, Self { elements: lower, rows: self.rows - row, ..self }]
    }

    fn split_columns(self, column: usize) -> [Self; 2] {
        self.transposed().split_rows(column).map(Self::transposed)
    }

    /// Whether all its elements are among `elements`.
    fn is_inside(&self) -> bool {
        let last = self.rows.saturating_sub(1) * self.row_stride
            + self.columns.saturating_sub(1) * self.column_stride;
        self.rows * self.columns == 0 || last < self.elements.len()
    }
}

/// `left` · `right` for each matrix of a batch: `[…, m, k]` and `[…, k, n]` give `[…, m, n]`.
///
/// The order of the sums over k depends on the shapes and on what is transposed, on nothing else.
pub(crate) fn product(left: Matrices<'_>, right: Matrices<'_>) -> FlexTensor {
    assert_eq!(left.batch, right.batch, "the factors' batch dimensions differ");
    let [m, n] = [left.rows, right.columns];
    let batch: usize = left.batch.iter().product();
    let length = batch * m * n;
    let mut output: Vec<f32> = Vec::with_capacity(length);
    let elements = &mut output.spare_capacity_mut()[..length];
    let threads = rayon::current_num_threads();
    let parts = if batch < threads { threads } else { 1 };
    let compute = |(index, result)| {
        Part { left: left.get(index), right: right.get(index), result: Target::new(result, m, n) }
            .compute(parts);
    };
    let size = (m * n).max(1);
    if batch == 1 || length * left.columns < SERIAL {
        elements.chunks_exact_mut(size).enumerate().for_each(compute);
    } else {
        elements.par_chunks_exact_mut(size).enumerate().for_each(compute);
    }
    // SAFETY: the capacity is `length` at least, and `compute` has written every element of every matrix.
    unsafe { output.set_len(length) };
    let shape = Shape::from([left.batch, &[m, n]].concat());
    tensor(output, [length]).reshape(shape)
}

/// Memory of a matrix in which rows are contiguous, and which nothing else uses during 'a.
struct Target<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    /// From a row to the next.
    stride: usize,
    memory: PhantomData<&'a mut [MaybeUninit<f32>]>,
}

// SAFETY: it stands for the exclusive borrow of its matrix's elements.
unsafe impl Send for Target<'_> {}

impl<'a> Target<'a> {
    fn new(elements: &'a mut [MaybeUninit<f32>], rows: usize, columns: usize) -> Self {
        assert_eq!(elements.len(), rows * columns, "the matrix's memory");
        let start = elements.as_mut_ptr().cast();
        Self { start, rows, columns, stride: columns, memory: PhantomData }
    }

    fn split_rows(self, row: usize) -> [Self; 2] {
        assert!(row < self.rows, "a row of the matrix");
        // SAFETY: `row` is a row of the matrix, so the start of it lies in the same memory.
        let start = unsafe { self.start.add(row * self.stride) };
        [Self { rows: row, ..self }, Self { start, rows: self.rows - row, ..self }]
    }

    fn split_columns(self, column: usize) -> [Self; 2] {
        assert!(column < self.columns && self.rows > 0, "a column of the matrix");
        // SAFETY: `column` is a column of the matrix, so its first element lies in the same memory.
        let start = unsafe { self.start.add(column) };
        [Self { columns: column, ..self }, Self { start, columns: self.columns - column, ..self }]
    }
}

/// A product to compute, or a part of one.
struct Part<'a> {
    left: Matrices<'a>,
    right: Matrices<'a>,
    result: Target<'a>,
}

impl Part<'_> {
    /// Computes it on up to `threads` threads, depending on its size.
    fn compute(self, threads: usize) {
        let (m, k, n) = (self.left.rows, self.left.columns, self.right.columns);
        let half = threads / 2;
        let cuts = |side, other| side >= SHORTEST_CUT && other >= SHORTEST_UNCUT;
        let place = |side: usize| (side * half / threads).next_multiple_of(PIECE);
        // Columns first, rows only of what is far taller than wide: by measurement.
        let halves = if half == 0 || m * k * n < SERIAL {
            Err(self)
        } else if cuts(n, m) && m < 4 * n {
            Ok(self.split_columns(place(n)))
        } else if cuts(m, n) {
            Ok(self.split_rows(place(m)))
        } else {
            Err(self)
        };
        match halves {
            Ok([first, second]) => {
                rayon::join(|| first.compute(half), || second.compute(threads - half));
            }
            Err(whole) => whole.compute_here(),
        }
    }

    fn split_rows(self, row: usize) -> [Self; 2] {
        let [upper, lower] = self.left.split_rows(row);
        let [above, below] = self.result.split_rows(row);
        [Self { left: upper, result: above, ..self }, Self { left: lower, result: below, ..self }]
    }

    fn split_columns(self, column: usize) -> [Self; 2] {
        let [first, second] = self.right.split_columns(column);
        let [before, after] = self.result.split_columns(column);
        [
            Self { right: first, result: before, ..self },
            Self { right: second, result: after, ..self },
        ]
    }

    fn compute_here(self) {
        let Self { left, right, result } = self;
        assert_eq!(
            left.columns, right.rows,
            "the left columns and the right rows differ in number"
        );
        assert_eq!((left.rows, right.columns), (result.rows, result.columns), "the result's shape");
        assert!(left.is_inside() && right.is_inside(), "a factor reaches beyond its elements");
        // SAFETY: the factors' elements are inside of their slices, as just asserted; the result's memory belongs to
        // `result` alone, and is not read before it is written: `read_dst` is false.
        unsafe {
            gemm(
                result.rows,
                result.columns,
                left.columns,
                result.start,
                1,
                result.stride as isize,
                false,
                left.elements.as_ptr(),
                left.column_stride as isize,
                left.row_stride as isize,
                right.elements.as_ptr(),
                right.column_stride as isize,
                right.row_stride as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::ops::FloatTensorOps;

    use super::*;
    use crate::kernels::flex::operation::primitive;
    use crate::kernels::flex::testing;

    /// Odd sizes, each side the longest once, many sums, and sizes that are cut several times.
    const SIZES: [[usize; 3]; 9] = [
        [1, 1, 1],
        [3, 0, 5],
        [0, 4, 3],
        [7, 1100, 9],
        [33, 600, 300],
        [600, 300, 33],
        [300, 1500, 700],
        [1400, 40, 258],
        [258, 129, 1027],
    ];

    fn draw(shape: &[usize], seed: u32) -> FlexTensor {
        let flat = testing::draw::<Flex, 1>([shape.iter().product()], seed);
        primitive(flat).reshape(Shape::from(shape.to_vec()))
    }

    /// Flex's product of the same, without a part for each thread.
    fn expected(left: &FlexTensor, right: &FlexTensor) -> Vec<f32> {
        Flex::float_matmul(left.clone(), right.clone()).storage::<f32>().to_vec()
    }

    #[test]
    fn any_number_of_threads_gives_the_bits_of_flex() {
        for threads in [1, 2, 3, 8, 17] {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            for [m, k, n] in SIZES {
                let (left, right) = (draw(&[m, k], 1), draw(&[k, n], 2));
                let (high, wide) = (draw(&[k, m], 3), draw(&[n, k], 4));
                for (ours, flex) in [
                    ([Matrices::of(&left), Matrices::of(&right)], expected(&left, &right)),
                    (
                        [Matrices::of(&high).transposed(), Matrices::of(&right)],
                        expected(&high.transpose(0, 1), &right),
                    ),
                    (
                        [Matrices::of(&left), Matrices::of(&wide).transposed()],
                        expected(&left, &wide.transpose(0, 1)),
                    ),
                ] {
                    let result = pool.install(|| product(ours[0], ours[1]));
                    assert_eq!(result.layout().shape().as_slice(), [m, n]);
                    assert_eq!(result.storage::<f32>(), flex, "{m} × {k} × {n}, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn each_matrix_of_a_batch_has_its_product() {
        for [m, k, n] in [[2, 3, 4], [70, 16, 90]] {
            let (left, right) = (draw(&[5, 4, m, k], 1), draw(&[5, 4, n, k], 2));
            let result = product(Matrices::of(&left), Matrices::of(&right).transposed());
            assert_eq!(result.layout().shape().as_slice(), [5, 4, m, n]);
            assert_eq!(result.storage::<f32>(), expected(&left, &right.transpose(2, 3)));
        }
    }

    #[test]
    #[should_panic(expected = "the left columns and the right rows differ in number")]
    fn factors_that_do_not_fit_are_refused() {
        let (left, right) = (draw(&[4, 3], 1), draw(&[2, 5], 2));
        product(Matrices::of(&left), Matrices::of(&right));
    }
}
