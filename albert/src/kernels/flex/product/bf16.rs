//! Matrix products of factors rounded to bf16, with sums in float32.
//!
//! | instructions | how |
//! |---|---|
//! | `avx512` | `vdpbf16ps`, two multiply-adds per element: at best twice the speed of float32 |
//! | `fp32` | float32 products of the rounded factors, on any CPU |
//!
//! Factors are rounded to the nearest bf16, ties to even, while they are packed into the order in which the kernel reads
//! them: *panels* of [`TILE_ROWS`] rows of the left factor and of [`TILE_COLUMNS`] columns of the right one. A panel
//! holds two successive elements of the sum over k in 32 bits, the first in the lower half, and is padded with zeros.
//!
//! Each element of the result is summed over k in one order, whichever thread computes it and whatever the sizes of
//! the matrices.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "what packs factors"))]

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::{Matrix, SERIAL};
use crate::kernels::flex::elements::vectorized;

/// A tile of the result: the part that stays in registers during the sum over k.
pub(super) const TILE_ROWS: usize = 12;
pub(super) const TILE_COLUMNS: usize = 32;

/// Pairs of elements of k that are summed before the next tile's turn: a right panel's share then stays in the nearest
/// cache, next to a left one's.
const BLOCK: usize = 128;

/// At most this many left panels belong to a task; their share of a block stays in the second cache.
const PANELS_PER_TASK: usize = 8;

/// The instructions that multiply bf16 factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    /// Float32 multiply-adds of rounded factors.
    Fp32,
    /// AVX-512-BF16.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// The fastest of this CPU, unless the environment variable `L2SP_CPU_BF16` is `fp32`.
    pub(super) fn best() -> Self {
        static BEST: LazyLock<Instructions> = LazyLock::new(|| {
            let limit = std::env::var("L2SP_CPU_BF16").ok();
            Instructions::within(limit.as_deref())
        });
        *BEST
    }

    /// The fastest of this CPU that is not beyond `limit`. AMX, once there is a kernel for it, goes first.
    fn within(limit: Option<&str>) -> Self {
        #[cfg(target_arch = "x86_64")]
        if limit != Some("fp32") && avx512::is_available() {
            return Self::Avx512;
        }
        let _ = limit;
        Self::Fp32
    }
}

/// The nearest bf16, ties to even, as float32; NaN stays NaN.
#[inline(always)]
pub(super) fn round(x: f32) -> f32 {
    f32::from_bits(rounded_bits(x))
}

/// The bits of the nearest bf16, in the upper half.
#[inline(always)]
fn rounded_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let to_even = (bits >> 16) & 1;
    let nearest = bits.wrapping_add(0x7fff + to_even);
    // Rounding could carry a NaN to an infinity; the highest bit of the mantissa keeps it one.
    let bits = if x.is_nan() { bits | 0x0040_0000 } else { nearest };
    bits & 0xffff_0000
}

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
        let column = |k| &elements[k * column_stride + first..][..rows];
        for (index, pairs) in panel.iter_mut().enumerate() {
            let (even, odd) = (2 * index, 2 * index + 1);
            if odd < k {
                for ((x, &first), &second) in pairs.iter_mut().zip(column(even)).zip(column(odd)) {
                    *x = pair(first, second);
                }
            } else {
                for (x, &last) in pairs.iter_mut().zip(column(even)) {
                    *x = pair(last, 0.0);
                }
            }
        }
    } else {
        assert_eq!(column_stride, 1, "neither rows nor columns are contiguous");
        for row in 0..rows {
            let (successive, last) = elements[(first + row) * row_stride..][..k].as_chunks::<2>();
            for (pairs, &[first, second]) in panel.iter_mut().zip(successive) {
                pairs[row] = pair(first, second);
            }
            if let &[last] = last {
                panel[k / 2][row] = pair(last, 0.0);
            }
        }
    }
}

/// Writes all elements of `left` · `right`, `[m, n]`, to `output`, with AVX-512-BF16 instructions.
#[cfg(target_arch = "x86_64")]
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
#[cfg(target_arch = "x86_64")]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_ties_to_even() {
        // One unit in the last place of a bf16 at 1 is 2⁻⁷.
        let unit = 1.0 / 128.0;
        for (x, expected) in [
            (0.0, 0.0),
            (1.0 + 0.49 * unit, 1.0),
            (1.0 + 0.5 * unit, 1.0),
            (1.0 + 0.51 * unit, 1.0 + unit),
            (1.0 + 1.5 * unit, 1.0 + 2.0 * unit),
            (f32::MAX, f32::INFINITY),
            (f32::INFINITY, f32::INFINITY),
        ] {
            assert_eq!(round(x).to_bits(), f32::to_bits(expected));
            assert_eq!(round(-x).to_bits(), f32::to_bits(-expected));
        }
        // The second's mantissa is in the lower half alone.
        assert!(round(f32::NAN).is_nan() && round(f32::from_bits(0x7f80_0001)).is_nan());
    }

    #[test]
    fn a_limit_forces_the_slower_path() {
        assert_eq!(Instructions::within(Some("fp32")), Instructions::Fp32);
        #[cfg(target_arch = "x86_64")]
        if avx512::is_available() {
            for limit in [None, Some("avx512")] {
                assert_eq!(Instructions::within(limit), Instructions::Avx512);
            }
        }
    }
}
