"""RSA of many representations at once: the distances of each are ranked once, and serve all pairs and all folds."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from jam.metrics._rows import Array, Groups, as_rows, full_precision
from jam.metrics.kernels.nulls import calibrate, deal, draw_orders, jackknife_interval, p_value
from jam.metrics.kernels.permuted import matrix_bands, shift_products
from jam.metrics.kernels.rsa import dissimilarities

Floats = npt.NDArray[np.float64]


@torch.no_grad()
def rsa_table(
    xs: Mapping[str, Array],
    ys: Mapping[str, Array],
    groups: Groups = None,
    permutations: int = 200,
    folds: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """`jam.metrics.kernels.rsa` (Spearman) of every x with every y: what `kernel_table` gives, in a tenth of the time.

    Values, nulls and p are the same. The jackknife takes the ranks that distances have among all pairs of items, and
    does not rank again without each fold: ranks among a part are those among all but for scale and rounding.

    Args:
        xs: name → (n, d) features.
        ys: name → (n, d) features of the same rows.
        groups: (n,) labels of rows that are permuted and deleted together.
        permutations: of the null of each pair.
        folds: of the delete-a-group jackknife.
        seed: of the permutations and the folds.

    Returns:
        The columns of `kernel_table`.

    Raises:
        ValueError: shapes do not match, or numbers out of range.
        InputError: features or distances without variation, or not finite.
    """

    def matrices(side: Mapping[str, Array]) -> list[Tensor]:
        return [dissimilarities(as_rows(of, name), name, "spearman") for name, of in side.items()]

    left = matrices(xs)
    right = left if ys is xs else matrices(ys)
    sizes = {len(matrix) for matrix in (*left, *right)}
    if len(sizes) != 1:
        raise ValueError(f"xs, ys: got {sorted(sizes)} rows, expected as many in all, and at least one on each side")
    n = sizes.pop()
    fold = deal(n, folds, seed, groups)
    with full_precision(left[0].device):
        orders = draw_orders(n, permutations, seed, groups)
        null = (shift_products(orders, left, right, matrix_bands, left[0].device) / 2).clamp_(max=1).cpu().numpy()
        observed, parts = _jackknife(left, right, fold, folds)
    table = []
    for i, x in enumerate(xs):
        for j, y in enumerate(ys):
            value, chance = float(observed[i, j]), null[:, i, j]
            interval = jackknife_interval(value, parts[:, i, j])
            calibrated, threshold = calibrate(value, chance)
            table.append(
                {
                    "x": x, "y": y, "metric": "rsa", "value": value, "low": interval.low, "high": interval.high,
                    "null": threshold, "null_mean": float(chance.mean()), "p_value": p_value(value, chance),
                    "calibrated": calibrated, "n": n, "k": 0,
                }
            )  # fmt: skip
    return pd.DataFrame(table)


def _jackknife(xs: list[Tensor], ys: list[Tensor], fold: npt.NDArray[np.int64], folds: int) -> tuple[Floats, Floats]:
    """Correlations of all pairs of rows, (x, y), and without each fold, (folds, x, y).

    A fold takes with it all pairs of rows of which one is in it: sums over its rows, half of those inside of it.
    """
    n = len(fold)
    inside, across = [], []  # of each fold: sums over its own pairs, over its rows
    for f in range(folds):
        rows = torch.from_numpy(np.flatnonzero(fold == f)).to(xs[0].device)
        across.append(_sums([m[rows].flatten() for m in xs], [m[rows].flatten() for m in ys]))
        inside.append(_sums([m[rows][:, rows].flatten() for m in xs], [m[rows][:, rows].flatten() for m in ys]))
    whole = [sum(parts) / 2 for parts in zip(*across, strict=True)]
    found = []
    for f in range(folds):
        removed = [rows - own / 2 for rows, own in zip(across[f], inside[f], strict=True)]
        left = n - int((fold == f).sum())
        found.append(_correlation([a - b for a, b in zip(whole, removed, strict=True)], left * (left - 1) / 2))
    return _correlation(whole, n * (n - 1) / 2), np.stack(found)


def _sums(xs: list[Tensor], ys: list[Tensor]) -> list[Floats]:
    """Σxy (x, y), and by side Σx and Σx²."""
    a, b = torch.stack(xs), torch.stack(ys)
    products = [a @ b.T, a.sum(1), a.square().sum(1), b.sum(1), b.square().sum(1)]
    return [each.cpu().numpy() for each in products]


def _correlation(sums: list[Floats], pairs: float) -> Floats:
    xy, x, xx, y, yy = sums
    scale = np.sqrt(np.outer(xx - x**2 / pairs, yy - y**2 / pairs))
    found: Floats = np.minimum((xy - np.outer(x, y) / pairs) / scale, 1)
    return found
