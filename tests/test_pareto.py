"""Pareto front and hypervolume against definitions, counting of unit cells, and hand-drawn fronts."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jam.errors import InputError
from jam.metrics import hypervolume, pareto_front

fronts = st.integers(1, 3).flatmap(
    lambda m: st.lists(st.lists(st.integers(-1, 4), min_size=m, max_size=m), min_size=1, max_size=8)
)


@settings(max_examples=100, deadline=None)
@given(fronts)
def test_front_is_what_no_point_dominates(points):
    def dominates(p, q):
        return all(a >= b for a, b in zip(p, q, strict=True)) and any(a > b for a, b in zip(p, q, strict=True))

    expected = [not any(dominates(p, q) for p in points) for q in points]
    assert pareto_front(points).tolist() == expected


def test_front_of_a_drawn_example():
    points = [[1, 5], [2, 4], [2, 4], [2, 3], [4, 1], [4, 0], [0, 0]]
    assert pareto_front(points).tolist() == [True, True, True, False, True, False, False]


@settings(max_examples=100, deadline=None)
@given(fronts)
def test_hypervolume_counts_dominated_unit_cells(points):
    cells = itertools.product(range(4), repeat=len(points[0]))
    dominated = sum(any(all(c < x for c, x in zip(cell, p, strict=True)) for p in points) for cell in cells)
    assert hypervolume(points, [0] * len(points[0])) == dominated


@settings(max_examples=50, deadline=None)
@given(fronts)
def test_hypervolume_needs_the_front_only(points):
    front = np.array(points)[pareto_front(points)]
    assert hypervolume(front, [-2] * front.shape[1]) == hypervolume(points, [-2] * front.shape[1])


def test_hypervolume_of_a_staircase_and_of_a_shifted_corner():
    assert hypervolume([[1, 3], [2, 2], [3, 1]], [0, 0]) == 6
    assert hypervolume([[1, 3], [2, 2], [3, 1]], [1, 1]) == 1
    assert hypervolume([[0.5, 0.5]], [0.5, 0.0]) == 0
    assert hypervolume([[2, 3, 4, 5]], [1, 1, 1, 1]) == 24


def test_bad_points_are_named():
    with pytest.raises(InputError, match="points: row 1 holds NaN"):
        pareto_front([[0, 1], [np.nan, 1]])
    with pytest.raises(InputError, match="reference: holds NaN"):
        hypervolume([[0, 1]], [np.inf, 0])
    with pytest.raises(ValueError, match=r"points: got shape \(2,\)"):
        pareto_front([1, 2])
    with pytest.raises(ValueError, match=r"reference: got shape \(3,\), expected \(2,\)"):
        hypervolume([[0, 1]], [0, 0, 0])
