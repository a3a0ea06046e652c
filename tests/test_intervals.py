"""Intervals: known cases, coverage over simulated experiments, determinism, bad input."""

import numpy as np
import pytest
from scipy import stats

from jam.errors import InputError
from jam.metrics import bootstrap_interval, t_interval, wilson_interval


def test_constant_values_give_a_point():
    assert bootstrap_interval(np.full((3, 20), 0.25)) == (0.25, 0.25)
    assert t_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_same_seed_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).random((3, 50))
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_one_seed_is_the_ordinary_bootstrap_of_the_mean():
    values = np.random.default_rng(1).standard_normal((1, 400))
    low, high = bootstrap_interval(values, resamples=4000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_rows_are_shared_by_the_seeds():
    # Identical seeds bring no new information: the interval is that of one seed, not narrower by √10.
    row = np.random.default_rng(2).standard_normal(300)
    one, ten = bootstrap_interval(row[None]), bootstrap_interval(np.tile(row, (10, 1)))
    assert ten[1] - ten[0] == pytest.approx(one[1] - one[0], rel=0.1)


def test_seeds_are_resampled_too():
    # No noise between rows, all of it between seeds.
    values = np.repeat(np.arange(10.0)[:, None], 30, axis=1)
    low, high = bootstrap_interval(values, resamples=4000)
    half = 1.96 * np.arange(10).std() / np.sqrt(10)
    assert low == pytest.approx(4.5 - half, abs=0.15)
    assert high == pytest.approx(4.5 + half, abs=0.15)


def test_covers_the_truth_about_as_often_as_it_claims():
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        values = 0.3 * rng.standard_normal((12, 1)) + rng.standard_normal((1, 60)) + rng.standard_normal((12, 60))
        low, high = bootstrap_interval(values, confidence=0.9, resamples=300, seed=trial)
        hits += low <= 0 <= high
    assert 0.82 <= hits / 200 <= 0.96


def test_median_is_of_rows_and_mean_of_seeds():
    values = np.array([[1.0] * 40 + [1000.0] * 5, [3.0] * 40 + [1000.0] * 5])
    low, high = bootstrap_interval(values, statistic="median")
    assert (low, high) == (1.0, 3.0)
    assert bootstrap_interval(values)[1] > 50


def test_t_interval_is_that_of_scipy():
    values = np.random.default_rng(4).standard_normal(5)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert t_interval(values, confidence=0.9) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (500, 1000)])
def test_wilson_interval_is_that_of_scipy(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0, 2.0], {}, r"values: got shape \(2,\), expected \(seeds, rows\)"),
        (np.zeros((0, 3)), {}, "not empty"),
        ([[1.0]], {"confidence": 1.0}, "confidence: got 1.0"),
        ([[1.0]], {"resamples": 0}, "resamples: got 0"),
        ([[1.0]], {"statistic": "mode"}, "statistic: got 'mode'"),
        ([[1.0, np.nan]], {}, "values: 1 of 2 are NaN"),
    ],
)
def test_bad_bootstraps_are_named(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **options)


def test_other_bad_input_is_named():
    with pytest.raises(ValueError, match="values: got 1, expected at least 2"):
        t_interval([0.5])
    with pytest.raises(InputError, match="NaN"):
        t_interval([0.5, np.nan])
    with pytest.raises(ValueError, match="got 5 of 4"):
        wilson_interval(5, 4)
