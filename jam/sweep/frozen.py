"""Kernel alignment of the grids' features before any training, as rows of results."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from jam.errors import InputError
from jam.metrics import layer_alignment
from jam.metrics.kernels.engine import WITH_K

GRAM = ("mutual_knn", "unbiased_cka", "cknna")
METRICS = (*GRAM, "svcca")

Layers = tuple[str, Mapping[int, np.ndarray]]
"""An encoder's name, and of some of its layers the features (n, d), row for row those of the other encoder."""


def layer_rows(x: Layers, y: Layers, split: str, k: int, permutations: int, seed: int) -> list[dict[str, Any]]:
    """Every layer of x with every layer of y; of the Gram metrics also their maximum, with its null.

    The maximum of SVCCA has none: thousands of singular value decompositions would take longer than all trainings.

    Raises:
        InputError: a layer whose rows are all the same.
    """
    for name, layers in (x, y):
        if same := [number for number, features in layers.items() if (features == features[0]).all()]:
            raise InputError(f"layers: {name} has one and the same row throughout in layers {same}; leave them out")
    numbers = [list(layers) for _, layers in (x, y)]
    left, right = (list(layers.values()) for _, layers in (x, y))
    gram = layer_alignment(left, right, GRAM, k, permutations=permutations, seed=seed)
    scores = gram.scores | layer_alignment(left, right, ("svcca",)).scores

    def row(metric: str, at: tuple[int, ...], value: float, **more: Any) -> dict[str, Any]:
        return {
            "x": x[0], "x_layer": numbers[0][at[0]], "y": y[0], "y_layer": numbers[1][at[1]], "split": split,
            "condition": "frozen", "metric": metric, "k": k if metric in WITH_K else None, "n": gram.n, "value": value,
            **more,
        }  # fmt: skip

    rows = [row(metric, at, float(values[at])) for metric, values in scores.items() for at in np.ndindex(values.shape)]
    for metric, best in gram.best.items():
        told: dict[str, Any] = {"null": best.threshold, "p": best.p_value, "calibrated": best.calibrated}
        rows.append(row(metric, best.layers, best.score, condition="frozen, best", **told))
    return rows


def kernel_rows(table: pd.DataFrame) -> pd.DataFrame:
    """What `kernel_table` gives, in the columns of results."""
    found = table.rename(columns={"p_value": "p"})
    return found.assign(k=found["k"].where(found["k"] > 0), interval="jackknife over rows")
