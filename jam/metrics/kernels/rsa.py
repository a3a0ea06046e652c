"""Representational similarity analysis: the correlation of two dissimilarity matrices."""

import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import Array, full_precision
from jam.metrics.kernels.inputs import centre, matching_pair

METHODS = ("spearman", "pearson")


def dissimilarities(x: Tensor, name: str, unit: bool, method: str) -> Tensor:
    """Matrix of correlation distances of all pairs of rows, its upper triangle standardised to mean 0 and length 1.

    For "spearman" the distances give way to their ranks first, ties to the mean rank; the inner product of the upper
    triangles of two such matrices is then RSA.

    Args:
        x: (n, d) features with d ≥ 2.
        name: how messages call them.
        unit: normalise the rows before the columns are centred.
        method: "spearman" or "pearson".

    Returns:
        (n, n) symmetric, zero diagonal, double precision.

    Raises:
        ValueError: fewer than 2 dimensions.
        InputError: as `centre`; a row without variation across dimensions; distances all equal.
    """
    n, d = x.shape
    if d < 2:
        raise ValueError(f"{name}: got {d} dimension, expected at least 2 for a correlation of rows")
    centred = centre(x, name, unit, dtype=torch.float64)
    rows = centred.rows - centred.rows.mean(1, keepdim=True)
    lengths = torch.linalg.vector_norm(rows, dim=1)
    flat = lengths <= 1e-13
    if flat.any():
        row = int(flat.nonzero()[0])
        raise InputError(f"{name}: row {row} equals the mean row up to a constant, so it correlates with no other")
    rows /= lengths[:, None]
    above = torch.ones(n, n, dtype=torch.bool, device=x.device).triu_(1)
    # Rounded so that distances that are equal but for rounding share a rank.
    distances = (1 - rows @ rows.T)[above].mul_(1e12).round_().mul_(1e-12)
    if method == "spearman":
        from scipy.stats import rankdata  # half a second to import, for this one metric

        distances = torch.from_numpy(rankdata(distances.cpu().numpy())).to(x.device)
    distances -= distances.mean()
    length = torch.linalg.vector_norm(distances)
    if length <= 1e-12 * len(distances):
        raise InputError(f"{name}: all rows are equally dissimilar, so RSA is not defined")
    matrix = torch.zeros(n, n, dtype=torch.float64, device=x.device)
    matrix[above] = distances / length
    return matrix + matrix.T


@torch.no_grad()
def rsa(x: Array, y: Array, method: str = "spearman") -> float:
    """Correlation of the dissimilarities 1 − corr(x_i, x_j) with those of y, over all pairs i < j.

    Args:
        x: (n, d1) features, d1 ≥ 2; rows are taken as given, columns are centred here. Holds a few n × n matrices.
        y: (n, d2) features of the same rows.
        method: "spearman" or "pearson".

    Raises:
        ValueError: shapes do not match, fewer than 3 rows or 2 dimensions, unknown method.
        InputError: features with NaN or infinity, or constant; a row or distances without variation.

    References:
        Kriegeskorte et al. 2008, Representational similarity analysis.
    """
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, expected one of {METHODS}")
    a, b = matching_pair(x, y, minimum=3)
    with full_precision(a.device):
        p, q = dissimilarities(a, "x", False, method), dissimilarities(b, "y", False, method)
        return min(1.0, float((p * q).sum()) / 2)
