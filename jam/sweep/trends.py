"""Does one quantity go with another over the cells of a grid? Rows of experiment ``trends``.

A row's ``metric`` and ``condition`` say what is explained: of ``trained`` cells, of ``frozen`` features; its
``predictor`` says by what, ``predictor_side`` of whose encoders, x or y.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from jam.metrics import grid_rank_correlation
from jam.results import results_table, select
from jam.sweep.frozen import METRICS
from jam.sweep.table import OUTCOMES, grid, told

FACTS = ("parameters", "quality")
PROBES = ("digit", "color", "size", "height")  # an encoder's quality is the mean accuracy of linear probes for these


def layer_trends(table: pd.DataFrame, x_layers: Sequence[int], y_layers: Sequence[int]) -> pd.DataFrame:
    """Does the frozen alignment of two layers on validation rows tell what comes of training them, on test rows?"""

    def over(**where: Any) -> np.ndarray:
        return grid(table, ("x_layer", x_layers), ("y_layer", y_layers), **where)

    rows = []
    for predictor, outcome in product(METRICS, told(table)):
        before = over(metric=predictor, condition="frozen", split="val")
        after = over(split="test", **OUTCOMES[outcome])
        row = {"grid": "layers", "predictor": predictor, "condition": "trained", **OUTCOMES[outcome]}
        rows.append({**row, **_correlation(before, after)})
        # Depth of the layer of x moves everything; what is left of a score within one such layer may tell otherwise.
        within = (values - np.nanmean(values, axis=1, keepdims=True) for values in (before, after))
        rows.append({**row, "within": "x", **_correlation(*within)})
    return results_table("trends", [row for row in rows if np.isfinite(row["value"])])


def scale_trends(table: pd.DataFrame, xs: Sequence[str], ys: Sequence[str]) -> pd.DataFrame:
    """Do size and quality of the encoders tell what comes of training, and how alike they are?"""
    facts = select(table, metric=FACTS).pivot(index="subject", columns="metric", values="value")
    facts = facts.reindex(columns=list(FACTS)).astype(float)
    rows = []
    for told_by, outcome, values in _outcomes(table, xs, ys):
        for side, names, fact in (("x", xs, "parameters"), ("x", xs, "quality"), ("y", ys, "parameters"),
                                  ("y", ys, "quality")):  # fmt: skip
            predictor = facts[fact].reindex(names).to_numpy()
            predictor = predictor[:, None] if side == "x" else predictor[None, :]
            rows.append(({"predictor": fact, "predictor_side": side, **outcome}, predictor, values))
        rows += [({"predictor": told_by, **after}, values, trained) for after, trained in _trained(table, xs, ys)
                 if told_by]  # fmt: skip
    found = [
        {"grid": "scale", **row, **_correlation(x, y)}
        for row, x, y in rows
        if min(np.isfinite(np.broadcast_to(x, y.shape) + y).sum(), y.size) >= 2
    ]
    return results_table("trends", [row for row in found if np.isfinite(row["value"])])


def _outcomes(
    table: pd.DataFrame, xs: Sequence[str], ys: Sequence[str]
) -> Iterator[tuple[str | None, dict[str, Any], np.ndarray]]:
    """What may be explained, over the grid; of frozen alignment also its name, as it may explain what is trained."""
    for outcome, trained in _trained(table, xs, ys):
        yield None, outcome, trained
    for metric in METRICS:
        where = {"metric": metric, "condition": "frozen"}
        yield metric, where, grid(table, ("x", xs), ("y", ys), **where)


def _trained(table: pd.DataFrame, xs: Sequence[str], ys: Sequence[str]) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    for name in told(table):
        values = grid(table, ("x", xs), ("y", ys), split="test", **OUTCOMES[name])
        yield {"condition": "trained", **OUTCOMES[name]}, values


def _correlation(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    found = grid_rank_correlation(x, y)
    return {
        "value": found.value, "low": found.low, "high": found.high, "p": found.p_value, "n": found.n,
        "interval": "pigeonhole bootstrap over the grid's rows and columns",
    }  # fmt: skip
