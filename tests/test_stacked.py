"""Stacked trainings end where the plain loop ends; one that fails leaves the others as they are."""

import numpy as np
import pytest
import torch
from test_training import OBJECTIVES, training, world

from jam.stacked import Run, train_stacked
from jam.training import train


def still(name, **changes):
    """An objective without dropout, whose masks are the one thing that a stack draws differently."""
    return OBJECTIVES[name].model_copy(update={"dropout": 0.0, **changes} if name != "linear" else changes)


def assert_equal(stacked, plain):
    assert stacked.chosen["epoch"] == plain.chosen["epoch"]
    assert stacked.chosen["alpha"] == plain.chosen["alpha"]
    columns = ["loss_align", "logit_scale", "validation_recall", "reconstruction_weight"]
    np.testing.assert_allclose(stacked.history[columns], plain.history[columns], rtol=2e-4, atol=2e-4)
    for side in ("image", "text"):
        got, want = getattr(stacked, side).state_dict(), getattr(plain, side).state_dict()
        for name in want:
            torch.testing.assert_close(got[name], want[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_seeds_stacked_equal_seeds_one_by_one(name):
    pairs, validation, schedule = world(100, 1), world(40, 2), training(epochs=3, learn_temperature=name == "con")
    objective = still(name)
    stacked = train_stacked([Run(pairs, validation, objective, schedule, seed) for seed in range(3)])
    for seed, found in enumerate(stacked):
        assert_equal(found, train(pairs, validation, objective, schedule, seed=seed))


def test_alpha_lambda_and_data_may_differ_within_a_stack():
    schedule = training(epochs=3, captions="mean")
    runs = []
    for seed, (alpha, weights, cross) in enumerate(
        [((0.2, 0.2), (0.0, 0.0), 0.5), ((0.1, 0.9), (1.0, 0.1), 1.0), ((0.5, 0.5), (2.0, 2.0), 2.0)]
    ):
        objective = still("spread", alphas=(alpha,), reconstruction=weights, cross_reconstruction=cross)
        runs.append(Run(world(90, 10 + seed), world(30, 20), objective, schedule, seed))
    assert len({run.shape for run in runs}) == 1
    for run, found in zip(runs, train_stacked(runs), strict=True):
        assert_equal(found, train(run.pairs, run.validation, run.objective, schedule, seed=run.seed))


def test_each_run_stops_by_itself():
    # At these rates the one learns nothing and is stale after the patience; the other goes on to the last epoch.
    schedule = training(epochs=6, patience=2, clip_norm=1e-12)
    slow, fast = world(80, 1), world(80, 3)
    found = train_stacked(
        [Run(pairs, world(40, 2), still("con"), schedule, seed) for seed, pairs in enumerate((slow, fast))]
    )
    for seed, (pairs, stacked) in enumerate(zip((slow, fast), found, strict=True)):
        assert_equal(stacked, train(pairs, world(40, 2), still("con"), schedule, seed=seed))


def test_one_diverging_run_is_reported_and_the_others_are_not_touched():
    schedule, validation = training(epochs=2), world(40, 2)
    good, bad = world(80, 1), world(80, 1)
    bad.texts[bad.negative_rows[0, 0]] = np.nan
    found = train_stacked([Run(pairs, validation, still("negcon"), schedule, 0) for pairs in (good, bad)])
    assert isinstance(found[1], ValueError)
    assert "expected a finite one" in str(found[1])
    assert_equal(found[0], train(good, validation, still("negcon"), schedule, seed=0))


def test_unlike_runs_are_refused():
    pairs, validation, schedule = world(50, 1), world(20, 2), training(epochs=1)
    with pytest.raises(ValueError, match="got 2 shapes"):
        train_stacked([Run(pairs, validation, still(name), schedule, 0) for name in ("con", "negcon")])
    several = still("spread", alphas=((0.2, 0.2), (0.5, 0.5)))
    with pytest.raises(ValueError, match="several alphas"):
        train_stacked([Run(pairs, validation, several, schedule, 0)])
