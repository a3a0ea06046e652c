"""Canonical correlation of subspaces: SVCCA and CCA, exact, from one factorisation of each side."""

import numpy as np
import torch
from torch import Tensor

from jam.metrics._rows import Array, full_precision, matching_pair
from jam.metrics.kernels.inputs import centre


def principal_basis(x: Tensor, name: str, unit: bool, keep: float | int) -> Tensor:
    """Orthonormal basis (n, r) of the leading principal components of x, in double precision.

    Args:
        x: (n, d) features.
        name: how messages call them.
        unit: normalise the rows first.
        keep: a share of the variance in (0, 1] if a float, the fewest components that reach it; a number of components
            if an integer. Never more than the rank.

    Raises:
        ValueError: ``keep`` out of range.
        InputError: as `centre`.
    """
    count = isinstance(keep, int | np.integer) and not isinstance(keep, bool)
    if not (keep >= 1 if count else isinstance(keep, float | np.floating) and 0 < keep <= 1):
        raise ValueError(f"got {keep!r} components, expected an integer of at least 1 or a share of variance in (0, 1]")
    rows = centre(x, name, unit, dtype=torch.float64).rows
    left, values = left_vectors(rows)
    if count:
        return left[:, : int(keep)]
    shares = values.square().cumsum(0)
    # The tolerance lets the last component that matters reach a share of 1.0.
    wanted = int((shares < (keep - 1e-12) * shares[-1]).sum()) + 1
    return left[:, :wanted]


def left_vectors(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (n, rank), and all singular values."""
    left, values, _ = torch.linalg.svd(rows, full_matrices=False)
    rank = int((values > values[0] * max(rows.shape) * torch.finfo(torch.float64).eps).sum())
    return left[:, :rank], values


def mean_correlation(x: Tensor, y: Tensor) -> float:
    """Mean canonical correlation of two orthonormal bases (n, r1) and (n, r2): of min(r1, r2) cosines of angles."""
    return float(torch.linalg.svdvals(x.T @ y).clamp_(max=1).mean())


@torch.no_grad()
def svcca(x: Array, y: Array, variance: float | int = 0.99) -> float:
    """Singular vector CCA: mean canonical correlation of the leading principal subspaces.

    By a full SVD of each side in double precision, with no noise added. Where the two subspaces together have more
    dimensions than n − 1 they must meet, and correlations of 1 mean nothing: compare with the permutation null.

    Args:
        x, y: (n, d1) and (n, d2) features of the same rows, as given; columns are centred here.
        variance: share of each side's variance to keep, a float in (0, 1]; or an integer number of components.

    Raises:
        ValueError: shapes do not match, ``variance`` out of range.
        InputError: features with NaN or infinity, or constant.

    References:
        Raghu et al. 2017, SVCCA; the correlations as singular values: Björck & Golub 1973.
    """
    a, b = matching_pair(x, y)
    with full_precision(a.device):
        return mean_correlation(principal_basis(a, "x", False, variance), principal_basis(b, "y", False, variance))


@torch.no_grad()
def cca(x: Array, y: Array, components: int = 50) -> float:
    """Mean canonical correlation after PCA of both sides to at most ``components`` dimensions (50 by default).

    Args:
        x, y: (n, d1) and (n, d2) features of the same rows, as given; columns are centred here.
        components: how many to keep; fewer where the rank is lower.

    Raises:
        ValueError: shapes do not match, ``components`` less than 1.
        InputError: features with NaN or infinity, or constant.

    References:
        Hotelling 1936; Kornblith et al. 2019, Table 1 (ρ̄_CCA).
    """
    return svcca(x, y, variance=_whole(components))


def _whole(components: int) -> int:
    if isinstance(components, bool) or not isinstance(components, int | np.integer):
        raise ValueError(f"components: got {components!r}, expected an integer of at least 1")
    return int(components)
