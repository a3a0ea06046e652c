"""Comparisons up to a linear map: SVCCA and CCA of subspaces, Procrustes, and cosines after ridge regression."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jam.metrics._rows import Array, full_precision, paired_rows, row_norms, unit_rows
from jam.metrics.kernels.gram import centre


def principal_basis(rows: Tensor, keep: float | int) -> Tensor:
    """Orthonormal basis (n, r) of the leading principal components of centred rows (n, d).

    ``keep`` is a share of the variance in (0, 1] if a float, the fewest components that reach it; a number of
    components if an integer. Never more than the rank.

    Raises:
        ValueError: ``keep`` out of range.
    """
    count = isinstance(keep, int | np.integer) and not isinstance(keep, bool)
    if not (keep >= 1 if count else isinstance(keep, float | np.floating) and 0 < keep <= 1):
        raise ValueError(f"got {keep!r} components, expected an integer of at least 1 or a share of variance in (0, 1]")
    left, values, _ = torch.linalg.svd(rows, full_matrices=False)
    rank = int((values > values[0] * max(rows.shape) * torch.finfo(torch.float64).eps).sum())
    if count:
        return left[:, : min(int(keep), rank)]
    shares = values.square().cumsum(0)
    # The tolerance lets the last component that matters reach a share of 1.0.
    wanted = int((shares < (keep - 1e-12) * shares[-1]).sum()) + 1
    return left[:, : min(wanted, rank)]


def mean_correlation(x: Tensor, y: Tensor) -> float:
    """Mean canonical correlation of two orthonormal bases (n, r1) and (n, r2): of min(r1, r2) cosines of angles."""
    return float(torch.linalg.svdvals(x.T @ y).clamp_(max=1).mean())


@torch.no_grad()
def svcca(x: Array, y: Array, variance: float | int = 0.99) -> float:
    """Singular vector CCA: mean canonical correlation of the leading principal subspaces.

    By a full SVD of each side in double precision, with no noise added. Where the two subspaces together have more
    dimensions than n − 1 they must meet, and correlations of 1 mean nothing: compare with the permutation null.

    Args:
        x: (n, d1) features; rows are taken as given, columns are centred here.
        y: (n, d2) features of the same rows.
        variance: share of each side's variance to keep, a float in (0, 1]; or an integer number of components.

    Raises:
        ValueError: shapes do not match, ``variance`` out of range.
        InputError: features with NaN or infinity, or constant.

    References:
        Raghu et al. 2017, SVCCA; the correlations as singular values: Björck & Golub 1973.
    """
    a, b = paired_rows(x, y, minimum=2)
    with full_precision(a.device):
        bases = (centre(rows, name, False, torch.float64).rows for rows, name in ((a, "x"), (b, "y")))
        return mean_correlation(*(principal_basis(rows, variance) for rows in bases))


@torch.no_grad()
def cca(x: Array, y: Array, components: int = 50) -> float:
    """Mean canonical correlation after PCA of both sides to at most ``components`` dimensions (50 by default).

    Args:
        x: (n, d1) features; rows are taken as given, columns are centred here.
        y: (n, d2) features of the same rows.
        components: how many to keep; fewer where the rank is lower.

    Raises:
        ValueError: shapes do not match, ``components`` less than 1.
        InputError: features with NaN or infinity, or constant.

    References:
        Hotelling 1936; Kornblith et al. 2019, Table 1 (ρ̄_CCA).
    """
    if isinstance(components, bool) or not isinstance(components, int | np.integer):
        raise ValueError(f"components: got {components!r}, expected an integer of at least 1")
    return svcca(x, y, variance=int(components))


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
        x: (n, d1) features, rows as given.
        y: (n, d2) features of the same rows.
        mapped: map x first. None: only where d1 ≠ d2.
        ridge: penalty of the map, in units of the mean variance of the dimensions of x, > 0.
        folds: of the cross-fitting, 2 to n / 2.
        seed: of the split into folds.

    Raises:
        ValueError: shapes do not match, d1 ≠ d2 with ``mapped=False``, a parameter out of range.
        InputError: features with NaN or infinity, zero rows, constant features.
    """
    a, b = paired_rows(x, y, minimum=2)
    n, wide = len(a), a.shape[1] != b.shape[1]
    if mapped is False and wide:
        raise ValueError(
            f"x, y: got {a.shape[1]} and {b.shape[1]} dimensions, expected as many in both, or mapped=True"
        )
    with full_precision(a.device):
        v = unit_rows(b, row_norms(b, "y"))
        if mapped or wide:
            if not ridge > 0:
                raise ValueError(f"ridge: got {ridge}, expected a number above 0")
            if not 2 <= folds <= n // 2:
                raise ValueError(f"folds: got {folds}, expected 2 to n / 2 = {n // 2}")
            centre(a, "x", unit=False)  # a constant x predicts nothing
            fold = torch.from_numpy(np.random.default_rng(seed).permutation(n) % folds).to(a.device)
            a = _cross_fitted(a, b, fold, ridge)
        u = unit_rows(a, row_norms(a, "x"))
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
        x: (n, d1) features; rows are taken as given, columns are centred here.
        y: (n, d2) features of the same rows.

    Raises:
        ValueError: shapes do not match.
        InputError: features with NaN or infinity, or constant.

    References:
        Schönemann 1966, A generalized solution of the orthogonal Procrustes problem; Williams et al. 2021, Generalized
        shape metrics on neural representations, eq. 5-7.
    """
    a, b = paired_rows(x, y, minimum=2)
    with full_precision(a.device):
        p, q = (centre(rows, name, False, torch.float64) for rows, name in ((a, "x"), (b, "y")))
        nuclear = torch.linalg.svdvals(p.rows.T @ q.rows).sum()
        return min(1.0, float(nuclear / p.squares.sum().sqrt() / q.squares.sum().sqrt()))


def _cross_fitted(x: Tensor, y: Tensor, fold: Tensor, ridge: float) -> Tensor:
    """Each row of y predicted from x by a ridge regression on the rows of the other folds, in double precision."""
    x, y = (rows.double() / float(rows.abs().max()) for rows in (x, y))
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
