"""How far kernel metrics fall when one thing is changed: known answers, and the yardstick."""

import numpy as np
import pytest

from jam.metrics.kernels.nulls import deal
from jam.reality.detail import FALL, FROZEN, STATE, Views, detail_rows, falls, yardstick
from jam.world.habitats import habitats_of
from jam.world.state import facts

METRICS = ("mutual_knn", "unbiased_cka", "cknna", "svcca")


@pytest.fixture(scope="module")
def states():
    return habitats_of(0, habitats=5, objects=3, one_object=0.1).draw(120, np.random.default_rng(1))[0]


def test_what_does_not_change_does_not_fall_and_noise_falls_all_the_way():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 200, 10))
    fold = deal(200, 5, 0)
    still = falls(Views({}, x, x, x), METRICS[:2], 10, fold)
    gone = falls(Views({}, x, x, noise), METRICS[:2], 10, fold)
    for metric in METRICS[:2]:
        assert still[metric] == pytest.approx(np.zeros(6))
        assert gone[metric] == pytest.approx(np.ones(6), abs=0.1)


def test_the_yardstick_differs_in_one_thing(states):
    views = yardstick(states, 0)
    assert np.array_equal(views.x, views.matched)
    assert (views.x != views.changed).any(axis=1).all()
    assert np.array_equal(facts(states), views.x)


def test_rows_are_paired_with_the_state_and_with_what_was_frozen(states):
    own = yardstick(states, 3)
    frozen, blind = Views({"x": "a"}, own.x, own.matched, own.changed), Views({"x": "b"}, own.x, own.matched, own.x)
    rows = detail_rows(frozen, [blind], states, METRICS, 5, 6, seed=3)
    assert {row["condition"] for row in rows} == {FALL}
    assert {row["metric"] for row in rows} == set(METRICS[:3])
    told = {(row["x"], row["metric"], row["against"]): row for row in rows}
    for metric in METRICS[:3]:
        assert told["a", metric, STATE]["value"] == pytest.approx(0)  # the same rows, the same changes
        assert told["a", metric, STATE]["low"] == pytest.approx(0)
        assert told["b", metric, None]["value"] == pytest.approx(0)  # sees nothing of the change
        assert told["b", metric, FROZEN]["value"] == pytest.approx(-told["a", metric, None]["value"])
        assert told["b", metric, FROZEN]["high"] < 0
