"""Results of all layers of many pairs of encoders: which are best, and whether frozen alignment foretells them."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np

from jam.metrics import bootstrap_mean, layer_alignment, paired_difference
from jam.metrics.kernels.engine import WITH_K
from jam.sweep.depth import Fitted, Floats, Layers, best_of, grids
from jam.sweep.foretold import foretold
from jam.sweep.frozen import GRAM

CLOSED, BEFORE = "closed form", "frozen, all layers"
BEST, LAST = "closed form, best layers", "closed form, last layers"


def numbers_of(*sides: Mapping[str, Layers]) -> dict[str, list[int]]:
    """The layers of each encoder."""
    return {name: list(layers) for side in sides for name, layers in side.items()}


def layer_rows(
    fitted: Sequence[Fitted], numbers: Mapping[str, Sequence[int]], metric: str, chance: float, resamples: int
) -> list[dict[str, Any]]:
    """Scores of every pair of layers, and of each pair of encoders those of the best layers and of the last ones.

    The best are chosen on validation rows; they and their paired difference have intervals over test items.

    Args:
        fitted: all pairs of layers.
        numbers: the layers of each encoder.
        metric: what scores are.
        chance: what they are where answers are drawn at random.
        resamples: of the bootstrap.
    """
    shared = {"metric": metric, "direction": "both"}
    rows: list[dict[str, Any]] = []
    for one in fitted:
        at = {**shared, **_place(one), "condition": CLOSED}
        rows += [{**at, "split": "val", "value": one.validation},
                 {**at, "split": "test", "value": one.rows.mean(), "n": len(one.rows)}]  # fmt: skip
    for best in best_of(fitted):
        ends = numbers[best.x][-1], numbers[best.y][-1]
        last = next(one for one in fitted if (one.x, one.y, one.layers) == (best.x, best.y, ends))
        told = {**shared, "split": "test", "n": len(best.rows), "interval": "bootstrap over items", "ceiling": 1.0}
        for condition, one in ((BEST, best), (LAST, last)):
            rows.append(
                {**told, **_place(one), "condition": condition, **bootstrap_mean(one.rows, resamples)._asdict()}
            )
        gain = paired_difference(best.rows, last.rows, resamples)._asdict()
        rows.append({**told, **_place(best), "condition": BEST, "against": LAST, **gain})
    return rows


def _place(one: Fitted) -> dict[str, Any]:
    return {"x": one.x, "x_layer": one.layers[0], "y": one.y, "y_layer": one.layers[1]}


def frozen_grids(
    xs: Mapping[str, Layers], ys: Mapping[str, Layers], split: str, k: int
) -> dict[str, dict[tuple[str, str], Floats]]:
    """Metric → pair of encoders → frozen alignment of their layers, (layers of x, layers of y)."""
    left, right = ([of[split] for layers in side.values() for of in layers.values()] for side in (xs, ys))
    scores = layer_alignment(left, right, GRAM, k).scores
    cuts = [_slices(side) for side in (xs, ys)]
    return {
        metric: {(x, y): table[cuts[0][x], cuts[1][y]] for x, y in product(xs, ys)} for metric, table in scores.items()
    }


def _slices(side: Mapping[str, Layers]) -> dict[str, slice]:
    """Where the layers of each encoder are among those of all."""
    ends = np.cumsum([0, *map(len, side.values())]).tolist()
    return {name: slice(*cut) for name, cut in zip(side, pairwise(ends), strict=True)}


def frozen_rows(
    frozen: Mapping[str, Mapping[tuple[str, str], Floats]], numbers: Mapping[str, Sequence[int]], split: str, k: int
) -> list[dict[str, Any]]:
    """The same as rows of results."""
    return [
        {"x": x, "x_layer": numbers[x][at[0]], "y": y, "y_layer": numbers[y][at[1]], "split": split, "metric": metric,
         "condition": BEFORE, "k": k if metric in WITH_K else None, "value": float(grid[at])}
        for metric, of in frozen.items() for (x, y), grid in of.items() for at in np.ndindex(grid.shape)
    ]  # fmt: skip


def trend_rows(
    frozen: Mapping[str, Mapping[tuple[str, str], Floats]],
    fitted: Sequence[Fitted],
    numbers: Mapping[str, Sequence[int]],
    metric: str,
    resamples: int,
) -> list[dict[str, Any]]:
    """Does frozen alignment (of validation rows) foretell which layers align best (on test rows)? As ``trends``.

    A row for each pair of encoders and one for the mean over all of them; the same within layers of x.
    """
    after, rows = grids(fitted, numbers), list[dict[str, Any]]()
    for predictor, before in frozen.items():
        for within, centred in ((None, np.asarray), ("x", _within)):
            first, then = ({name: centred(grid) for name, grid in of.items()} for of in (before, after))
            found = foretold(first, then, resamples)
            shared = {"grid": "depth", "predictor": predictor, "within": within, "condition": CLOSED, "metric": metric,
                      "direction": "both"}  # fmt: skip
            pairs = found.pairs.items()
            rows += [{**shared, "x": x, "y": y, "value": rho, "n": after[x, y].size} for (x, y), rho in pairs]
            rows.append(
                {**shared, "value": found.value, "low": found.low, "high": found.high, "null": found.null,
                 "p": found.p, "n": len(pairs), "interval": "pigeonhole bootstrap over encoders"}
            )  # fmt: skip
    return [row for row in rows if not math.isnan(row["value"])]


def _within(grid: Floats) -> Floats:
    """What is left within each layer of x, whose depth moves everything."""
    found: Floats = grid - grid.mean(axis=1, keepdims=True)
    return found
