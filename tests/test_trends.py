"""Rank correlation over grids against scipy, its interval and its null."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from jam.metrics import grid_rank_correlation, spearman

numbers = st.integers(-5, 5).map(float)


@given(arrays(float, (4, 3), elements=numbers), arrays(float, (4, 3), elements=numbers))
def test_spearman_is_scipys_with_ties(x, y):
    value = spearman(x, y)
    if len(set(x.flat)) == 1 or len(set(y.flat)) == 1:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(spearmanr(x.ravel(), y.ravel()).statistic, abs=1e-12)


def test_a_monotone_relation_is_one_and_significant():
    x = np.add.outer(np.arange(5.0), 10 * np.arange(6.0))
    found = grid_rank_correlation(x, np.exp(x / 10))
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))
    assert found.p_value < 0.01
    assert found.n == 30
    assert grid_rank_correlation(x, -x).value == pytest.approx(-1)


def test_the_null_permutes_rows_not_cells():
    # With three rows the exact p of a perfect row effect is 2/3! (its mirror image counts, two-sided), however many
    # columns repeat it; a null over cells would call it certain.
    x = np.arange(3.0)[:, None]
    found = grid_rank_correlation(x, np.repeat(x, 20, axis=1), permutations=3000)
    assert found.p_value == pytest.approx(2 / 6)
    # Four encoders of one side can never show a trend at .05, and both ways of giving the predictor agree.
    x = np.arange(4.0)[:, None]
    y = np.repeat(x, 5, axis=1)
    assert grid_rank_correlation(x, y).p_value == pytest.approx(2 / 24)
    assert grid_rank_correlation(np.repeat(x, 5, axis=1), y).p_value == pytest.approx(2 / 24)
    assert grid_rank_correlation([[0.0], [1.0], [3.0], [3.0]], y).p_value == pytest.approx(4 / 24)  # a tie doubles it


def test_chance_is_covered_by_the_interval_and_p_is_uniform():
    rng = np.random.default_rng(0)
    found = [
        grid_rank_correlation(rng.normal(size=(6, 6)), rng.normal(size=(6, 6)), resamples=200, permutations=99, seed=i)
        for i in range(60)
    ]
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.85
    assert np.mean([one.p_value <= 0.2 for one in found]) == pytest.approx(0.2, abs=0.16)


def test_failed_cells_take_no_part_and_bad_shapes_are_named():
    y = np.arange(6.0).reshape(2, 3)
    y[0, 1] = np.nan
    assert grid_rank_correlation(np.arange(6.0).reshape(2, 3), y).n == 5
    assert np.isnan(grid_rank_correlation(np.ones((2, 3)), y).value)
    with pytest.raises(ValueError, match=r"x: got shape \(4,\)"):
        grid_rank_correlation(np.ones(4), y)
    with pytest.raises(ValueError, match=r"y: got shape \(6,\)"):
        grid_rank_correlation(np.ones(6), np.ones(6))
    with pytest.raises(ValueError, match="expected at least 2"):
        grid_rank_correlation(np.ones((1, 1)), np.ones((1, 1)))
