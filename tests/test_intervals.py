"""Intervals: those of scipy, and bad input."""

import numpy as np
import pytest
from scipy import stats

from jam.errors import InputError
from jam.metrics import t_interval, wilson_interval


def test_t_interval_is_that_of_scipy():
    values = np.random.default_rng(4).standard_normal(5)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert t_interval(values, confidence=0.9) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (500, 1000)])
def test_wilson_interval_is_that_of_scipy(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="confidence: got 1"):
        t_interval([0.5, 0.6], confidence=1.0)
    with pytest.raises(ValueError, match=r"values: got shape \(1,\), expected at least 2"):
        t_interval([0.5])
    with pytest.raises(InputError, match="NaN"):
        t_interval([0.5, np.nan])
    with pytest.raises(ValueError, match="got 5 of 4"):
        wilson_interval(5, 4)
