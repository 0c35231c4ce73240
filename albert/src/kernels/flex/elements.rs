//! Loops over elements: vectorized, multi-threaded, with results that depend neither on the CPU nor on the number of
//! threads.

pub(crate) use flex_simd::vectorized;
use rayon::prelude::*;

/// The number of partial sums, whatever the width of the CPU's vectors: the order of the additions, and so the result,
/// does not depend on the CPU.
const LANES: usize = 16;

/// Up to this many elements a second thread costs more than it saves.
const SERIAL: usize = 1 << 14;

/// Elements per task: few enough for the nearest caches, enough to be worth a task.
pub(crate) const TASK: usize = 1 << 14;

/// Rows of `width` elements per task. Depends on nothing else, so that sums over tasks do not either.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (TASK / width.max(1)).max(1)
}

/// `f` for each `size` elements of `data`, in parallel, with their index; the results in order.
pub(crate) fn map_chunks<E: Send, T: Send>(
    data: &mut [E],
    size: usize,
    f: impl Fn(usize, &mut [E]) -> T + Sync + Send,
) -> Vec<T> {
    if data.len() <= SERIAL {
        data.chunks_mut(size).enumerate().map(|(index, chunk)| f(index, chunk)).collect()
    } else {
        data.par_chunks_mut(size).enumerate().map(|(index, chunk)| f(index, chunk)).collect()
    }
}

/// [`map_chunks`] over two slices at once, cut into the same number of chunks.
pub(crate) fn map_chunk_pairs<L: Send, R: Send, T: Send>(
    (left, left_size): (&mut [L], usize),
    (right, right_size): (&mut [R], usize),
    f: impl Fn(usize, &mut [L], &mut [R]) -> T + Sync + Send,
) -> Vec<T> {
    if left.len().max(right.len()) <= SERIAL {
        let pairs = left.chunks_mut(left_size).zip(right.chunks_mut(right_size));
        pairs.enumerate().map(|(index, (left, right))| f(index, left, right)).collect()
    } else {
        let pairs = left.par_chunks_mut(left_size).zip(right.par_chunks_mut(right_size));
        pairs.enumerate().map(|(index, (left, right))| f(index, left, right)).collect()
    }
}

/// Σ f(xᵢ).
#[inline(always)]
pub(crate) fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    fold(lanes, |a, b| a + b)
}

/// Σ f(xᵢ, yᵢ).
#[inline(always)]
pub(crate) fn sum_pairs(left: &[f32], right: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (left, right) in left.iter().zip(right) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(left).zip(right) {
            *lane += f(x, y);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(left_rest).zip(right_rest) {
        *lane += f(x, y);
    }
    fold(lanes, |a, b| a + b)
}

/// The largest element; −∞ of none.
#[inline(always)]
pub(crate) fn largest(row: &[f32]) -> f32 {
    // Not `f32::max`, which costs a comparison more.
    let max = |a: f32, b: f32| if a > b { a } else { b };
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = max(x, *lane);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = max(x, *lane);
    }
    fold(lanes, max)
}

/// Reduces the lanes to one, halving their number each time.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The sum of each column of a matrix with rows of `width`.
pub(crate) fn column_sums(matrix: &[f32], width: usize) -> Vec<f32> {
    let add_rows = |rows: &[f32]| {
        let mut sums = vec![0.0; width];
        vectorized(
            #[inline(always)]
            || rows.chunks_exact(width).for_each(|row| add(&mut sums, row)),
        );
        sums
    };
    let size = rows_per_task(width) * width;
    let parts: Vec<Vec<f32>> = if matrix.len() <= SERIAL {
        matrix.chunks(size).map(add_rows).collect()
    } else {
        matrix.par_chunks(size).map(add_rows).collect()
    };
    add_all(parts, width)
}

/// The sum of `parts` of length `width`, in their order.
pub(crate) fn add_all(parts: impl IntoIterator<Item = Vec<f32>>, width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    parts.into_iter().for_each(|part| add(&mut sums, &part));
    sums
}

/// `sums += row`.
#[inline(always)]
pub(crate) fn add(sums: &mut [f32], row: &[f32]) {
    for (sum, &x) in sums.iter_mut().zip(row) {
        *sum += x;
    }
}

/// eˣ, to 2 units in the last place; 0 below −87, ∞ from 88.4, NaN of NaN.
///
/// x = n·ln 2 + r with |r| ≤ ½·ln 2; then eˣ = 2ⁿ·eʳ by Taylor's polynomial. Unlike `f32::exp` it has no branches, so that
/// a loop over it is vectorized.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, left in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let inside = x.clamp(-87.0, 89.0);
    let rounded = inside * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (inside - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut taylor = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        taylor = taylor * r + coefficient;
    }
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let power = f32::from_bits(exponent << 23);
    if x < -87.0 { 0.0 } else { taylor * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_standard_library() {
        for i in -8700..=8830 {
            let x = i as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.4e-7, "{x}: {error}");
        }
        assert_eq!([exp(0.0), exp(-0.0), exp(f32::NEG_INFINITY), exp(-87.1)], [1.0, 1.0, 0.0, 0.0]);
        assert_eq!([exp(f32::INFINITY), exp(88.8), exp(1e30)], [f32::INFINITY; 3]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn reductions_agree_with_plain_loops_at_every_length() {
        for length in 0..70 {
            let xs: Vec<f32> = (0..length).map(|i| ((i * 37) % 23) as f32 - 11.0).collect();
            let ys: Vec<f32> = xs.iter().map(|x| x + 0.5).collect();
            let squares: f32 = xs.iter().map(|x| x * x).sum();
            assert_eq!(sum(&xs, |x| x * x), squares);
            let products: f32 = xs.iter().zip(&ys).map(|(x, y)| x * y).sum();
            assert_eq!(sum_pairs(&xs, &ys, |x, y| x * y), products);
            let expected = xs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(largest(&xs), expected);
        }
    }

    #[test]
    fn columns_are_summed_over_many_tasks() {
        let (rows, width) = (3000, 33);
        let matrix: Vec<f32> = (0..rows * width).map(|i| (i % width) as f32).collect();
        let expected: Vec<f32> = (0..width).map(|column| (rows * column) as f32).collect();
        assert_eq!(column_sums(&matrix, width), expected);
    }

    #[test]
    fn chunks_come_in_order() {
        for length in [0, 10, 100_000] {
            let mut data = vec![0.0; length];
            let indices = map_chunks(&mut data, 7, |index, chunk| {
                chunk.fill(index as f32);
                index
            });
            assert_eq!(indices, (0..length.div_ceil(7)).collect::<Vec<_>>());
            assert!(data.iter().enumerate().all(|(i, &x)| x == (i / 7) as f32));
        }
    }
}
