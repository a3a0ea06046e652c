"""Tests by rearranging units agree with the intervals that they leave, whatever the numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jam.metrics.arrangements import sign_flips, stratified_slope

SIZES, STRATA = [0, 0, 1, 1, 2, 2] * 2, ["a"] * 6 + ["b"] * 6
NUMBERS = st.lists(st.floats(-3, 3).map(lambda value: round(value, 3)), min_size=12, max_size=12)


def p_of_slope(y, effect):
    """The plain twin: the test of an effect, by refitting every arrangement of both strata."""
    from itertools import permutations, product

    def slope(values, sizes):
        x = np.array(sizes, float)
        x[:6] -= x[:6].mean()
        x[6:] -= x[6:].mean()
        return (x @ values) / (x @ x)

    left = np.array(y) - effect * np.array(SIZES)
    orders = set(permutations(SIZES[:6]))
    found = np.array([slope(left, (*a, *b)) for a, b in product(orders, orders)])
    return float(np.mean(np.abs(found) >= abs(slope(left, SIZES)) - 1e-9))


def test_the_test_and_the_interval_are_those_of_refitting_every_arrangement():
    y = np.random.default_rng(0).standard_normal(12) + 0.5 * np.array(SIZES)
    found = stratified_slope(y, SIZES, STRATA)
    assert found.p == pytest.approx(p_of_slope(y, 0))
    assert p_of_slope(y, found.low - 0.01) <= 0.05 < p_of_slope(y, found.low + 0.01)
    assert p_of_slope(y, found.high + 0.01) <= 0.05 < p_of_slope(y, found.high - 0.01)
    assert found.smallest_p == pytest.approx(2 / 8100)


@given(NUMBERS, st.floats(0, 2))
def test_an_interval_leaves_out_zero_exactly_where_the_test_refuses(y, effect):
    y = np.array(y) + effect * np.array(SIZES)
    for found in (stratified_slope(y, SIZES, STRATA), sign_flips(y[:7])):
        assert (found.p <= 0.05) == (found.low > 0 or found.high < 0)
        assert found.low <= found.value <= found.high
        assert found.p >= found.smallest_p


@given(NUMBERS, st.floats(-2, 2), st.floats(0.1, 5))
def test_shifts_of_strata_do_not_matter_and_an_effect_adds(y, effect, unit):
    y, shift = np.array(y), np.array([3.0] * 6 + [-7.0] * 6)
    one, other = (stratified_slope(some, SIZES, STRATA) for some in (y, (y + effect * np.array(SIZES)) * unit + shift))
    assert other.value == pytest.approx((one.value + effect) * unit, abs=1e-6)
    assert other.low == pytest.approx((one.low + effect) * unit, abs=1e-5)
    assert other.high == pytest.approx((one.high + effect) * unit, abs=1e-5)


def test_a_design_that_can_refuse_nothing_has_no_bounds():
    found = sign_flips([1.0, 1.1, 0.9])
    assert (found.p, found.smallest_p, found.low, found.high) == (0.25, 0.25, -np.inf, np.inf)
    found = stratified_slope([0, 0, 9, 9], [0, 0, 1, 1], "aaaa")
    assert found.smallest_p == pytest.approx(1 / 3)
    assert np.isinf(found.low)


def test_exact_signs():
    found = sign_flips([1, 2, 3, 4, 5, 6])
    assert found.value == 3.5
    assert found.p == found.smallest_p == 2 / 64
    assert found.low > 0


def test_drawn_arrangements_count_the_one_observed():
    y = np.concatenate([np.arange(20.0), np.arange(20.0)])
    found = stratified_slope(y, y, ["a"] * 20 + ["b"] * 20, most=999)
    assert found.p == found.smallest_p == pytest.approx(1 / 1000)
    assert found.value == pytest.approx(1)


def test_under_the_null_it_refuses_as_often_as_it_says():
    rng = np.random.default_rng(0)
    ps = [stratified_slope(rng.standard_normal(8), [0, 0, 1, 1] * 2, "aaaabbbb").p for _ in range(400)]
    assert np.mean(np.array(ps) <= 0.06) <= 0.06 + 0.03


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not vary within any stratum"):
        stratified_slope([1, 2, 3, 4], [0, 0, 1, 1], "aabb")
    with pytest.raises(ValueError, match="got 1, 2 and 2"):
        stratified_slope([1], [0, 1], "aa")
    with pytest.raises(ValueError, match="got none"):
        sign_flips([])
