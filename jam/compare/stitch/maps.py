"""Maps from one model's vectors to another's, fitted on the same items seen by both: anchors, which need no label.

No map is chosen on anything but its anchors: the penalty of ridge by their leave-one-out error, so that a curve over
the number of anchors counts all that was used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PENALTIES = tuple(10.0**power for power in range(-6, 3))
"""Of ridge, in units of the mean eigenvalue of XᵀX."""


@dataclass(frozen=True)
class Map:
    """x ↦ (x − ``before``) · ``matrix`` + ``after``.

    Attributes:
        before: (d_x,) subtracted first.
        matrix: (d_x, d_y).
        after: (d_y,) added last.
    """

    before: Floats
    matrix: Floats
    after: Floats

    def __call__(self, x: np.ndarray) -> Floats:
        """(n, d_x) → (n, d_y).

        Raises:
            ValueError: another width than the anchors had.
        """
        if x.ndim != 2 or x.shape[1] != len(self.before):
            raise ValueError(f"x: got shape {x.shape}, expected (n, {len(self.before)})")
        found: Floats = (x - self.before) @ self.matrix + self.after
        return found


def identity(x: np.ndarray, y: np.ndarray) -> Map:
    """No map at all: the control that public snippets are, where widths agree.

    Raises:
        ValueError: they do not.
    """
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"identity: got widths {x.shape[1]} and {y.shape[1]}, expected equal ones")
    return Map(np.zeros(x.shape[1]), np.eye(x.shape[1]), np.zeros(x.shape[1]))


def orthogonal(x: np.ndarray, y: np.ndarray) -> Map:
    """A rotation and one scale (Schönemann 1966): R = UVᵀ of centred XᵀY = UΣVᵀ, scale tr Σ / ‖X‖².

    Where widths differ R has orthonormal columns or rows: directions without a counterpart are left out.
    """
    (mean_x, left), (mean_y, right) = _centred(x), _centred(y)
    u, values, v = np.linalg.svd(left.T @ right, full_matrices=False)
    return Map(mean_x, u @ v * (values.sum() / np.square(left).sum()), mean_y)


def ridge(x: np.ndarray, y: np.ndarray) -> Map:
    """Ridge regression of y on x, one penalty for all columns, the one with the least leave-one-out error."""
    from sklearn.linear_model import RidgeCV  # a third of a second to import

    mean_x, left = _centred(x)
    unit = np.square(left).sum() / left.shape[1]
    model = RidgeCV(alphas=[penalty * unit for penalty in PENALTIES]).fit(left, y.astype(np.float64))
    return Map(mean_x, np.atleast_2d(model.coef_).T, np.atleast_1d(model.intercept_))


def relative(x: np.ndarray, anchors: np.ndarray) -> Floats:
    """Relative coordinates (Moschella et al. 2023, arXiv 2209.15430, eq. 2): cosines to the anchors.

    They are the same for all rotations, scales and offsets of a space: a head that reads those of one model reads those
    of another where the anchors are the same items.

    Args:
        x: (n, d).
        anchors: (a, d) the same items in the same space.

    Returns:
        (n, a), cos(x − μ, a_j − μ) with μ the mean of the anchors.
    """
    mean = anchors.mean(axis=0, dtype=np.float64)
    left, right = (_units(rows - mean) for rows in (x, anchors))
    found: Floats = left @ right.T
    return found


FITS: Mapping[str, Callable[[np.ndarray, np.ndarray], Map]] = {
    "identity": identity,
    "orthogonal": orthogonal,
    "ridge": ridge,
}


def fit_map(method: str, x: npt.ArrayLike, y: npt.ArrayLike) -> Map:
    """A map fitted on anchors.

    Args:
        method: one of `FITS`.
        x: (n, d_x) anchors of the one model.
        y: (n, d_y) the same items of the other.

    Raises:
        ValueError: no such map, other numbers of rows, fewer than two, or a value that is not a finite real number;
            of x or y all rows are the same.
    """
    if method not in FITS:
        raise ValueError(f"map: got {method!r}, expected one of {list(FITS)}")
    x, y = np.asarray(x), np.asarray(y)
    if odd := [str(each.dtype) for each in (x, y) if each.dtype.kind not in "fiub"]:
        raise ValueError(f"anchors: got values of type {', '.join(odd)}, expected real numbers")
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 2 or not x.size or not y.size:
        raise ValueError(f"anchors: got shapes {x.shape} and {y.shape}, expected (n, d) of the same n from 2")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("anchors: got NaN or infinity, expected finite numbers")
    if same := [name for name, each in (("x", x), ("y", y)) if (each == each[0]).all()]:
        raise ValueError(f"anchors: got the same row {len(x)} times in {' and '.join(same)}, expected rows that differ")
    return FITS[method](x, y)


def unit_rows(x: np.ndarray) -> Floats:
    """Rows of length 1, (n, d): vectors that a model compares by their cosine."""
    return _units(x.astype(np.float64))


def _centred(x: np.ndarray) -> tuple[Floats, Floats]:
    rows = x.astype(np.float64)
    mean = rows.mean(axis=0)
    return mean, rows - mean


def _units(rows: np.ndarray) -> Floats:
    found: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found
