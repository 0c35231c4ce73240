//! The kernel of a bf16 product for CPUs with AVX-512-BF16.
//!
//! Source: Intel, *64 and IA-32 Architectures Software Developer's Manual*, volume 2, `VDPBF16PS`: for each of 16
//! elements it adds the products of two pairs of bf16 to a float32, and treats subnormal numbers as zero.
#![expect(unsafe_code, reason = "vector loads and stores take pointers")]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _mm512_add_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_i32x4,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use super::Matrix;
use super::packed::{Kernel, TILE_COLUMNS, Tile, pack_panel, pair};

/// Rows of a tile of the result: the part that stays in registers during the sum over k.
const ROWS: usize = 12;

/// Elements of a vector.
pub(super) const LANES: usize = 16;
const VECTORS: usize = TILE_COLUMNS / LANES;

/// 16 pairs of 16 rows. Where the CPU lacks the instructions, the functions that return it are plain loops.
type Pairs = [[u32; LANES]; LANES];

/// Whether this CPU and its operating system support the kernel.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
}

/// The kernel; a value of it exists only where it is [available](is_available).
pub(super) struct Avx512(());

impl Kernel<ROWS> for Avx512 {
    const ROWS: usize = ROWS;
    const STEP: usize = 1;

    /// Packed like the right factor.
    #[inline(always)]
    fn pack_left(matrix: Matrix<'_>, first: usize, rows: usize, panel: &mut [[u32; ROWS]]) {
        pack_panel(matrix, first, rows, panel);
    }

    fn start() -> Self {
        assert!(is_available(), "this CPU lacks AVX-512-BF16");
        Self(())
    }

    fn multiply(
        &self,
        left: &[[u32; ROWS]],
        right: &[[u32; TILE_COLUMNS]],
        mut tile: Tile<'_>,
        adds: bool,
    ) {
        assert_eq!(left.len(), right.len(), "the panels' lengths");
        let [rows, columns] = tile.size();
        assert!(rows <= ROWS);
        let start = tile.start();
        // SAFETY: an `Avx512` exists only where the kernel is available; `Tile::new` has checked the tile's memory.
        unsafe { multiply_panels(left, right, start, tile.stride(), [rows, columns], adds) }
    }
}

/// # Safety
/// `start` must be valid for writes of `rows` × `columns` elements with `stride`, at most [`ROWS`] by
/// [`TILE_COLUMNS`], and if it `adds`, for reads.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn multiply_panels(
    left: &[[u32; ROWS]],
    right: &[[u32; TILE_COLUMNS]],
    start: *mut f32,
    stride: usize,
    [rows, columns]: [usize; 2],
    adds: bool,
) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    for (left, right) in left.iter().zip(right) {
        let right: [__m512bh; VECTORS] = load(right);
        for (sums, &pair) in sums.iter_mut().zip(left) {
            // SAFETY: both are 512 bits of any value.
            let pair: __m512bh = unsafe { transmute(_mm512_set1_epi32(pair.cast_signed())) };
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = _mm512_dpbf16_ps(*sum, pair, right);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (vector, sum) in sums.into_iter().enumerate() {
            if row < rows && vector * LANES < columns {
                // SAFETY: the element is in the tile, and the mask has a bit for each of the tile's that follow it.
                unsafe {
                    let target = start.add(row * stride + vector * LANES);
                    store(target, first(columns - vector * LANES), sum, adds);
                }
            }
        }
    }
}

/// Rounds 32 elements of 16 rows to bf16, ties to even, in pairs.
pub(super) fn round(rows: &[[f32; 2 * LANES]; LANES]) -> Pairs {
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn vectorized(rows: &[[f32; 2 * LANES]; LANES]) -> Pairs {
        to_pairs(round_rows(rows))
    }
    if is_available() {
        // SAFETY: the CPU has the instructions.
        return unsafe { vectorized(rows) };
    }
    rows.map(|row| std::array::from_fn(|index| pair(row[2 * index], row[2 * index + 1])))
}

/// Transposes pairs.
pub(super) fn transpose(pairs: &Pairs) -> Pairs {
    #[target_feature(enable = "avx512f")]
    fn vectorized(pairs: &Pairs) -> Pairs {
        // SAFETY: both types are 16 times 512 bits of any value.
        to_pairs(transpose_rows(unsafe { transmute::<Pairs, [__m512i; LANES]>(*pairs) }))
    }
    if is_available() {
        // SAFETY: the CPU has the instructions.
        return unsafe { vectorized(pairs) };
    }
    std::array::from_fn(|column| pairs.map(|row| row[column]))
}

/// [`round`], then [`transpose`]: the result has a row for each pair of columns.
pub(super) fn pack(rows: &[[f32; 2 * LANES]; LANES]) -> Pairs {
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn vectorized(rows: &[[f32; 2 * LANES]; LANES]) -> Pairs {
        to_pairs(transpose_rows(round_rows(rows)))
    }
    if is_available() {
        // SAFETY: the CPU has the instructions.
        return unsafe { vectorized(rows) };
    }
    transpose(&round(rows))
}

#[inline(always)]
fn to_pairs(rows: [__m512i; LANES]) -> Pairs {
    // SAFETY: both types are 16 times 512 bits of any value.
    unsafe { transmute(rows) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn round_rows(rows: &[[f32; 2 * LANES]; LANES]) -> [__m512i; LANES] {
    // A loop, because a closure is not inlined here.
    let mut pairs = [_mm512_setzero_si512(); LANES];
    for (pairs, row) in pairs.iter_mut().zip(rows) {
        let (first, second) = row.split_at(LANES);
        // SAFETY: loads of the row's two halves; both types are 512 bits of any value.
        *pairs = unsafe {
            let [first, second] =
                [_mm512_loadu_ps(first.as_ptr()), _mm512_loadu_ps(second.as_ptr())];
            transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first))
        };
    }
    pairs
}

/// Transposes 16 × 16 elements of 32 bits: within blocks of 2 × 2 and 4 × 4, then the blocks.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose_rows(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut twos = rows;
    for i in (0..LANES).step_by(2) {
        twos[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        twos[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let mut fours = twos;
    for i in (0..LANES).step_by(4) {
        for half in 0..2 {
            let (upper, lower) = (twos[i + half], twos[i + half + 2]);
            fours[i + 2 * half] = _mm512_unpacklo_epi64(upper, lower);
            fours[i + 2 * half + 1] = _mm512_unpackhi_epi64(upper, lower);
        }
    }
    // Every 128 bits of fours[4i + j] now hold rows 4i to 4i + 3 of a column: j, 4 + j, 8 + j and 12 + j.
    let mut columns = fours;
    for j in 0..4 {
        let [first, second, third, fourth] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
        let even_upper = _mm512_shuffle_i32x4::<0x88>(first, second);
        let even_lower = _mm512_shuffle_i32x4::<0x88>(third, fourth);
        let odd_upper = _mm512_shuffle_i32x4::<0xdd>(first, second);
        let odd_lower = _mm512_shuffle_i32x4::<0xdd>(third, fourth);
        columns[j] = _mm512_shuffle_i32x4::<0x88>(even_upper, even_lower);
        columns[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd_upper, odd_lower);
        columns[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even_upper, even_lower);
        columns[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd_upper, odd_lower);
    }
    columns
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn load(pairs: &[u32; TILE_COLUMNS]) -> [__m512bh; VECTORS] {
    let (vectors, _) = pairs.as_chunks::<LANES>();
    let mut loaded = [_mm512_setzero_ps(); VECTORS];
    for (loaded, pairs) in loaded.iter_mut().zip(vectors) {
        // SAFETY: a load of the array's 512 bits, unaligned; the result's type has as many bits, of any value.
        *loaded =
            unsafe { transmute::<__m512i, __m512>(_mm512_loadu_si512(pairs.as_ptr().cast())) };
    }
    // SAFETY: the vectors of both types are 512 bits of any value.
    unsafe { transmute(loaded) }
}

/// A mask of the first `count` elements of a vector, or of all.
fn first(count: usize) -> __mmask16 {
    if count < LANES { (1 << count) - 1 } else { __mmask16::MAX }
}

/// # Safety
/// `target` must be valid for writes of the elements in `mask`, and if it `adds`, for reads.
#[target_feature(enable = "avx512f")]
unsafe fn store(target: *mut f32, mask: __mmask16, sum: __m512, adds: bool) {
    // SAFETY: as the caller promises; elements outside of the mask are not touched.
    unsafe {
        let before = if adds { _mm512_maskz_loadu_ps(mask, target) } else { _mm512_setzero_ps() };
        _mm512_mask_storeu_ps(target, mask, _mm512_add_ps(before, sum));
    }
}
