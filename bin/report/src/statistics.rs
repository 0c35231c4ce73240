//! The statistics of a few runs: point estimates, intervals and tests. Each is a function of plain numbers.
//!
//! Samples must not contain NaN. Whatever is undefined for a sample (the mean of nothing, the standard deviation of one
//! run) is NaN, which the report shows as a dash and JSON as `null`. Random resampling has a fixed seed, so the same runs
//! always give the same report.
//!
//! The tests compare every function with SciPy, NumPy or rliable: `tests/reference/statistics_cases.py` writes their values.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal, StudentsT};
use statrs::stats_tests::{Alternative, fishers_exact};

/// The level of every interval.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// The number of bootstrap resamples.
pub(crate) const RESAMPLES: usize = 10_000;

/// The largest number of differences for which [`sign_flip_test`] counts all sign patterns.
pub(crate) const EXACT_LIMIT: usize = 36;

/// The number of random sign patterns beyond [`EXACT_LIMIT`].
pub(crate) const SIGN_PATTERNS: usize = 100_000;

/// The seed of all resampling.
const SEED: u64 = 20_003;

/// The arithmetic mean.
pub(crate) fn mean(sample: &[f64]) -> f64 {
    sample.iter().sum::<f64>() / sample.len() as f64
}

/// The sample standard deviation, √(Σ(xᵢ − x̄)² / (n − 1)); NaN for fewer than two values.
pub(crate) fn standard_deviation(sample: &[f64]) -> f64 {
    let mean = mean(sample);
    let squares: f64 = sample.iter().map(|value| (value - mean).powi(2)).sum();
    if sample.len() < 2 { f64::NAN } else { (squares / (sample.len() - 1) as f64).sqrt() }
}

/// The quantile `q` in [0, 1], by linear interpolation between order statistics: NumPy's default, type 7 of
/// Hyndman & Fan (1996).
pub(crate) fn quantile(sample: &[f64], q: f64) -> f64 {
    quantile_of_sorted(&sorted(sample), q)
}

fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = q * last as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * position.fract()
}

/// The interquartile mean: the mean of what is left when ⌊n/4⌋ values are removed from each end. It is
/// `scipy.stats.trim_mean(x, 0.25)`, the aggregate that Agarwal et al. (2021, arXiv 2108.13264) recommend.
pub(crate) fn interquartile_mean(sample: &[f64]) -> f64 {
    let cut = sample.len() / 4;
    mean(&sorted(sample)[cut..sample.len() - cut])
}

/// The expected maximum of k draws with replacement from the sample, for k = 1, …, n:
/// Σᵢ x₍ᵢ₎ ((i/n)ᵏ − ((i−1)/n)ᵏ), where x₍ᵢ₎ is the i-th smallest value (Dodge et al. 2019, arXiv 1909.03004).
pub(crate) fn expected_best(sample: &[f64]) -> Vec<f64> {
    let (sorted, n) = (sorted(sample), sample.len() as f64);
    let expected = |k: usize| {
        let cumulative = |i: usize| (i as f64 / n).powi(k as i32);
        let term = |(i, value)| value * (cumulative(i + 1) - cumulative(i));
        sorted.iter().enumerate().map(term).sum()
    };
    (1..=sample.len()).map(expected).collect()
}

/// The percentile bootstrap interval of a statistic, at the level [`CONFIDENCE`], from [`RESAMPLES`] resamples.
///
/// The bootstrap is stratified as in rliable (Agarwal et al. 2021, arXiv 2108.13264): each resample draws as many values
/// from every stratum as it has, with replacement, and `statistic` is applied to the resampled strata. Single values are
/// no sample: if no stratum has two, or one has none, the bounds are NaN.
pub(crate) fn bootstrap_interval(
    strata: &[Vec<f64>],
    statistic: impl Fn(&[Vec<f64>]) -> f64,
) -> [f64; 2] {
    if strata.iter().any(Vec::is_empty) || strata.iter().all(|stratum| stratum.len() < 2) {
        return [f64::NAN; 2];
    }
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut resample = strata.to_vec();
    let mut draw = || {
        for (drawn, stratum) in resample.iter_mut().zip(strata) {
            drawn.fill_with(|| stratum[rng.random_range(0..stratum.len())]);
        }
        statistic(&resample)
    };
    let mut values: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    [quantile_of_sorted(&values, tail), quantile_of_sorted(&values, 1.0 - tail)]
}

/// The two-sided permutation test of paired differences: the share of the 2ⁿ sign patterns whose absolute sum
/// |Σ ±dᵢ| is at least the observed |Σ dᵢ|. Under the hypothesis that the two members of a pair are exchangeable, all
/// patterns are equally likely. `scipy.stats.permutation_test(permutation_type="samples")` enumerates the same.
///
/// Up to [`EXACT_LIMIT`] differences the patterns are counted exactly, by meeting in the middle: the sums of the two
/// halves are sorted, and for each sum of one half those of the other that reach the threshold are counted. Beyond it,
/// [`SIGN_PATTERNS`] random patterns with p = (1 + hits) / (1 + patterns) (Phipson & Smyth 2010, arXiv 1603.05766).
pub(crate) fn sign_flip_test(differences: &[f64]) -> f64 {
    if differences.is_empty() {
        return f64::NAN;
    }
    // Sums of multiples of 1/277 are equal only up to rounding.
    let tolerance = 1e-9 * differences.iter().map(|difference| difference.abs()).sum::<f64>();
    let observed = differences.iter().sum::<f64>().abs() - tolerance;
    if observed <= 0.0 {
        return 1.0;
    }
    if differences.len() > EXACT_LIMIT {
        let mut rng = StdRng::seed_from_u64(SEED);
        let mut flipped_sum = || -> f64 {
            differences.iter().map(|d| if rng.random::<bool>() { *d } else { -d }).sum()
        };
        let hits = (0..SIGN_PATTERNS).filter(|_| flipped_sum().abs() >= observed).count();
        return (1 + hits) as f64 / (1 + SIGN_PATTERNS) as f64;
    }
    let (left, right) = differences.split_at(differences.len() / 2);
    let (left, right) = (signed_sums(left), signed_sums(right));
    // As the sums of the left half grow, more of the right half reach the threshold.
    let (mut hits, mut first) = (0, right.len());
    for sum in left.iter() {
        while first > 0 && sum + right[first - 1] >= observed {
            first -= 1;
        }
        hits += right.len() - first;
    }
    // The patterns at or below the negative threshold are the mirror images of those counted.
    (2 * hits) as f64 / (left.len() * right.len()) as f64
}

/// The 2ⁿ sums Σ ±dᵢ, ascending.
fn signed_sums(differences: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for difference in differences {
        sums = sums.iter().flat_map(|sum| [sum - difference, sum + difference]).collect();
    }
    sums.sort_by(f64::total_cmp);
    sums
}

/// The smallest p-value that [`sign_flip_test`] can give for this number of differences: 2/2ⁿ, reached when all have the
/// same sign.
pub(crate) fn smallest_p(pairs: usize) -> f64 {
    match pairs {
        0 => f64::NAN,
        1..=EXACT_LIMIT => 0.5_f64.powi(pairs as i32 - 1),
        _ => 1.0 / (1 + SIGN_PATTERNS) as f64,
    }
}

/// The minimum detectable difference: the true mean difference that a two-sided paired t-test at the level 0.05 finds
/// with a probability of 80%, (t₀.₉₇₅ + t₀.₈) · s/√n with n − 1 degrees of freedom (Bloom 1995,
/// doi 10.1177/0193841X9501900504), where s is the standard deviation of the differences.
pub(crate) fn minimum_detectable_difference(differences: &[f64]) -> f64 {
    let n = differences.len() as f64;
    let Ok(t) = StudentsT::new(0.0, 1.0, n - 1.0) else { return f64::NAN };
    (t.inverse_cdf(0.975) + t.inverse_cdf(0.8)) * standard_deviation(differences) / n.sqrt()
}

/// The Wilson score interval of a proportion at the level [`CONFIDENCE`]:
/// (p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n) (Wilson 1927).
pub(crate) fn wilson_interval(successes: usize, trials: usize) -> [f64; 2] {
    if trials == 0 {
        return [f64::NAN; 2];
    }
    let n = trials as f64;
    let p = successes as f64 / n;
    let z = Normal::standard().inverse_cdf((1.0 + CONFIDENCE) / 2.0);
    let centre = p + z * z / (2.0 * n);
    let radius = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // Rounding would leave the bounds of 0 of n and n of n near 0 and 1, inside or outside.
    let lower = if successes == 0 { 0.0 } else { (centre - radius) / scale };
    let upper = if successes == trials { 1.0 } else { (centre + radius) / scale };
    [lower, upper]
}

/// McNemar's exact test: two-sided binomial test with probability ½ on the discordant pairs, where only the first
/// (`first_only`) or only the second (`second_only`) member of the pair failed. 1 without discordant pairs.
pub(crate) fn mcnemar_test(first_only: usize, second_only: usize) -> f64 {
    let smaller = first_only.min(second_only) as u64;
    match Binomial::new(0.5, (first_only + second_only) as u64) {
        Ok(binomial) => (2.0 * binomial.cdf(smaller)).min(1.0),
        Err(_) => f64::NAN,
    }
}

/// Fisher's exact test, two-sided, of two independent proportions given as `[successes, trials]`.
pub(crate) fn fisher_test(first: [usize; 2], second: [usize; 2]) -> f64 {
    let row = |[successes, trials]: [usize; 2]| [successes as u64, (trials - successes) as u64];
    let ([a, b], [c, d]) = (row(first), row(second));
    fishers_exact(&[a, b, c, d], Alternative::TwoSided).unwrap_or(f64::NAN)
}

/// Holm's step-down adjustment of a family of p-values: the i-th smallest of m is multiplied by m − i + 1, and the
/// adjusted values are made non-decreasing and at most 1 (Holm 1979). NaN stays NaN and is not counted.
pub(crate) fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).filter(|&i| !p_values[i].is_nan()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let mut adjusted = vec![f64::NAN; p_values.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max(p_values[i] * (order.len() - rank) as f64).min(1.0);
        adjusted[i] = largest;
    }
    adjusted
}

fn sorted(sample: &[f64]) -> Vec<f64> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Written by `tests/reference/statistics_cases.py`, which describes it.
    #[derive(Deserialize)]
    struct Cases {
        samples: Vec<Sample>,
        strata: Vec<Strata>,
        paired: Vec<Paired>,
        wilson: Vec<Wilson>,
        mcnemar: Vec<McNemar>,
        fisher: Vec<Fisher>,
        holm: Vec<Holm>,
    }

    #[derive(Deserialize)]
    struct Sample {
        values: Vec<f64>,
        mean: f64,
        sd: f64,
        median: f64,
        quartiles: [f64; 2],
        iqm: f64,
        iqm_interval: [f64; 2],
        expected_best: Vec<f64>,
    }

    #[derive(Deserialize)]
    struct Strata {
        values: Vec<Vec<f64>>,
        interval: [f64; 2],
    }

    #[derive(Deserialize)]
    struct Paired {
        differences: Vec<f64>,
        p: f64,
        detectable: f64,
    }

    #[derive(Deserialize)]
    struct Wilson {
        successes: usize,
        trials: usize,
        interval: [f64; 2],
    }

    #[derive(Deserialize)]
    struct McNemar {
        first_only: usize,
        second_only: usize,
        p: f64,
    }

    #[derive(Deserialize)]
    struct Fisher {
        table: [[usize; 2]; 2],
        p: f64,
    }

    #[derive(Deserialize)]
    struct Holm {
        p: Vec<f64>,
        adjusted: Vec<f64>,
    }

    fn cases() -> Cases {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/statistics/cases.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[track_caller]
    fn assert_close(values: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(values.len(), expected.len());
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() <= tolerance, "{value}, not {expected}");
        }
    }

    #[test]
    fn estimates_are_those_of_numpy_and_rliable() {
        for case in cases().samples {
            let values = &case.values;
            let quartiles = [quantile(values, 0.25), quantile(values, 0.75)];
            assert_close(&quartiles, &case.quartiles, 1e-12);
            assert_close(&expected_best(values), &case.expected_best, 1e-12);
            let estimates = [
                mean(values),
                standard_deviation(values),
                quantile(values, 0.5),
                interquartile_mean(values),
            ];
            assert_close(&estimates, &[case.mean, case.sd, case.median, case.iqm], 1e-12);
        }
    }

    /// The bounds are quantiles of random resamples: they vary by about 2% of the interval's width.
    #[test]
    fn bootstrap_intervals_are_those_of_rliable() {
        let cases = cases();
        for case in cases.samples {
            let interval =
                bootstrap_interval(&[case.values], |strata| interquartile_mean(&strata[0]));
            let width = case.iqm_interval[1] - case.iqm_interval[0];
            assert_close(&interval, &case.iqm_interval, 0.05 * width);
        }
        for case in cases.strata {
            let mean_of_means =
                |strata: &[Vec<f64>]| mean(&strata.iter().map(|s| mean(s)).collect::<Vec<_>>());
            let interval = bootstrap_interval(&case.values, mean_of_means);
            assert_eq!(interval, bootstrap_interval(&case.values, mean_of_means), "reproducible");
            let width = case.interval[1] - case.interval[0];
            assert_close(&interval, &case.interval, 0.05 * width);
        }
    }

    #[test]
    fn paired_tests_are_those_of_scipy() {
        for case in cases().paired {
            assert_close(&[sign_flip_test(&case.differences)], &[case.p], 1e-12);
            let detectable = minimum_detectable_difference(&case.differences);
            assert_close(&[detectable], &[case.detectable], 1e-6);
        }
    }

    #[test]
    fn the_sign_flip_test_is_exact_to_its_limit_and_close_beyond() {
        let same_sign = vec![1.0; EXACT_LIMIT];
        assert_eq!(sign_flip_test(&same_sign), smallest_p(EXACT_LIMIT));
        assert_eq!(sign_flip_test(&[1.0; EXACT_LIMIT + 1]), smallest_p(EXACT_LIMIT + 1));
        assert_eq!(sign_flip_test(&[0.0; 5]), 1.0);
        // A sum of n = 100 signs has an even number of ups and downs: P(|S| ≥ 20) = 2 P(Bin(100, ½) ≤ 40).
        let signs: Vec<f64> = (0..100).map(|i| if i < 60 { 1.0 } else { -1.0 }).collect();
        let p = 2.0 * Binomial::new(0.5, 100).unwrap().cdf(40);
        assert_close(&[sign_flip_test(&signs)], &[p], 0.003);
    }

    #[test]
    fn intervals_and_tests_of_proportions_are_those_of_scipy() {
        let cases = cases();
        for case in cases.wilson {
            assert_close(&wilson_interval(case.successes, case.trials), &case.interval, 1e-9);
        }
        for case in cases.mcnemar {
            assert_close(&[mcnemar_test(case.first_only, case.second_only)], &[case.p], 1e-12);
        }
        for case in cases.fisher {
            let p = fisher_test(case.table[0], case.table[1]);
            assert!((p - case.p).abs() < 1e-9, "{:?}: {p}, not {}", case.table, case.p);
        }
    }

    #[test]
    fn holm_adjusts_a_family() {
        for case in cases().holm {
            assert_close(&holm(&case.p), &case.adjusted, 1e-12);
        }
        let adjusted = holm(&[0.01, f64::NAN, 0.02]);
        assert_close(&[adjusted[0], adjusted[2]], &[0.02, 0.02], 1e-12);
        assert!(adjusted[1].is_nan());
    }

    #[test]
    fn what_is_undefined_is_nan() {
        for value in [
            mean(&[]),
            standard_deviation(&[0.5]),
            quantile(&[], 0.5),
            interquartile_mean(&[]),
            sign_flip_test(&[]),
            minimum_detectable_difference(&[0.1]),
            wilson_interval(0, 0)[0],
            bootstrap_interval(&[vec![]], |strata| mean(&strata[0]))[0],
            bootstrap_interval(&[vec![0.5]], |strata| mean(&strata[0]))[0],
            bootstrap_interval(&[vec![0.5], vec![0.7]], |strata| mean(&strata[0]))[0],
            bootstrap_interval(&[vec![0.5, 0.7], vec![]], |strata| mean(&strata[0]))[0],
            bootstrap_interval(&[], |_| 0.5)[0],
        ] {
            assert!(value.is_nan(), "{value}");
        }
        assert_eq!(mcnemar_test(0, 0), 1.0);
        assert_eq!(fisher_test([0, 0], [1, 2]), 1.0);
        assert!(expected_best(&[]).is_empty());
    }
}
