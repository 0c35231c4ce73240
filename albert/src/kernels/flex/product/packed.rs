//! A product by the instructions of [`avx512`]: packing of the factors, and the order of the tiles.
//!
//! Factors are rounded to the nearest bf16, ties to even, while they are packed into the order in which the kernel reads
//! them: *panels* of [`TILE_ROWS`] rows of the left factor and of [`TILE_COLUMNS`] columns of the right one. A panel
//! holds two successive elements of the sum over k in 32 bits, the first in the lower half, and is padded with zeros.
//!
//! Each element of the result is summed over k in one order, whichever thread computes it and whatever the sizes of
//! the matrices.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::avx512::{self, LANES, TILE_COLUMNS, TILE_ROWS};
use super::bf16::rounded_bits;
use super::{Matrix, SERIAL};
use crate::kernels::flex::elements::vectorized;

/// Pairs of elements of k that are summed before the next tile's turn: a right panel's share then stays in the nearest
/// cache, next to a left one's.
const BLOCK: usize = 192;

/// At most this many left panels belong to a task; their share of a block stays in the second cache.
const PANELS_PER_TASK: usize = 8;

#[inline(always)]
fn pair(first: f32, second: f32) -> u32 {
    rounded_bits(first) >> 16 | rounded_bits(second)
}

/// One side of a product, rounded and packed: panels of `WIDTH` rows, each `[pairs of k, WIDTH]`.
struct Packed<const WIDTH: usize> {
    elements: Vec<[u32; WIDTH]>,
    /// Half of k, rounded up.
    pairs: usize,
}

impl<const WIDTH: usize> Packed<WIDTH> {
    /// Packs a matrix `[rows, k]`.
    fn of(matrix: Matrix<'_>) -> Self {
        let pairs = matrix.columns.div_ceil(2);
        let mut elements = vec![[0; WIDTH]; matrix.rows.div_ceil(WIDTH) * pairs];
        let pack = |(panel, elements): (usize, &mut [[u32; WIDTH]])| {
            let first = panel * WIDTH;
            let rows = WIDTH.min(matrix.rows - first);
            vectorized(
                #[inline(always)]
                || pack_panel(matrix, first, rows, elements),
            );
        };
        if elements.len() * WIDTH < SERIAL / 64 {
            elements.chunks_exact_mut(pairs.max(1)).enumerate().for_each(pack);
        } else {
            elements.par_chunks_exact_mut(pairs.max(1)).enumerate().for_each(pack);
        }
        Self { elements, pairs }
    }

    /// The share of a panel in a block of k.
    fn block(&self, panel: usize, block: usize) -> &[[u32; WIDTH]] {
        let from = block * BLOCK;
        let length = BLOCK.min(self.pairs - from);
        &self.elements[panel * self.pairs + from..][..length]
    }
}

/// Packs `rows` rows from `first` on.
#[inline(always)]
fn pack_panel<const WIDTH: usize>(
    matrix: Matrix<'_>,
    first: usize,
    rows: usize,
    panel: &mut [[u32; WIDTH]],
) {
    let Matrix { elements, columns: k, row_stride, column_stride, .. } = matrix;
    if row_stride == 1 {
        let zeros = [0.0; WIDTH];
        let column = |index| match index < k {
            true => &elements[index * column_stride + first..][..rows],
            false => &zeros[..rows],
        };
        for (index, pairs) in panel.iter_mut().enumerate() {
            pack_columns(column(2 * index), column(2 * index + 1), pairs);
        }
    } else {
        assert_eq!(column_stride, 1, "neither rows nor columns are contiguous");
        for (index, panel) in panel.chunks_mut(LANES).enumerate() {
            let from = 2 * LANES * index;
            let to = k.min(from + 2 * LANES);
            for above in (0..rows).step_by(LANES) {
                let mut block = [[0.0; 2 * LANES]; LANES];
                for (row, block) in (above..rows).zip(&mut block) {
                    let row = &elements[(first + row) * row_stride..];
                    match row[from..].first_chunk() {
                        Some(chunk) if to - from == 2 * LANES => *block = *chunk,
                        _ => block[..to - from].copy_from_slice(&row[from..to]),
                    }
                }
                let count = LANES.min(WIDTH - above);
                for (panel, pairs) in panel.iter_mut().zip(avx512::pack(&block)) {
                    panel[above..][..count].copy_from_slice(&pairs[..count]);
                }
            }
        }
    }
}

/// Two successive columns, with a loop of constant length where they are as long as the panel is wide.
#[inline(always)]
fn pack_columns<const WIDTH: usize>(even: &[f32], odd: &[f32], pairs: &mut [u32; WIDTH]) {
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

/// Writes all elements of `left` · `right`, `[m, n]`, to `output`, with AVX-512-BF16 instructions.
pub(super) fn multiply(
    left: Matrix<'_>,
    right: Matrix<'_>,
    output: &mut [MaybeUninit<f32>],
    threads: usize,
) {
    let (m, k, n) = (left.rows, left.columns, right.columns);
    assert_eq!(k, right.rows, "the left columns and the right rows differ in number");
    assert_eq!(output.len(), m * n, "the result's memory");
    if output.is_empty() {
        return;
    }
    let right = right.transposed();
    let is_serial = threads == 1 || m * k * n < SERIAL;
    let (left, right) = if is_serial {
        (Packed::of(left), Packed::of(right))
    } else {
        rayon::join(|| Packed::of(left), || Packed::of(right))
    };
    if is_serial {
        return multiply_rows(&left, 0, &right, output, n);
    }
    let panels = m.div_ceil(TILE_ROWS);
    let panels = panels.div_ceil(4 * threads).min(PANELS_PER_TASK);
    output.par_chunks_mut(panels * TILE_ROWS * n).enumerate().for_each(|(task, rows)| {
        multiply_rows(&left, task * panels, &right, rows, n);
    });
}

/// Writes the rows of the result that begin with a left panel.
fn multiply_rows(
    left: &Packed<TILE_ROWS>,
    first_panel: usize,
    right: &Packed<TILE_COLUMNS>,
    rows: &mut [MaybeUninit<f32>],
    n: usize,
) {
    // Without any k there is still a result to write: zeros.
    for block in 0..right.pairs.div_ceil(BLOCK).max(1) {
        for column in (0..n).step_by(TILE_COLUMNS) {
            let right = right.block(column / TILE_COLUMNS, block);
            for (panel, rows) in rows.chunks_mut(TILE_ROWS * n).enumerate() {
                let left = left.block(first_panel + panel, block);
                let size = [rows.len() / n, TILE_COLUMNS.min(n - column)];
                let tile = avx512::Tile { elements: &mut rows[column..], stride: n, size };
                avx512::multiply(left, right, tile, block > 0);
            }
        }
    }
}
