"""Comparisons through a linear map: cosines of matched rows, and similarity after the best rotation."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jam.metrics._rows import Array, full_precision, matching_pair
from jam.metrics.kernels.inputs import centre, row_scales, scaled_rows


@dataclass(frozen=True)
class Cosines:
    """Mean cosine of matched rows, of all unmatched pairs, and the difference of the two."""

    matched: float
    unmatched: float

    @property
    def gap(self) -> float:
        """How much closer a row is to its own counterpart than to another's."""
        return self.matched - self.unmatched


@torch.no_grad()
def cosine(
    x: Array, y: Array, mapped: bool | None = None, ridge: float = 1.0, folds: int = 5, seed: int = 0
) -> Cosines:
    """Mean cosine of x_i with y_i, and of x_i with y_j over all i ≠ j.

    Spaces that do not share coordinates are compared through a linear map from x to y. It is fitted by ridge
    regression on the other folds, never on the rows that it maps: with d1 near n a map fits its own rows perfectly.

    Args:
        x, y: (n, d1) and (n, d2) features of the same rows, as given.
        mapped: map x first. None: only where d1 ≠ d2.
        ridge: penalty of the map, in units of the mean variance of the dimensions of x, > 0.
        folds: of the cross-fitting, 2 to n / 2.
        seed: of the split into folds.

    Raises:
        ValueError: shapes do not match, d1 ≠ d2 with ``mapped=False``, a parameter out of range.
        InputError: features with NaN or infinity, zero rows, constant features.
    """
    a, b = matching_pair(x, y)
    n, wide = len(a), a.shape[1] != b.shape[1]
    if mapped is False and wide:
        raise ValueError(
            f"x, y: got {a.shape[1]} and {b.shape[1]} dimensions, expected as many in both, or mapped=True"
        )
    with full_precision(a.device):
        if mapped or wide:
            if not ridge > 0:
                raise ValueError(f"ridge: got {ridge}, expected a number above 0")
            if not 2 <= folds <= n // 2:
                raise ValueError(f"folds: got {folds}, expected 2 to n / 2 = {n // 2}")
            centre(a, "x", unit=False)  # a constant x predicts nothing
            fold = torch.from_numpy(np.random.default_rng(seed).permutation(n) % folds).to(a.device)
            a = _cross_fitted(a, b, fold, ridge)
        u, v = scaled_rows(a, row_scales(a, "x", unit=True)), scaled_rows(b, row_scales(b, "y", unit=True))
        matched = float(torch.linalg.vecdot(u, v).sum())
        everything = float(u.sum(0) @ v.sum(0))
    return Cosines(matched / n, (everything - matched) / (n * (n - 1)))


@torch.no_grad()
def procrustes(x: Array, y: Array) -> float:
    """Similarity after the best rotation: the largest tr(QᵀXᵀY) over orthogonal Q, X and Y centred, of unit norm.

    It is the sum of the singular values of XᵀY, 1 where the two differ by rotation, reflection, scale and shift; the
    Procrustes distance min_Q |XQ − Y|² is 2 − 2·similarity, and its arc cosine is a metric. Where d1 ≠ d2, the
    narrower side is taken as padded with zeros.

    Args:
        x, y: (n, d1) and (n, d2) features of the same rows, as given; columns are centred here.

    Raises:
        ValueError: shapes do not match.
        InputError: features with NaN or infinity, or constant.

    References:
        Schönemann 1966, A generalized solution of the orthogonal Procrustes problem; Williams et al. 2021, Generalized
        shape metrics on neural representations, eq. 5-7.
    """
    a, b = matching_pair(x, y)
    with full_precision(a.device):
        p, q = centre(a, "x", unit=False, dtype=torch.float64), centre(b, "y", unit=False, dtype=torch.float64)
        nuclear = torch.linalg.svdvals(p.rows.T @ q.rows).sum()
        return min(1.0, float(nuclear / p.squares.sum().sqrt() / q.squares.sum().sqrt()))


def _cross_fitted(x: Tensor, y: Tensor, fold: Tensor, ridge: float) -> Tensor:
    """Each row of y predicted from x by a ridge regression on the rows of the other folds, in double precision."""
    x = scaled_rows(x, row_scales(x, "x", unit=False))
    y = scaled_rows(y, row_scales(y, "y", unit=False))
    predicted = torch.empty_like(y)
    for held_out in fold.unique():
        fit = fold != held_out
        x_mean, y_mean = x[fit].mean(0), y[fit].mean(0)
        rows = x[fit] - x_mean
        gram = rows.T @ rows
        gram.diagonal().add_(ridge * gram.diagonal().mean())
        weights = torch.linalg.solve(gram, rows.T @ (y[fit] - y_mean))
        predicted[~fit] = (x[~fit] - x_mean) @ weights + y_mean
    return predicted
