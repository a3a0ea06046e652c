"""Paired comparisons of spaces: planted differences, twins of the means, Holm's correction."""

import numpy as np
import pandas as pd
import pytest

from jam.evaluation.contrasts import contrast_rows, holm, observations
from jam.evaluation.scores import Key, PerRow


def outcomes(rng, chances, n=300, seeds=(0, 1, 2)):
    """Runs whose items are right with a chance of their own, in two directions."""
    runs = {}
    for seed in seeds:
        runs[seed] = {
            Key("true_recall", "x", "y", direction, 1): PerRow(rng.random(n) < chances, np.arange(n))
            for direction in ("x_to_y", "y_to_x")
        }
    return runs


def one(rows, **where):
    return next(row for row in rows if all(row[name] == value for name, value in where.items()))


def test_a_planted_difference_is_found_and_none_where_there_is_none():
    rng = np.random.default_rng(0)
    easy = rng.random(300) * 0.6
    spaces = {"a": outcomes(rng, easy + 0.2), "b": outcomes(rng, easy), "c": outcomes(rng, easy)}
    tables = {name: observations(runs) for name, runs in spaces.items()}
    rows = contrast_rows(tables, [("a", "b"), ("b", "c")], np.arange(300), 500)
    found = one(rows, subject="a", against="b")
    twin = np.mean([o.values.mean() for r in spaces["a"].values() for o in r.values()]) - np.mean(
        [o.values.mean() for r in spaces["b"].values() for o in r.values()]
    )
    assert found["value"] == pytest.approx(twin)
    assert found["low"] < 0.2 < found["high"]
    assert found["p"] <= 0.05
    assert one(rows, subject="b", against="c")["p"] > 0.05
    assert (found["n"], found["seeds"]) == (300, 3)


def test_pairing_makes_intervals_narrower_than_items_apart():
    rng = np.random.default_rng(1)
    hard = (rng.random(300) < 0.5).astype(float)  # the same items are right in both spaces
    tables = {name: observations(outcomes(rng, hard)) for name in "ab"}
    row = one(contrast_rows(tables, [("a", "b")], np.arange(300), 300), subject="a")
    assert row["value"] == row["low"] == row["high"] == 0


def test_items_of_one_unit_are_drawn_together():
    rng = np.random.default_rng(2)
    same = np.repeat(rng.random(30), 10)  # ten images of each scene
    runs = {
        name: {0: {Key("preservation", "x"): PerRow(same * scale, np.arange(300))}}
        for name, scale in (("a", 1), ("b", 0))
    }
    tables = {name: observations(of) for name, of in runs.items()}
    width = {}
    for what, units in (("alone", np.arange(300)), ("together", np.repeat(np.arange(30), 10))):
        row = contrast_rows(tables, [("a", "b")], units, 400)[0]
        width[what] = row["high"] - row["low"]
    assert width["together"] > 2 * width["alone"]


def test_features_that_spaces_are_made_of_are_not_compared():
    own, frozen = Key("private", "x", label="tint"), Key("private", "x", label="tint", condition="frozen")
    runs = {0: {key: PerRow(np.ones(4), np.arange(4)) for key in (own, frozen)} | {Key("modality_gap", "x", "y"): 0.3}}
    table = observations(runs)
    assert len(table) == 4
    assert table["condition"].isna().all()
    assert observations({0: {}}).empty


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    assert isinstance(observations({0: {}}), pd.DataFrame)
