#!/usr/bin/env python3
"""Write the cases of the report's statistics: samples, and what NumPy, SciPy and rliable make of them.

OUT/statistics/cases.json  an object of lists:
  samples      values, mean, sd, median, quartiles, iqm (rliable), iqm_interval (rliable, 95 %, percentile), and
               expected_best: the expected maximum of k = 1, ..., n draws with replacement
  strata       values (a list per stratum) and interval: rliable's stratified bootstrap of the mean
  paired       differences, p of the exact permutation test, and detectable: the minimum detectable difference
  wilson       successes, trials, interval
  mcnemar      first_only, second_only, p
  fisher       table (failed and trials of two arms), p: all pairs of up to 7 trials, and some of more
  holm         p, adjusted

The bootstrap intervals depend on random numbers: they agree within the error that the number of resamples leaves.
"""
import argparse
import itertools
import json
import pathlib

import numpy as np
import scipy.stats
from rliable import library, metrics

RESAMPLES = 100_000


def interval(scores: np.ndarray, aggregate) -> list[float]:
    """`scores` has a row for each run and a column for each stratum."""
    np.random.seed(10013)
    _, intervals = library.get_interval_estimates(
        {"arm": scores}, lambda scores: np.array([aggregate(scores)]), reps=RESAMPLES
    )
    return intervals["arm"].ravel().tolist()


def expected_best(values: np.ndarray) -> list[float]:
    """From P(max of k draws <= x) = F(x)^k with the empirical distribution F."""
    support = np.unique(values)
    below = np.array([(values <= x).mean() for x in support])
    return [float(support @ np.diff(below**k, prepend=0.0)) for k in range(1, len(values) + 1)]


def sample(values: np.ndarray) -> dict:
    return dict(
        values=values.tolist(),
        mean=float(np.mean(values)),
        sd=float(np.std(values, ddof=1)),
        median=float(np.median(values)),
        quartiles=np.quantile(values, [0.25, 0.75]).tolist(),
        iqm=float(metrics.aggregate_iqm(values)),
        iqm_interval=interval(values[:, None], metrics.aggregate_iqm),
        expected_best=expected_best(values),
    )


def paired(differences: np.ndarray) -> dict:
    n = len(differences)
    test = scipy.stats.permutation_test(
        (differences,), lambda d, axis: np.mean(d, axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    # The power of a t-test at Bloom's minimum detectable effect, by his approximation.
    t = scipy.stats.t(n - 1)
    error = scipy.stats.sem(differences)
    return dict(
        differences=differences.tolist(), p=float(test.pvalue), detectable=float((t.ppf(0.975) + t.ppf(0.8)) * error)
    )


def wilson(successes: int, trials: int) -> dict:
    ci = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
    return dict(successes=successes, trials=trials, interval=[float(ci.low), float(ci.high)])


def mcnemar(first: int, second: int) -> dict:
    return dict(first_only=first, second_only=second, p=float(scipy.stats.binomtest(first, first + second).pvalue))


def fisher(first: tuple[int, int], second: tuple[int, int]) -> dict:
    table = [[failed, trials - failed] for failed, trials in (first, second)]
    return dict(table=[list(first), list(second)], p=float(scipy.stats.fisher_exact(table).pvalue))


def holm(p: list[float]) -> dict:
    """From the definition: H(i) is rejected at level a if all of p(1), ..., p(i) pass a / (m - j + 1)."""
    m = len(p)
    steps = [(value, (m - sum(other < value for other in p))) for value in p]
    adjusted = [min(1.0, max(other * step for other, step in steps if other <= value)) for value in p]
    return dict(p=p, adjusted=adjusted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "cases")
    out = parser.parse_args().out / "statistics"
    rng = np.random.default_rng(10013)

    def correct(n: int, rate: float) -> np.ndarray:
        """Accuracies on 277 examples, so with ties."""
        return rng.binomial(277, rate, n) / 277

    small = np.array([0.592, 0.538, 0.473, 0.668, 0.527, 0.578])
    samples = [small, *(correct(n, 0.6) for n in (2, 3, 4, 5, 8, 20, 24)), rng.normal(size=31)]
    # Differences of accuracies, rounded, so that equal sums are not equal in floating point; and continuous ones.
    pairs = [np.array([0.061, 0.134, 0.205, 0.022, 0.152, 0.075]), np.array([0.1, -0.1, 0.2, -0.2]), np.array([0.3, 0.0])]
    pairs += [np.round(correct(n, 0.62) - correct(n, 0.6), 3) for n in (2, 5, 9, 14, 17)]
    pairs += [rng.normal(0.5, 1.0, n) for n in (7, 12, 18)]
    strata = [np.stack([correct(n, rate) for rate in rates], 1) for n, rates in [(6, (0.5, 0.7)), (10, (0.5, 0.6, 0.9))]]
    trials = [(failed, n) for n in range(1, 8) for failed in range(n + 1)]
    large = [((9, 20), (0, 20)), ((7, 20), (8, 19)), ((1, 24), (12, 24)), ((30, 60), (18, 55)), ((2, 6), (0, 6))]
    cases = dict(
        samples=[sample(values) for values in samples],
        strata=[dict(values=scores.T.tolist(), interval=interval(scores, metrics.aggregate_mean)) for scores in strata],
        paired=[paired(differences) for differences in pairs],
        wilson=[wilson(*case) for case in [(0, 1), (1, 1), (0, 6), (2, 6), (6, 6), (3, 20), (11, 24), (50, 100)]],
        mcnemar=[mcnemar(*case) for case in [(0, 1), (2, 0), (0, 6), (3, 3), (1, 7), (10, 2), (25, 40)]],
        fisher=[fisher(*case) for case in [*itertools.product(trials, trials), *large]],
        holm=[holm(p) for p in ([0.5], [0.01, 0.04, 0.03], [0.2, 0.001, 0.9, 0.02, 0.02], [0.3, 0.6, 0.8])],
    )
    out.mkdir(parents=True, exist_ok=True)
    lists = [f'"{name}": [\n' + ",\n".join(json.dumps(case) for case in case_list) + "\n]" for name, case_list in cases.items()]
    (out / "cases.json").write_text("{\n" + ",\n".join(lists) + "\n}\n")


if __name__ == "__main__":
    main()
