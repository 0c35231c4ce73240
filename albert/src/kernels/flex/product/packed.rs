//! A product by a [`Kernel`]: packing of the factors, and the order of the tiles.
//!
//! Factors are rounded to the nearest bf16, ties to even, while they are packed into the order in which the kernel reads
//! them: *panels* of the rows of a tile for the left factor and of its columns for the right one. A panel holds *pairs*,
//! two successive elements of the sum over k in 32 bits, the first in the lower half, and is padded with zeros.
//!
//! Each element of the result is summed over k in one order, whichever thread computes it and whatever the sizes of
//! the matrices.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::avx512::{self, LANES};
use super::bf16::rounded_bits;
use super::{Matrix, SERIAL};
use crate::kernels::flex::elements::vectorized;

/// Pairs of elements of k that are summed before the next tile's turn: a right panel's share then stays in the nearest
/// cache, next to AVX-512's left one.
const BLOCK: usize = 192;

/// At most this many left panels belong to a task; their share of a block stays in the second cache.
const PANELS_PER_TASK: usize = 8;

/// Columns of a tile of the result: the part that stays in registers during the sum over k.
pub(super) const TILE_COLUMNS: usize = 32;

/// Multiplies the panels of a tile. A value is used on the thread that created it, at most one at a time.
pub(super) trait Kernel<const WIDTH: usize> {
    /// Rows of a tile.
    const ROWS: usize;

    /// The number of pairs per row of a panel is a multiple of this.
    const STEP: usize;

    /// Packs `rows` rows of a matrix from `first` on, at most [`ROWS`](Self::ROWS), into a zeroed panel.
    fn pack_left(matrix: Matrix<'_>, first: usize, rows: usize, panel: &mut [[u32; WIDTH]]);

    /// Prepares the calling thread.
    fn start() -> Self;

    /// Writes the product of two panels to `tile`, or adds it to what an earlier call wrote there.
    fn multiply(
        &self,
        left: &[[u32; WIDTH]],
        right: &[[u32; TILE_COLUMNS]],
        tile: Tile<'_>,
        adds: bool,
    );
}

/// Part of a matrix in row-major order.
pub(super) struct Tile<'a> {
    elements: &'a mut [MaybeUninit<f32>],
    stride: usize,
    size: [usize; 2],
}

impl<'a> Tile<'a> {
    /// From the first of `elements` on, with `stride` from a row to the next.
    ///
    /// # Panics
    /// If it is empty or reaches beyond the elements.
    pub(super) fn new(
        elements: &'a mut [MaybeUninit<f32>],
        stride: usize,
        [rows, columns]: [usize; 2],
    ) -> Self {
        assert!(rows > 0 && (1..=TILE_COLUMNS.min(stride)).contains(&columns), "the tile's size");
        assert!((rows - 1) * stride + columns <= elements.len(), "the tile's memory");
        Self { elements, stride, size: [rows, columns] }
    }

    /// The first of its elements, which are all valid for writes.
    pub(super) fn start(&mut self) -> *mut f32 {
        self.elements.as_mut_ptr().cast()
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> [usize; 2] {
        self.size
    }
}

/// The bits of a pair.
#[inline(always)]
pub(super) fn pair(first: f32, second: f32) -> u32 {
    rounded_bits(first) >> 16 | rounded_bits(second)
}

/// One side of a product, rounded and packed.
struct Packed<const WIDTH: usize> {
    elements: Vec<[u32; WIDTH]>,
    /// The length of a panel.
    panel: usize,
    /// The length of a block of k in a panel.
    block: usize,
}

impl<const WIDTH: usize> Packed<WIDTH> {
    /// Packs a matrix `[rows, k]` into panels of `height` rows with `pairs` pairs each.
    fn of(
        matrix: Matrix<'_>,
        [height, pairs]: [usize; 2],
        pack_panel: impl Fn(Matrix<'_>, usize, usize, &mut [[u32; WIDTH]]) + Sync,
    ) -> Self {
        let [panel, block] = [pairs, BLOCK].map(|pairs| pairs * height / WIDTH);
        let mut elements = vec![[0; WIDTH]; matrix.rows.div_ceil(height) * panel];
        let pack = |(index, panel): (usize, &mut [[u32; WIDTH]])| {
            let first = index * height;
            let rows = height.min(matrix.rows - first);
            vectorized(
                #[inline(always)]
                || pack_panel(matrix, first, rows, panel),
            );
        };
        if elements.len() * WIDTH < SERIAL / 64 {
            elements.chunks_exact_mut(panel.max(1)).enumerate().for_each(pack);
        } else {
            elements.par_chunks_exact_mut(panel.max(1)).enumerate().for_each(pack);
        }
        Self { elements, panel, block }
    }

    /// The share of a panel in a block of k.
    fn block(&self, panel: usize, block: usize) -> &[[u32; WIDTH]] {
        let from = block * self.block;
        let length = self.block.min(self.panel - from);
        &self.elements[panel * self.panel + from..][..length]
    }
}

/// Packs `rows` rows from `first` on, pair by pair of k.
#[inline(always)]
pub(super) fn pack_panel<const WIDTH: usize>(
    matrix: Matrix<'_>,
    first: usize,
    rows: usize,
    panel: &mut [[u32; WIDTH]],
) {
    if matrix.row_stride == 1 {
        for (index, pairs) in panel.iter_mut().enumerate() {
            pack_columns(matrix, first, rows, index, pairs);
        }
    } else {
        for (step, panel) in panel.chunks_mut(LANES).enumerate() {
            for above in (0..rows).step_by(LANES) {
                let block = block_of_rows(matrix, first + above..first + rows, step);
                let count = LANES.min(WIDTH - above);
                for (panel, pairs) in panel.iter_mut().zip(avx512::pack(&block)) {
                    panel[above..][..count].copy_from_slice(&pairs[..count]);
                }
            }
        }
    }
}

/// Up to 16 rows of a step of 32 columns, padded with zeros. The matrix's rows must be contiguous.
#[inline(always)]
pub(super) fn block_of_rows(
    matrix: Matrix<'_>,
    rows: Range<usize>,
    step: usize,
) -> [[f32; 2 * LANES]; LANES] {
    assert_eq!(matrix.column_stride, 1, "neither rows nor columns are contiguous");
    let from = step * 2 * LANES;
    let to = matrix.columns.min(from + 2 * LANES);
    let mut block = [[0.0; 2 * LANES]; LANES];
    for (row, block) in rows.zip(&mut block) {
        let row = &matrix.elements[row * matrix.row_stride..];
        match row[from..].first_chunk() {
            Some(chunk) if to - from == 2 * LANES => *block = *chunk,
            _ => block[..to - from].copy_from_slice(&row[from..to]),
        }
    }
    block
}

/// As [`block_of_rows`], of a matrix whose columns are contiguous: pairs of columns.
#[inline(always)]
pub(super) fn block_of_columns(
    matrix: Matrix<'_>,
    rows: Range<usize>,
    step: usize,
) -> [[u32; LANES]; LANES] {
    assert_eq!(matrix.row_stride, 1, "neither rows nor columns are contiguous");
    let count = rows.len().min(LANES);
    let mut block = [[0; LANES]; LANES];
    for (index, pairs) in block.iter_mut().enumerate() {
        pack_columns(matrix, rows.start, count, step * LANES + index, pairs);
    }
    block
}

/// Packs `rows` rows from `first` on of a pair of contiguous columns; columns past the end are zero.
#[inline(always)]
fn pack_columns<const WIDTH: usize>(
    matrix: Matrix<'_>,
    first: usize,
    rows: usize,
    index: usize,
    pairs: &mut [u32; WIDTH],
) {
    let zeros = [0.0; WIDTH];
    let [even, odd] = [2 * index, 2 * index + 1].map(|column| match column < matrix.columns {
        true => &matrix.elements[column * matrix.column_stride + first..][..rows],
        false => &zeros[..rows],
    });
    // A loop of constant length where they are as long as the panel is wide.
    match (even.first_chunk::<WIDTH>(), odd.first_chunk::<WIDTH>()) {
        (Some(even), Some(odd)) => pack_elements(even, odd, pairs),
        _ => pack_elements(even, odd, pairs),
    }
}

#[inline(always)]
fn pack_elements(even: &[f32], odd: &[f32], pairs: &mut [u32]) {
    for ((x, &first), &second) in pairs.iter_mut().zip(even).zip(odd) {
        *x = pair(first, second);
    }
}

/// Writes all elements of `left` · `right`, `[m, n]`, to `output`.
pub(super) fn multiply<K: Kernel<WIDTH>, const WIDTH: usize>(
    left: Matrix<'_>,
    right: Matrix<'_>,
    output: &mut [MaybeUninit<f32>],
    threads: usize,
) {
    const { assert!(BLOCK.is_multiple_of(K::STEP) && K::ROWS.is_multiple_of(WIDTH)) };
    let (m, k, n) = (left.rows, left.columns, right.columns);
    assert_eq!(k, right.rows, "the left columns and the right rows differ in number");
    assert_eq!(output.len(), m * n, "the result's memory");
    if output.is_empty() {
        return;
    }
    let pairs = k.div_ceil(2).next_multiple_of(K::STEP);
    // Closures, because functions that are passed on are not inlined into the vectorized loop.
    let pack_left = || {
        Packed::of(
            left,
            [K::ROWS, pairs],
            #[inline(always)]
            |matrix, first, rows, panel: &mut [_]| K::pack_left(matrix, first, rows, panel),
        )
    };
    let pack_right = || {
        Packed::of(
            right.transposed(),
            [TILE_COLUMNS, pairs],
            #[inline(always)]
            |matrix, first, rows, panel: &mut [_]| pack_panel(matrix, first, rows, panel),
        )
    };
    if threads == 1 || m * k * n < SERIAL {
        return multiply_rows::<K, WIDTH>(&pack_left(), 0, &pack_right(), output, n);
    }
    let (left, right) = rayon::join(pack_left, pack_right);
    let panels = m.div_ceil(K::ROWS);
    let panels = panels.div_ceil(4 * threads).min(PANELS_PER_TASK);
    output.par_chunks_mut(panels * K::ROWS * n).enumerate().for_each(|(task, rows)| {
        multiply_rows::<K, WIDTH>(&left, task * panels, &right, rows, n);
    });
}

/// Writes the rows of the result that begin with a left panel.
fn multiply_rows<K: Kernel<WIDTH>, const WIDTH: usize>(
    left: &Packed<WIDTH>,
    first_panel: usize,
    right: &Packed<TILE_COLUMNS>,
    rows: &mut [MaybeUninit<f32>],
    n: usize,
) {
    let kernel = K::start();
    // Without any k there is still a result to write: zeros.
    for block in 0..right.panel.div_ceil(BLOCK).max(1) {
        for column in (0..n).step_by(TILE_COLUMNS) {
            let right = right.block(column / TILE_COLUMNS, block);
            for (panel, rows) in rows.chunks_mut(K::ROWS * n).enumerate() {
                let left = left.block(first_panel + panel, block);
                let size = [rows.len() / n, TILE_COLUMNS.min(n - column)];
                let tile = Tile::new(&mut rows[column..], n, size);
                kernel.multiply(left, right, tile, block > 0);
            }
        }
    }
}
