"""Geometry of embeddings: alignment, uniformity, modality gap, effective rank, and what the latents preserve."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import (
    Array,
    as_rows,
    full_precision,
    paired_rows,
    require_finite,
    require_one_space,
    row_norms,
    unit_rows,
)
from jam.metrics.kernels.neighbours import mutual_knn_rows

_CONSTANT = 1e-12  # rows that differ by less than this, relatively, differ by rounding alone
_TILE = 2048  # rows and columns of a tile of squared distances: 16 MB


def alignment(x: Array, y: Array) -> float:
    """Mean squared distance of matching unit rows, E|x − y|² (Wang & Isola 2020, eq. 1, α = 2); 0 is best, 4 worst.

    Args:
        x: (n, d) embeddings; rows are L2-normalised here.
        y: (n, d) embeddings of the same things.

    Raises:
        ValueError: shapes differ.
        InputError: a row is zero or not finite.
    """
    a, b = paired_rows(x, y)
    require_one_space(x=a, y=b)
    units = unit_rows(a, row_norms(a, "x"))
    return float(units.sub_(unit_rows(b, row_norms(b, "y"))).square_().sum(dim=1).mean())


def uniformity(x: Array, t: float = 2.0) -> float:
    """Log of the mean Gaussian potential of pairs of unit rows, log E exp(−t|xᵢ − xⱼ|²) over i < j; lower is better.

    Wang & Isola 2020, eq. 2: 0 for collapsed rows, at best about −2t in high dimensions. Blocked, by logsumexp, so
    that a large t cannot underflow.

    Args:
        x: (n, d) embeddings, n ≥ 2; rows are L2-normalised here.
        t: sharpness of the potential, > 0.

    Raises:
        ValueError: fewer than two rows, or t not above 0.
        InputError: a row is zero or not finite.
    """
    rows = as_rows(x, "x")
    n = len(rows)
    if n < 2:
        raise ValueError(f"x: got {n} row, expected at least 2")
    if not 0 < t < math.inf:
        raise ValueError(f"t: got {t}, expected a number above 0")
    units = unit_rows(rows, row_norms(rows, "x"), torch.float32)
    total = torch.full((), -math.inf, dtype=torch.float64, device=rows.device)
    with full_precision(rows.device):
        for top in range(0, n, _TILE):
            for left in range(top, n, _TILE):
                squares = (units[top : top + _TILE] @ units[left : left + _TILE].T).mul_(-2).add_(2).clamp_(min=0)
                exponents = squares.mul_(-t)
                if left == top:  # each pair once, and no row with itself
                    exponents.masked_fill_(torch.ones_like(exponents, dtype=torch.bool).tril_(), -math.inf)
                by_row = exponents.logsumexp(dim=1).double()
                total = torch.logaddexp(total, by_row.logsumexp(dim=0))
    return float(total) - math.log(n * (n - 1) / 2)


def modality_gap(x: Array, y: Array) -> float:
    """Distance between the centres of two modalities, |mean(x) − mean(y)| of unit rows (Liang et al. 2022); in [0, 2].

    Args:
        x: (n, d) embeddings; rows are L2-normalised here.
        y: (m, d) embeddings.

    Raises:
        ValueError: dimensions differ.
        InputError: a row is zero or not finite.
    """
    a, b = as_rows(x, "x"), as_rows(y, "y")
    require_one_space(x=a, y=b)
    centres = [unit_rows(rows, row_norms(rows, name)).mean(dim=0) for rows, name in ((a, "x"), (b, "y"))]
    return float(torch.linalg.vector_norm(centres[0] - centres[1]))


def effective_rank(x: Array) -> float:
    """Exponential of the entropy of the normalised singular values of the centred rows (Roy & Vetterli 2007).

    From 1 (all rows on a line) to min(n − 1, d) (equal spread in every direction).

    Args:
        x: (n, d) embeddings, taken as they are but for the column means.

    Raises:
        InputError: a row is not finite, or all rows are equal.
    """
    rows = as_rows(x, "x")
    require_finite(rows, "x")
    values = torch.linalg.svdvals(_centred(rows, "x"))
    shares = values / values.sum()
    return float(torch.exp(torch.special.entr(shares).sum()))


def reconstruction_r2(x: Array, x_hat: Array) -> float:
    """Share of variance that a reconstruction explains, 1 − Σ|x − x̂|² / Σ|x − mean|², over all columns together.

    1 is perfect, 0 as good as the column means of x, below 0 worse than them.

    Args:
        x: (n, d) features.
        x_hat: (n, d) their reconstruction.

    Raises:
        ValueError: shapes differ.
        InputError: a row is not finite, or all rows of x are equal.
    """
    a, b = paired_rows(x, x_hat, ("x", "x_hat"))
    require_one_space(x=a, x_hat=b)
    require_finite(a, "x")
    require_finite(b, "x_hat")
    variance = _centred(a, "x").square_().sum() / len(a)
    errors = a.to(torch.float64, copy=True).sub_(b).square_().sum(dim=1)
    return float((1 - errors / variance).cpu().numpy().mean())


def preservation_rows(
    features: Array, latents: Array, k: int = 10, groups: Array | Sequence[object] | None = None
) -> npt.NDArray[np.float64]:
    """Share of the k nearest neighbours that each row keeps, by cosine (`jam.metrics.mutual_knn`, row by row).

    Args:
        features: (n, d1) frozen features.
        latents: (n, d2) what an adapter made of them.
        k: neighbours, less than n.
        groups: (n,) labels; rows with the same label are not neighbours.

    Returns:
        (n,) shares in [0, 1], for intervals over rows.

    Raises:
        ValueError: shapes do not match; k less than 1, or more than the rows that some row may have for neighbours.
        InputError: rows with NaN or infinity, zero rows, rows that all point the same way.
    """
    return mutual_knn_rows(features, latents, k, groups, ("features", "latents"))


def _centred(rows: Tensor, name: str) -> Tensor:
    """Rows minus their mean in double precision.

    Raises:
        InputError: all rows are equal.
    """
    centred = rows.to(torch.float64, copy=True)
    length = torch.linalg.vector_norm(centred)
    centred.sub_(centred.mean(dim=0))
    if not torch.linalg.vector_norm(centred) > _CONSTANT * length:
        raise InputError(f"{name}: all {len(rows)} rows are equal, expected rows that vary")
    return centred
