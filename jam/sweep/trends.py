"""Does one quantity go with another over the cells of a grid? Rows of experiment ``trends``.

A row's ``metric`` and ``condition`` say what is explained: of ``trained`` cells, of ``frozen`` features; its
``predictor`` says by what.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from jam.metrics import grid_rank_correlation
from jam.results import results_table
from jam.sweep.frozen import METRICS
from jam.sweep.table import OUTCOMES, grid, told


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


def _correlation(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    found = grid_rank_correlation(x, y)
    return {
        "value": found.value, "low": found.low, "high": found.high, "p": found.p_value, "n": found.n,
        "interval": "pigeonhole bootstrap over the grid's rows and columns",
    }  # fmt: skip
