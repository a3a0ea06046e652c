"""Kernel alignment of all layers of two encoders, the best pair of layers, and what a maximum is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from jam.metrics._rows import Array, full_precision
from jam.metrics.kernels.comparisons import check_metrics, prepare
from jam.metrics.kernels.inputs import group_codes, matching_rows
from jam.metrics.kernels.nulls import calibrate, draw_orders, p_value


@dataclass(frozen=True)
class Best:
    """The best pair of layers under one metric.

    Attributes:
        score: its score, the maximum over all pairs.
        layers: its position in ``xs`` and in ``ys``; the first of equals.
        p_value: of the maximum under its own permutation null; None without permutations.
        calibrated: the maximum above chance, see `calibrate`; None without permutations.
        threshold: what the maximum has to exceed to count as above chance at level .05; None without permutations.
        null_mean: mean of the maximum over the permutations; None without permutations.
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
    groups: Array | Sequence[object] | None = None,
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
        xs, ys: layers of each encoder, (n, d) with a d of their own, rows in the same order; numpy or torch.
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
    left, right = matching_rows(xs, ys, minimum=4)
    names = [f"xs[{i}]" for i in range(len(left))] + [f"ys[{i}]" for i in range(len(right))]
    n, device = len(left[0]), left[0].device
    if permutations < 0:
        raise ValueError(f"permutations: got {permutations}, expected 0 or more")
    codes = group_codes(groups, n, device)
    check_metrics(metrics, k, n, codes)
    orders = (
        draw_orders(n, permutations, seed, None if codes is None else codes.cpu().numpy()) if permutations else None
    )
    scores: dict[str, NDArray[np.float64]] = {}
    null: dict[str, NDArray[np.float64]] = {}
    with full_precision(device):
        for comparison in prepare(left, right, names, list(dict.fromkeys(metrics)), k, codes, normalize):
            scores |= {metric: values[0].cpu().numpy() for metric, values in comparison.scores().items()}
            if orders is not None:
                found = comparison.scores(orders)
                null |= {metric: values.flatten(1).amax(1).cpu().numpy() for metric, values in found.items()}
    scores = {metric: scores[metric] for metric in dict.fromkeys(metrics)}
    return LayerAlignment(scores, {metric: _best(scores[metric], null.get(metric)) for metric in scores}, null, n, k)


def _best(scores: NDArray[np.float64], null: NDArray[np.float64] | None) -> Best:
    i, j = np.unravel_index(scores.argmax(), scores.shape)
    score, layers = float(scores[i, j]), (int(i), int(j))
    if null is None:
        return Best(score, layers)
    calibrated, threshold = calibrate(score, null)
    return Best(score, layers, p_value(score, null), calibrated, threshold, float(null.mean()))
