"""Depth: CCA of planted layers, best layers by validation rows, whether one grid foretells another, with its null."""

import math

import numpy as np
import pandas as pd
import pytest

from jam.losses.cca import cca
from jam.metrics import relevant_first, spearman
from jam.report.depth_figures import depth
from jam.report.sweep_tables import depth_table, depth_trend_table
from jam.results import results_table
from jam.sweep import deep
from jam.sweep.depth import COMPONENTS, SHRINKAGES, best_of, fit_layers, grids
from jam.sweep.foretold import foretold

SIZES = {"train": 400, "val": 120, "test": 150}
OWN = {split: np.eye(n, dtype=bool) for split, n in SIZES.items()}


def encoders(names, noises, d, seed):
    """Layers that show what both sides share, each under more or less noise."""
    rng = np.random.default_rng(seed)
    shared = {split: np.random.default_rng(len(split)).standard_normal((n, 6)) for split, n in SIZES.items()}
    found = {}
    for name in names:
        found[name] = {}
        for number, noise in enumerate(noises):
            maps, extra = rng.standard_normal((6, d)), rng.standard_normal((d, d))
            found[name][number] = {
                split: (of @ maps + noise * rng.standard_normal((len(of), d)) @ extra).astype(np.float32)
                for split, of in shared.items()
            }
    return found


XS, YS = encoders(["v", "w"], [3.0, 1.0, 0.2], 12, 0), encoders(["t", "u"], [0.2, 2.0], 20, 1)
NUMBERS = deep.numbers_of(XS, YS)


@pytest.fixture(scope="module")
def fitted():
    return fit_layers(XS, YS, OWN)


def test_scores_are_those_of_the_best_cca_of_a_plain_grid(fitted):
    one = next(f for f in fitted if (f.x, f.y, f.layers) == ("w", "t", (1, 0)))
    x, y = XS["w"][1], YS["t"][0]
    mean = {name: of["train"].astype(float).mean(axis=0) for name, of in (("x", x), ("y", y))}
    best = (-1.0,)
    for shrinkage in SHRINKAGES:
        for components in sorted({min(c, 12) for c in COMPONENTS}):
            a, b = cca(x["train"] - mean["x"], y["train"] - mean["y"], components, shrinkage)
            val, test = (((x[s] - mean["x"]) @ a, (y[s] - mean["y"]) @ b) for s in ("val", "test"))
            score = (relevant_first(*val, OWN["val"]).mean() + relevant_first(*val[::-1], OWN["val"]).mean()) / 2
            if score > best[0]:
                rows = (relevant_first(*test, OWN["test"]) + 1.0 * relevant_first(*test[::-1], OWN["test"])) / 2
                best = score, rows, shrinkage, components
    assert one.validation == pytest.approx(best[0])
    assert one.rows.tolist() == best[1].tolist()
    assert (one.shrinkage, one.components) == best[2:]


def test_the_layers_with_least_noise_are_best_and_any_number_of_processes_agrees(fitted):
    assert {(one.x, one.y): one.layers for one in best_of(fitted)} == {(x, y): (2, 0) for x in "vw" for y in "tu"}
    assert len(fitted) == 2 * 3 * 2 * 2
    again = fit_layers(XS, YS, OWN, workers=2)
    assert [(one.x, one.y, one.layers, one.validation) for one in again] == [
        (one.x, one.y, one.layers, one.validation) for one in fitted
    ]


def test_frozen_alignment_foretells_planted_depth_and_the_rows_say_so(fitted):
    frozen = deep.frozen_grids(XS, YS, "val", 5)
    assert {grid.shape for of in frozen.values() for grid in of.values()} == {(3, 2)}
    rows = deep.trend_rows(frozen, fitted, NUMBERS, "recall", 50)
    mean = next(row for row in rows if row["predictor"] == "unbiased_cka" and "x" not in row and row["within"] is None)
    assert mean["value"] > 0.8 > mean["null"]
    assert mean["p"] < 0.05
    assert mean["low"] <= mean["value"] <= mean["high"]
    table = results_table("layers", deep.layer_rows(fitted, NUMBERS, "recall", 1 / 150, 50))
    gain = table[table["against"].notna()]
    assert len(gain) == 4
    assert (gain["low"] > 0).all()  # the last layers of y are the noisy ones
    union = results_table("layers", table)
    assert len(depth(union).axes) == 4
    trends = results_table("trends", rows)
    told = depth_table(pd.concat([union, trends]))
    assert told.count("| 2, 0 |") == 4
    assert ", null " in depth_trend_table(trends)


def test_a_grid_foretells_itself_and_noise_does_not():
    rng = np.random.default_rng(0)
    names = [(x, y) for x in "abc" for y in "def"]
    after = {name: rng.random((4, 3)) for name in names}
    own, other = foretold(after, after), foretold({name: rng.random((4, 3)) for name in names}, after)
    assert own.value == pytest.approx(1)
    assert own.p == pytest.approx(1 / 1001)
    assert abs(other.value) < 0.4
    assert other.p > 0.05
    assert other.value == pytest.approx(
        np.mean([spearman(after[name], after[name]) * rho for name, rho in other.pairs.items()])
    )
    assert 0 < own.null < 0.5


def test_one_layer_each_foretells_nothing_and_is_no_error():
    one = {("a", "b"): np.ones((1, 1))}
    found = foretold(one, one)
    assert math.isnan(found.value)
    xs, ys = ({name: {0: layers[0]} for name, layers in side.items()} for side in (XS, YS))
    single = fit_layers({"v": xs["v"]}, {"t": ys["t"]}, OWN)
    numbers = deep.numbers_of({"v": xs["v"]}, {"t": ys["t"]})
    rows = deep.layer_rows(single, numbers, "recall", 0.0, 20)
    assert rows[-1]["value"] == 0  # the best layers are the last ones
    assert (
        deep.trend_rows(deep.frozen_grids({"v": xs["v"]}, {"t": ys["t"]}, "val", 5), single, numbers, "recall", 20)
        == []
    )
    assert grids(single, numbers)["v", "t"].shape == (1, 1)
