//! Matrix products: in float32 by the crate `gemm`, with [bf16] factors by kernels of their own.
//!
//! Each thread computes its own part of the result. Flex's own product zeroes its result and copies it before `gemm`
//! writes it, and leaves multi-threading to `gemm`, which packs one of the factors on a single thread: a tenth of a
//! training step on one core. Here the result's memory is written once, by the threads that compute it. `gemm` and vector
//! instructions take pointers, so this module, [avx512] and [amx] hold the crate's only unsafe code; what it relies on is
//! asserted.
#![expect(unsafe_code, reason = "gemm takes pointers, and results are not zeroed first")]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(super) mod bf16;
#[cfg(target_arch = "x86_64")]
mod packed;

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use burn::backend::flex::FlexTensor;
use gemm::{Parallelism, gemm};

use crate::kernels::Factors;
use crate::kernels::flex::elements::{map_chunks, rows_per_task, vectorized};
use crate::kernels::flex::operation::{tensor, width};
use bf16::Instructions;

/// Below this many multiplications a second thread costs more than it saves.
pub(super) const SERIAL: usize = 1 << 22;

/// Parts start at multiples of this, the size of `gemm`'s own blocks.
const PIECE: usize = 64;

/// The least length of a side that is cut in two, and of the other side. For smaller parts `gemm` may add in another order
/// than for the whole, and the result would depend on the number of threads.
const SHORTEST_CUT: usize = 4 * PIECE;
const SHORTEST_UNCUT: usize = PIECE / 2;

/// A matrix, or a block of one.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    elements: &'a [f32],
    /// The element in row i and column j is `elements[i · row_stride + j · column_stride]`.
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A contiguous tensor of rank 2.
    pub(crate) fn of(tensor: &'a FlexTensor) -> Self {
        let rows = tensor.layout().shape().first().copied().unwrap_or_default();
        Self { rows, ..Self::new(tensor.storage(), width(tensor)) }
    }

    /// A matrix in row-major order.
    pub(crate) fn new(elements: &'a [f32], columns: usize) -> Self {
        let rows = elements.len() / columns.max(1);
        Self { elements, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Part of a matrix in row-major order with rows of `width`.
    pub(crate) fn block(
        elements: &'a [f32],
        width: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Self {
        let elements = elements.get(rows.start * width + columns.start..).unwrap_or_default();
        let (rows, columns) = (rows.len(), columns.len());
        Self { elements, rows, columns, row_stride: width, column_stride: 1 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
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

    /// The elements, each rounded to bf16, and without what may lie between the rows or columns of a block.
    fn rounded(self) -> Vec<f32> {
        let matrix = if self.column_stride == 1 { self } else { self.transposed() };
        let columns = matrix.columns;
        let mut elements = vec![0.0; matrix.rows * columns];
        let rows_per_task = rows_per_task(columns);
        map_chunks(&mut elements, (rows_per_task * columns).max(1), |task, chunk| {
            vectorized(
                #[inline(always)]
                || {
                    for (index, rounded) in chunk.chunks_exact_mut(columns).enumerate() {
                        let row =
                            &matrix.elements[(task * rows_per_task + index) * matrix.row_stride..];
                        rounded.iter_mut().zip(row).for_each(|(y, &x)| *y = bf16::round(x));
                    }
                },
            );
        });
        elements
    }

    #[cfg(test)]
    pub(super) fn to_vec(self) -> Vec<f32> {
        let rows = (0..self.rows).map(|row| row * self.row_stride);
        rows.flat_map(|from| self.elements[from..][..self.columns].to_vec()).collect()
    }

    /// A matrix of the same shape whose elements have nothing between them.
    fn with_elements(self, elements: &'a [f32]) -> Self {
        let (row_stride, column_stride) =
            if self.column_stride == 1 { (self.columns, 1) } else { (1, self.rows) };
        Self { elements, row_stride, column_stride, ..self }
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

/// `left` · `right`: `[m, k]` and `[k, n]` give `[m, n]`.
///
/// The order of the sums over k depends on the shapes and on what is transposed, on nothing else.
pub(crate) fn product(left: Matrix<'_>, right: Matrix<'_>, factors: Factors) -> FlexTensor {
    let shape = [left.rows, right.columns];
    tensor(elements(left, right, factors, rayon::current_num_threads()), shape)
}

/// The elements of [`product`], for callers that keep the other threads busy themselves.
pub(crate) fn product_here(left: Matrix<'_>, right: Matrix<'_>, factors: Factors) -> Vec<f32> {
    elements(left, right, factors, 1)
}

fn elements(left: Matrix<'_>, right: Matrix<'_>, factors: Factors, threads: usize) -> Vec<f32> {
    match factors {
        Factors::AsGiven => product_fp32(left, right, threads),
        Factors::BFloat16 => product_bf16(left, right, threads, Instructions::best()),
    }
}

fn product_fp32(left: Matrix<'_>, right: Matrix<'_>, threads: usize) -> Vec<f32> {
    written(left.rows * right.columns, |result| {
        let result = Target::new(result, left.rows, right.columns);
        Part { left, right, result }.compute(threads);
    })
}

fn product_bf16(
    left: Matrix<'_>,
    right: Matrix<'_>,
    threads: usize,
    instructions: Instructions,
) -> Vec<f32> {
    match instructions {
        Instructions::Fp32 => {
            let [left_elements, right_elements] = [left, right].map(Matrix::rounded);
            let left = left.with_elements(&left_elements);
            product_fp32(left, right.with_elements(&right_elements), threads)
        }
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => written(left.rows * right.columns, |result| {
            packed::multiply::<avx512::Avx512, _>(left, right, result, threads);
        }),
        #[cfg(target_arch = "x86_64")]
        Instructions::Amx => written(left.rows * right.columns, |result| {
            packed::multiply::<amx::Amx, _>(left, right, result, threads);
        }),
    }
}

/// The elements that `write` writes, which must be all.
fn written(length: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut elements: Vec<f32> = Vec::with_capacity(length);
    write(&mut elements.spare_capacity_mut()[..length]);
    // SAFETY: the capacity is `length` at least, and the callers' products have written every element.
    unsafe { elements.set_len(length) };
    elements
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
    left: Matrix<'a>,
    right: Matrix<'a>,
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

    use burn::tensor::Shape;

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
                    ([Matrix::of(&left), Matrix::of(&right)], expected(&left, &right)),
                    (
                        [Matrix::of(&high).transposed(), Matrix::of(&right)],
                        expected(&high.transpose(0, 1), &right),
                    ),
                    (
                        [Matrix::of(&left), Matrix::of(&wide).transposed()],
                        expected(&left, &wide.transpose(0, 1)),
                    ),
                ] {
                    let result = pool.install(|| product(ours[0], ours[1], Factors::AsGiven));
                    assert_eq!(result.layout().shape().as_slice(), [m, n]);
                    assert_eq!(result.storage::<f32>(), flex, "{m} × {k} × {n}, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn blocks_of_matrices_are_factors() {
        let (left, right) = (draw(&[9, 40], 1), draw(&[12, 50], 2));
        let (rows, columns) = (2..7, 3..33);
        for factors in [Factors::AsGiven, Factors::BFloat16] {
            let blocks = [
                Matrix::block(left.storage(), 40, rows.clone(), columns.clone()),
                Matrix::block(right.storage(), 50, 1..12, columns.clone()),
            ];
            let copies = blocks.map(Matrix::to_vec);
            let [a, b] = [Matrix::new(&copies[0], 30), Matrix::new(&copies[1], 30)];
            let product = |a, b: Matrix<'_>| product_here(a, b.transposed(), factors);
            assert_eq!(product(blocks[0], blocks[1]), product(a, b));
        }
        assert!(Matrix::block(&[], 5, 0..0, 2..4).to_vec().is_empty());
    }

    /// Tile edges in each direction, blocks of k, odd k, several tasks, and nothing at all.
    const BF16_SIZES: [[usize; 3]; 18] = [
        [0, 4, 3],
        [3, 4, 0],
        [3, 0, 5],
        [1, 1, 1],
        [1, 70, 33],
        [11, 2, 31],
        [12, 3, 32],
        [13, 5, 33],
        [24, 255, 64],
        [25, 256, 16],
        [23, 257, 17],
        [36, 513, 15],
        [7, 1100, 9],
        [257, 129, 1],
        [300, 150, 130],
        [1000, 31, 95],
        [96, 768, 97],
        [97, 401, 200],
    ];

    /// All that this CPU supports, and AMX.
    fn instructions() -> Vec<Instructions> {
        let mut all = Instructions::available(None);
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if !all.contains(&Instructions::Amx) {
            amx::emulator::install();
            all.push(Instructions::Amx);
        }
        all
    }

    /// The product in float64 of the rounded factors, and the sums of the terms' magnitudes.
    fn exact(left: Matrix<'_>, right: Matrix<'_>) -> Vec<(f64, f64)> {
        let at = |m: Matrix<'_>, i: usize, j: usize| {
            f64::from(bf16::round(m.elements[i * m.row_stride + j * m.column_stride]))
        };
        let mut sums = vec![];
        for i in 0..left.rows {
            for j in 0..right.columns {
                let terms = (0..left.columns).map(|k| at(left, i, k) * at(right, k, j));
                sums.push(terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs())));
            }
        }
        sums
    }

    #[test]
    fn bf16_products_are_those_of_the_rounded_factors() {
        for instructions in instructions() {
            for [m, k, n] in BF16_SIZES {
                let (left, right) = (draw(&[m, k], 1), draw(&[k, n], 2));
                let (high, wide) = (draw(&[k, m], 3), draw(&[n, k], 4));
                for [left, right] in [
                    [Matrix::of(&left), Matrix::of(&right)],
                    [Matrix::of(&high).transposed(), Matrix::of(&right)],
                    [Matrix::of(&left), Matrix::of(&wide).transposed()],
                    [Matrix::of(&high).transposed(), Matrix::of(&wide).transposed()],
                ] {
                    let result = product_bf16(left, right, 2, instructions);
                    assert_eq!(result.len(), m * n);
                    for (x, (expected, size)) in result.into_iter().zip(exact(left, right)) {
                        let error = (f64::from(x) - expected).abs();
                        assert!(error <= 2e-6 * size, "{instructions:?} {m} × {k} × {n}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn bf16_products_have_the_same_bits_on_any_number_of_threads() {
        let on = |threads, [m, k, n]: [usize; 3], instructions| {
            let (left, right) = (draw(&[m, k], 1), draw(&[n, k], 2));
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let [left, right] = [Matrix::of(&left), Matrix::of(&right).transposed()];
            pool.install(|| product_bf16(left, right, threads, instructions))
        };
        for instructions in instructions() {
            for size in [[5, 7, 9], [600, 300, 33], [300, 1500, 700], [258, 129, 1027]] {
                let alone = on(1, size, instructions);
                for threads in [2, 3, 8, 17] {
                    assert_eq!(on(threads, size, instructions), alone, "{size:?} on {threads}");
                }
            }
        }
    }

    #[test]
    fn infinities_and_nan_stay_in_their_rows() {
        for instructions in instructions() {
            let left = draw(&[14, 3], 1);
            let mut elements = left.storage::<f32>().to_vec();
            (elements[0], elements[3]) = (f32::INFINITY, f32::NAN);
            let left = tensor(elements, [14, 3]);
            let ones = tensor(vec![1.0; 3 * 33], [3, 33]);
            let result = product_bf16(Matrix::of(&left), Matrix::of(&ones), 2, instructions);
            let rows: Vec<&[f32]> = result.chunks(33).collect();
            assert!(rows[0].iter().all(|&x| x == f32::INFINITY));
            assert!(rows[1].iter().all(|x| x.is_nan()));
            assert!(rows[2..].concat().iter().all(|x| x.is_finite()));
        }
    }

    #[test]
    #[should_panic(expected = "the left columns and the right rows differ in number")]
    fn bf16_factors_that_do_not_fit_are_refused() {
        let (left, right) = (draw(&[4, 3], 1), draw(&[2, 5], 2));
        product(Matrix::of(&left), Matrix::of(&right), Factors::BFloat16);
    }

    #[test]
    #[should_panic(expected = "the left columns and the right rows differ in number")]
    fn factors_that_do_not_fit_are_refused() {
        let (left, right) = (draw(&[4, 3], 1), draw(&[2, 5], 2));
        product(Matrix::of(&left), Matrix::of(&right), Factors::AsGiven);
    }
}
