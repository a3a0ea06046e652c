"""Representational similarity analysis: the correlation of two dissimilarity matrices, in double precision."""

import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import Array, full_precision, paired_rows, require_finite

METHODS = ("spearman", "pearson")


def dissimilarities(x: Tensor, name: str, method: str) -> Tensor:
    """Correlation distances of all pairs of rows, (n, n), the upper triangle standardised to mean 0 and length 1.

    For "spearman" the distances give way to their ranks first, ties to the mean rank; the inner product of the upper
    triangles of two such matrices is then RSA.

    Raises:
        ValueError: fewer than 2 dimensions.
        InputError: a row with NaN or infinity, or without variation across dimensions; distances all equal.
    """
    n, d = x.shape
    if d < 2:
        raise ValueError(f"{name}: got {d} dimension, expected at least 2 for a correlation of rows")
    require_finite(x, name)
    rows = x.to(torch.float64, copy=True)
    tops = rows.abs().amax(1, keepdim=True)  # correlation does not see the scale of a row
    rows /= torch.where(tops > 0, tops, 1.0)
    rows -= rows.mean(1, keepdim=True)
    lengths = torch.linalg.vector_norm(rows, dim=1)
    flat = lengths <= 1e-13
    if flat.any():
        row = int(flat.nonzero()[0])
        raise InputError(f"{name}: row {row} is the same number in all dimensions, so it correlates with no other")
    rows /= lengths[:, None]
    # 1 − u·v is |u − v|²/2, and without their common mean rows that are nearly alike keep what tells them apart.
    rows -= rows.mean(0)
    squares = rows.square().sum(1) / 2
    above = torch.ones(n, n, dtype=torch.bool, device=x.device).triu_(1)
    distances = (squares + squares[:, None] - rows @ rows.T)[above]
    largest = float(distances.max())
    if largest > 1e-26:  # below it is what rounding left of 0
        # Rounded so that distances that are equal but for rounding share a rank.
        distances = distances.mul_(1e12 / largest).round_().mul_(1e-12)
    else:
        distances.zero_()
    if method == "spearman":
        from scipy.stats import rankdata  # half a second to import, for this one metric

        distances = torch.from_numpy(rankdata(distances.cpu().numpy())).to(x.device)
    distances -= distances.mean()
    length = torch.linalg.vector_norm(distances)
    if length <= 1e-12 * len(distances):
        raise InputError(f"{name}: all rows are equally dissimilar (or the same), so RSA is not defined")
    matrix = torch.zeros(n, n, dtype=torch.float64, device=x.device)
    matrix[above] = distances / length
    return matrix + matrix.T


@torch.no_grad()
def rsa(x: Array, y: Array, method: str = "spearman") -> float:
    """Correlation of the dissimilarities 1 − corr(x_i, x_j) with those of y, over all pairs i < j.

    Args:
        x: (n, d1) features, d1 ≥ 2; rows are taken as given. Holds a few n × n matrices.
        y: (n, d2) features of the same rows.
        method: "spearman" or "pearson".

    Raises:
        ValueError: shapes do not match, fewer than 3 rows or 2 dimensions, unknown method.
        InputError: features with NaN or infinity; a row or distances without variation.

    References:
        Kriegeskorte et al. 2008, Representational similarity analysis. Equal to rsatoolbox's `compare` of RDMs of
        method "correlation" by "spearman" and by "corr".
    """
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, expected one of {METHODS}")
    a, b = paired_rows(x, y, minimum=3)
    with full_precision(a.device):
        p, q = dissimilarities(a, "x", method), dissimilarities(b, "y", method)
        return min(1.0, float((p * q).sum()) / 2)
