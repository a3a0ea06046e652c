"""Pareto front and hypervolume of runs scored by several objectives, all to be maximised."""

import numpy as np
import numpy.typing as npt

from jam.errors import InputError


def pareto_front(points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Which points no other point dominates, every objective maximised; (n,) booleans.

    A point dominates another when it is at least as good in every objective and better in one. Equal points do not
    dominate each other: duplicates of a point of the front are all on it.

    Args:
        points: (n, m) scores of n points in m objectives.

    Raises:
        ValueError: not two-dimensional, or empty.
        InputError: a score is not finite.
    """
    scores = _as_points(points)
    return np.array([not np.any((scores >= p).all(axis=1) & (scores > p).any(axis=1)) for p in scores])


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Volume that the points dominate above a reference point, exact in any number of objectives.

    By slicing along one objective (While et al. 2006, HSO); meant for fronts of tens of points in few objectives.
    Points that do not exceed the reference in every objective add nothing. The unit is the product of the objectives'.

    Args:
        points: (n, m) scores, all maximised.
        reference: (m,) the worst corner.

    Raises:
        ValueError: shapes do not fit together, or there is no point.
        InputError: a score or the reference is not finite.
    """
    scores, corner = _as_points(points), np.asarray(reference, dtype=np.float64)
    if corner.shape != scores.shape[1:]:
        raise ValueError(f"reference: got shape {corner.shape}, expected ({scores.shape[1]},)")
    if not np.isfinite(corner).all():
        raise InputError("reference: holds NaN or infinity, expected finite numbers")
    heights = scores - corner
    return _volume(heights[(heights > 0).all(axis=1)])


def _volume(heights: npt.NDArray[np.float64]) -> float:
    """Volume of the union of the boxes [0, heights[k]]."""
    if len(heights) == 0:
        return 0.0
    if heights.shape[1] == 1:
        return float(heights.max())
    # From the top down: between two levels of the last objective, the boxes that reach the upper one.
    heights = heights[np.argsort(-heights[:, -1], kind="stable")]
    thickness = -np.diff(heights[:, -1], append=0.0)
    return sum(float(t) * _volume(heights[: k + 1, :-1]) for k, t in enumerate(thickness) if t > 0)


def _as_points(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    scores = np.asarray(points, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"points: got shape {scores.shape}, expected (points, objectives), both at least 1")
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores).all(axis=1)))
        raise InputError(f"points: row {row} holds NaN or infinity, expected finite scores")
    return scores
