"""Kernel scores with all that it takes to read them: interval, null, p-value, calibrated score."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from jam.errors import InputError
from jam.metrics._rows import Array, full_precision
from jam.metrics.kernels.comparisons import METRICS, WITH_K, check_metrics, prepare
from jam.metrics.kernels.inputs import Groups, group_codes, matching_rows
from jam.metrics.kernels.nulls import calibrate, deal, draw_orders, jackknife_interval, p_value


@torch.no_grad()
def kernel_table(
    xs: Mapping[str, Array],
    ys: Mapping[str, Array],
    metrics: Sequence[str] = METRICS,
    k: int = 10,
    groups: Groups = None,
    permutations: int = 200,
    folds: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Score every x with every y, rows as given, each with its own interval and null; work on a layer is done once.

    Args:
        xs, ys: name → (n, d) features of the same rows.
        metrics: as in `layer_alignment`.
        k: neighbours, for the metrics that have them.
        groups: (n,) labels of rows that belong together: not neighbours of each other, permuted and deleted together.
        permutations: of the null of each pair, at least 1.
        folds: of the delete-a-group jackknife.
        seed: of the permutations and the folds.

    Returns:
        Columns x, y, metric, value, low, high (95 % jackknife interval), null (the threshold of level .05), null_mean,
        p_value, calibrated (score above chance, see `calibrate`), n, k (0 where the metric has none).

    Raises:
        ValueError: an unknown metric, bad shapes or numbers out of range.
        InputError: a representation that is constant or not finite, or too few rows for k and the folds.
    """
    left, right = matching_rows(list(xs.values()), list(ys.values()), minimum=4)
    n, names = len(left[0]), [*xs, *ys]
    codes = group_codes(groups, n, left[0].device)
    labels = None if codes is None else codes.cpu().numpy()
    check_metrics(metrics, k, n, codes)
    fold = deal(n, folds, seed, labels)
    if set(metrics) & set(WITH_K):
        largest = 1 if labels is None else int(np.bincount(labels).max())
        left_over = n - int(np.bincount(fold).max())
        if left_over - largest < k:
            raise InputError(
                f"rows: got {n}, of which {folds} folds leave {left_over}, expected at least {k + largest} to be left "
                f"for k = {k}"
            )

    def scores(rows: torch.Tensor | None = None, permuted: bool = False) -> dict[str, np.ndarray]:
        a, b = (layers if rows is None else [layer[rows] for layer in layers] for layers in (left, right))
        orders = draw_orders(n, permutations, seed, labels) if permuted else None
        kept = codes if rows is None or codes is None else group_codes(codes[rows], len(rows), codes.device)
        found: dict[str, np.ndarray] = {}
        with full_precision(left[0].device):
            for comparison in prepare(a, b, names, metrics, k, kept, normalize=False):
                found |= {metric: values.cpu().numpy() for metric, values in comparison.scores(orders).items()}
        return found

    observed, null = scores(), scores(permuted=True)
    device = left[0].device
    parts = [scores(torch.from_numpy(np.flatnonzero(fold != f)).to(device)) for f in range(folds)]
    table = []
    for metric in metrics:
        for i, x in enumerate(xs):
            for j, y in enumerate(ys):
                value, chance = float(observed[metric][0, i, j]), null[metric][:, i, j]
                interval = jackknife_interval(value, np.array([part[metric][0, i, j] for part in parts]))
                calibrated, threshold = calibrate(value, chance)
                table.append(
                    {
                        "x": x, "y": y, "metric": metric, "value": value, "low": interval.low, "high": interval.high,
                        "null": threshold, "null_mean": float(chance.mean()), "p_value": p_value(value, chance),
                        "calibrated": calibrated, "n": n, "k": k if metric in WITH_K else 0,
                    }
                )  # fmt: skip
    return pd.DataFrame(table)
