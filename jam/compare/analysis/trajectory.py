"""Models and checkpoints as points: near where their kernels are alike."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jam.errors import InputError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plane:
    """Points in so many dimensions.

    Attributes:
        points: (n, dimensions).
        explained: (dimensions,) share of the squared distances (eigenvalues over the sum of the absolute ones).
        negative: share of eigenvalues below 0: how far the distances are from those of any points.
    """

    points: Floats
    explained: Floats
    negative: float


def distances(similarity: npt.ArrayLike) -> Floats:
    """√(2·(1 − CKA)), (n, n), of similarities with ones on the diagonal.

    CKA is the cosine of two centred kernels, so this is the distance of the kernels scaled to unit length, and
    classical scaling of it their PCA. Of biased CKA it is Euclidean exactly; unbiased CKA may fall a little below 0
    and its distances a little outside of any space, which `Plane.negative` tells.
    """
    cosines = np.asarray(similarity, dtype=np.float64)
    found: Floats = np.sqrt(np.maximum(2 * (1 - cosines), 0))
    np.fill_diagonal(found, 0)
    return found


def classical_mds(apart: npt.ArrayLike, dimensions: int = 2) -> Plane:
    """Points whose distances are as given as nearly as so many dimensions allow (Torgerson 1952).

    Of each dimension the sign is such that its largest coordinate (the first of equals) is positive.

    Args:
        apart: (n, n) symmetric distances, 0 on the diagonal.
        dimensions: fewer than n.

    Raises:
        ValueError: not square, not symmetric, or not more points than dimensions.
        InputError: distances that are not finite, or all 0.
    """
    d = np.asarray(apart, dtype=np.float64)
    if d.ndim != 2 or d.shape[0] != d.shape[1] or not 1 <= dimensions < len(d):
        raise ValueError(f"apart: got shape {d.shape} for {dimensions} dimensions, expected (n, n), n above them")
    if not np.isfinite(d).all():
        raise InputError("apart: got distances that are not finite")
    if not np.allclose(d, d.T):
        raise ValueError("apart: got a matrix that is not symmetric")
    squares = d**2
    gram = -(squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()) / 2
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    total = float(np.abs(values).sum())
    if total <= 1e-12 * max(1.0, float(squares.max())):
        raise InputError("apart: all points are the same, expected some distance between them")
    kept = np.maximum(values[:dimensions], 0)
    points = signed(vectors[:, :dimensions]) * np.sqrt(kept)
    negative = float(-values[values < 0].sum() / total)
    return Plane(points, kept / total, negative)


def signed(columns: Floats) -> Floats:
    """Columns (n, c), each with the sign that makes its largest entry positive: an axis has no sign of its own."""
    tops = np.abs(columns).round(9).argmax(axis=0)  # of entries that are equal but for rounding the first
    found: Floats = columns * np.where(columns[tops, np.arange(columns.shape[1])] < 0, -1.0, 1.0)
    return found
