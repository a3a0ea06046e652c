"""Kernel scores: of all layers of two encoders, or of any pairs, with intervals, nulls and calibrated values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import Array, Groups, as_rows, full_precision, paired_rows
from jam.metrics.kernels.engine import METRICS, WITH_K, check_metrics, score_pairs
from jam.metrics.kernels.neighbours import check_k, group_codes
from jam.metrics.kernels.nulls import RowOrders, calibrate, deal, draw_orders, jackknife_interval, p_value


@torch.no_grad()
def cknna(x: Array, y: Array, k: int = 10, groups: Groups = None) -> float:
    """Centred kernel nearest-neighbour alignment: CKA over pairs that are neighbours in both spaces.

    A(K, L)/√(A(K, K)·A(L, L)) with A(K, L) = Σ w[i, j]·K[i, j]·v[i, j]·L[i, j]; K and L are the Gram matrices of the
    centred rows, w and v say who is a neighbour of whom: 1, 0, or a share where neighbours tie, as in `mutual_knn`.

    Args:
        x: (n, d1) features; rows are taken as given, columns are centred here.
        y: (n, d2) features of the same rows.
        k: neighbours, less than n.
        groups: as in `mutual_knn`.

    Raises:
        ValueError: as `mutual_knn`.
        InputError: as `mutual_knn`.

    References:
        Huh et al. 2024, The Platonic representation hypothesis, appendix A.
    """
    a, b = paired_rows(x, y, minimum=2)
    codes = group_codes(groups, len(a), a.device)
    check_k(k, len(a), codes)
    with full_precision(a.device):
        return float(score_pairs([a], [b], ("x", "y"), ("cknna",), k, codes, normalize=False)[0]["cknna"])


@dataclass(frozen=True)
class Best:
    """The best pair of layers under one metric.

    Attributes:
        score: its score, the maximum over all pairs.
        layers: its position in ``xs`` and in ``ys``; the first of equals.
        p_value: of the maximum under its own permutation null; like the rest None without permutations.
        calibrated: the maximum above chance, see `calibrate`.
        threshold: what the maximum has to exceed to count as above chance at level .05.
        null_mean: mean of the maximum over the permutations.
    """

    score: float
    layers: tuple[int, int]
    p_value: float | None = None
    calibrated: float | None = None
    threshold: float | None = None
    null_mean: float | None = None


@dataclass(frozen=True)
class LayerAlignment:
    """Scores of all layer pairs.

    Attributes:
        scores: by metric, (layers of x, layers of y).
        best: by metric, the best pair.
        null: by metric, (permutations,) maxima over all pairs with the rows of y permuted.
        n: rows.
        k: neighbours.
    """

    scores: dict[str, NDArray[np.float64]]
    best: dict[str, Best]
    null: dict[str, NDArray[np.float64]]
    n: int
    k: int


@torch.no_grad()
def layer_alignment(
    xs: Sequence[Array],
    ys: Sequence[Array],
    metrics: Sequence[str] = ("mutual_knn", "cka", "unbiased_cka"),
    k: int = 10,
    groups: Groups = None,
    normalize: bool = True,
    permutations: int = 0,
    seed: int = 0,
) -> LayerAlignment:
    """Score every layer of one encoder against every layer of another.

    Each Gram matrix is computed once, a block of rows at a time, and serves mutual kNN, CKNNA and both CKA of all
    layer pairs. Products are in single precision on centred rows, sums in double; neighbours are exact. Memory does
    not grow with n², except for RSA.

    The maximum over layer pairs grows with their number even between unrelated encoders. With ``permutations`` it
    comes with its own null: rows of y are permuted, in all layers alike, and the maximum is taken again inside each
    permutation (Gröger et al. 2026, arXiv 2602.14486, Algorithm 2). SVCCA and CCA need an SVD for each permutation
    and layer pair; the other metrics need hardly more than the scores themselves. To report the score of a chosen
    pair, choose it on other rows.

    Args:
        xs: layers of one encoder, each (n, d) with a d of its own; numpy or torch, any floating-point type.
        ys: layers of the other, rows in the same order.
        metrics: "mutual_knn", "cka" (biased), "unbiased_cka", "cknna", "svcca" (99 % of variance), "cca" (50
            components), "rsa" (Spearman); "cknna_platonic" and "svcca_platonic", as Huh et al.'s code has them.
        k: neighbours of "mutual_knn" and "cknna".
        groups: (n,) labels; rows with the same label, such as captions of one image, are not counted as neighbours
            and are permuted together.
        normalize: divide rows by their lengths first, as Huh et al. 2024 do.
        permutations: size of the null; 0 for none.
        seed: of the permutations.

    Raises:
        ValueError: shapes do not match, fewer than 4 rows, an unknown metric, a parameter out of range.
        InputError: features with NaN or infinity, zero rows, constant features.

    Example:
        >>> found = layer_alignment(vision_layers, text_layers, permutations=200)
        >>> found.scores["mutual_knn"].shape, found.best["mutual_knn"].layers
        ((13, 13), (11, 8))
    """
    for side, name in ((xs, "xs"), (ys, "ys")):
        if isinstance(side, np.ndarray | Tensor) and side.ndim < 3:
            raise ValueError(f"{name}: got one array of shape {tuple(side.shape)}, expected a list of layers")
    names = [f"xs[{i}]" for i in range(len(xs))] + [f"ys[{i}]" for i in range(len(ys))]
    metrics = list(dict.fromkeys(metrics))
    if permutations < 0:
        raise ValueError(f"permutations: got {permutations}, expected 0 or more")
    left, right, codes = _checked(xs, ys, names, metrics, k, groups)
    n, device = len(left[0]), left[0].device
    orders = draw_orders(n, permutations, seed, codes) if permutations else None
    with full_precision(device):
        found, under_null = score_pairs(left, right, names, metrics, k, codes, normalize, orders)
    scores = {metric: found[metric][0].cpu().numpy() for metric in metrics}
    null = {metric: values.flatten(1).amax(1).cpu().numpy() for metric, values in under_null.items()}
    best = {}
    for metric in metrics:
        i, j = np.unravel_index(scores[metric].argmax(), scores[metric].shape)
        best[metric] = Best(float(scores[metric][i, j]), (int(i), int(j)))
        if orders:
            score, chance = best[metric].score, null[metric]
            calibrated, threshold = calibrate(score, chance)
            told = p_value(score, chance), calibrated, threshold, float(chance.mean())
            best[metric] = Best(score, best[metric].layers, *told)
    return LayerAlignment(scores, best, null, n, k)


def _checked(
    xs: Sequence[Array], ys: Sequence[Array], names: Sequence[str], metrics: Sequence[str], k: int, groups: Groups
) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
    """Layers as tensors of as many rows on one device, and the number of each row's group."""
    if not len(xs) or not len(ys):
        raise ValueError(f"xs, ys: got {len(xs)} and {len(ys)} layers, expected no side with no layer")
    check_metrics(metrics)
    layers = [as_rows(layer, name) for layer, name in zip((*xs, *ys), names, strict=True)]
    n, device = len(layers[0]), layers[0].device
    for layer, name in zip(layers, names, strict=True):
        if len(layer) != n or layer.device != device or n < 4:
            expected = f"{n} on {device} as in {names[0]}" if n >= 4 else "at least 4"
            raise ValueError(f"{name}: got {len(layer)} rows on {layer.device}, expected {expected}")
    codes = group_codes(groups, n, device)
    if set(metrics) & set(WITH_K):
        check_k(k, n, codes)
    return layers[: len(xs)], layers[len(xs) :], codes


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
        xs: name → (n, d) features.
        ys: name → (n, d) features of the same rows.
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
    names = [*xs, *ys]
    left, right, codes = _checked([*xs.values()], [*ys.values()], names, metrics, k, groups)
    n, device = len(left[0]), left[0].device
    fold = deal(n, folds, seed, codes)
    if set(metrics) & set(WITH_K):
        largest = 1 if codes is None else int(torch.bincount(codes).max())
        left_over = n - int(np.bincount(fold).max())
        if left_over - largest < k:
            raise InputError(
                f"rows: got {n}, of which {folds} folds leave {left_over}, expected at least {k + largest} to be left "
                f"for k = {k}"
            )

    def scores(rows: Tensor, orders: RowOrders | None = None) -> list[dict[str, NDArray[np.float64]]]:
        a, b = ([layer[rows] for layer in layers] for layers in (left, right))
        kept = None if codes is None else codes[rows]
        found = score_pairs(a, b, names, metrics, k, kept, normalize=False, orders=orders)
        return [{metric: values.cpu().numpy() for metric, values in some.items()} for some in found]

    with full_precision(device):
        observed, null = scores(torch.arange(n, device=device), draw_orders(n, permutations, seed, codes))
        parts = [scores(torch.from_numpy(np.flatnonzero(fold != f)).to(device))[0] for f in range(folds)]
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
