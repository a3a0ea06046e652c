"""Retrieval where several answers are right, against definitions in plain Python."""

import numpy as np
import pytest

from jam.errors import InputError
from jam.metrics import average_precision, relevant_first, retrieval_ranks


def cosines(x, y):
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    return a @ b.T


def by_definition(scores, right):
    """Whether the best is right, and the average precision; ties go against the right ones."""
    order = sorted(range(len(scores)), key=lambda j: (-scores[j], right[j]))
    places = [place for place, j in enumerate(order, start=1) if right[j]]
    precision = [hits / place for hits, place in enumerate(places, start=1)]
    return bool(right[order[0]]), sum(precision) / len(precision) if precision else float("nan")


@pytest.mark.parametrize("seed", range(5))
def test_both_are_their_definitions(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-2, 3, (40, 4)) + 0.5, rng.integers(-2, 3, (60, 4)) + 0.5  # many exact ties
    right = rng.random((40, 60)) < 0.1
    wanted = [by_definition(np.round(row, 12), flags) for row, flags in zip(cosines(x, y), right, strict=True)]
    assert relevant_first(x, y, right).tolist() == [hit for hit, _ in wanted]
    np.testing.assert_allclose(average_precision(x, y, right), [value for _, value in wanted], atol=1e-12)


def test_of_one_right_answer_they_are_recall_and_reciprocal_rank():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 50, 8))
    ranks, _ = retrieval_ranks(x, y, np.arange(50))
    assert (relevant_first(x, y, np.eye(50)) == (ranks == 1)).all()
    np.testing.assert_allclose(average_precision(x, y, np.eye(50)), 1 / ranks)


def test_an_oracle_reaches_the_ceiling_and_a_collapsed_space_nothing():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 12, 80)
    right = groups[:, None] == groups
    oracle = np.eye(12)[groups]
    assert relevant_first(oracle, oracle, right).all()
    assert (average_precision(oracle, oracle, right) == 1).all()
    collapsed = np.ones((80, 3))
    assert not relevant_first(collapsed, collapsed, right).any()
    assert average_precision(collapsed, collapsed, right).mean() < right.mean() + 0.05
    assert relevant_first(collapsed, collapsed, np.ones((80, 80))).all()  # whatever is found is right


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    x, y, right = rng.standard_normal((30, 5)), rng.standard_normal((20, 5)), rng.random((30, 20)) < 0.3
    whole = average_precision(x, y, right)
    monkeypatch.setattr("jam.metrics.relevance.BLOCK", 60)
    np.testing.assert_allclose(average_precision(x, y, right), whole, atol=1e-14)


def test_bad_input_is_one_line():
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"relevant: got shape \(3, 4\), expected \(3, 3\)"):
        relevant_first(x, x, np.ones((3, 4)))
    with pytest.raises(InputError, match="queries"):
        relevant_first(x * 0, x, np.ones((3, 3)))
