"""Every pair out of two sets of representations, each score with its own interval and its own null."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from jam.errors import InputError
from jam.metrics._rows import Array, full_precision
from jam.metrics.kernels.comparisons import METRICS, prepare
from jam.metrics.kernels.inputs import matching_rows
from jam.metrics.kernels.neighbours import check_k
from jam.metrics.kernels.nulls import calibrate, draw_orders, jackknife_interval, p_value


@torch.no_grad()
def kernel_table(
    xs: Mapping[str, Array],
    ys: Mapping[str, Array],
    metrics: Sequence[str] = METRICS,
    k: int = 10,
    permutations: int = 200,
    folds: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Score every x with every y, rows as given; what `kernel_score` does, with the work on a layer done once.

    Args:
        xs: name → (n, d) features.
        ys: name → (n, d) features of the same rows.
        metrics: as in `layer_alignment`.
        k: neighbours, for the metrics that have them.
        permutations: of the null of each pair, at least 1.
        folds: of the delete-a-group jackknife.
        seed: of the permutations and the folds.

    Returns:
        Columns x, y, metric, value, low, high (95 % jackknife interval), null (the threshold of level .05), p_value,
        n, k (0 where the metric has none).

    Raises:
        ValueError: an unknown metric, bad shapes or numbers out of range.
        InputError: a representation that is constant or not finite, or too few rows for k and the folds.
    """
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown:
        raise ValueError(f"metrics: got {unknown}, expected some of {list(METRICS)}")
    left, right = matching_rows(list(xs.values()), list(ys.values()))
    n, names = len(left[0]), [*xs, *ys]
    check_k(k, n, None)
    left_over = n - math.ceil(n / folds)
    if left_over <= k:
        raise InputError(
            f"rows: got {n}, of which {folds} folds leave {left_over}, expected more than k = {k} to be left"
        )

    def scores(rows: torch.Tensor | None = None, permuted: bool = False) -> dict[str, np.ndarray]:
        a, b = (layers if rows is None else [layer[rows] for layer in layers] for layers in (left, right))
        orders = draw_orders(n, permutations, seed) if permuted else None
        found: dict[str, np.ndarray] = {}
        with full_precision(left[0].device):
            for comparison in prepare(a, b, names, metrics, k, None, normalize=False):
                found |= {metric: values.cpu().numpy() for metric, values in comparison.scores(orders).items()}
        return found

    observed, null = scores(), scores(permuted=True)
    fold = np.random.default_rng(seed).permutation(n) % folds
    parts = [scores(torch.from_numpy(np.flatnonzero(fold != f))) for f in range(folds)]
    table = []
    for metric in metrics:
        for i, x in enumerate(xs):
            for j, y in enumerate(ys):
                value, chance = float(observed[metric][0, i, j]), null[metric][:, i, j]
                interval = jackknife_interval(value, np.array([part[metric][0, i, j] for part in parts]))
                table.append(
                    {
                        "x": x, "y": y, "metric": metric, "value": value, "low": interval.low, "high": interval.high,
                        "null": calibrate(value, chance)[1], "p_value": p_value(value, chance), "n": n,
                        "k": k if metric in ("mutual_knn", "cknna") else 0,
                    }
                )  # fmt: skip
    return pd.DataFrame(table)
