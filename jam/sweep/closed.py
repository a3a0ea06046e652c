"""Closed-form alignments of many encoder pairs: one decomposition an encoder, one cross-covariance a pair.

In the principal coordinates of either side, whitening and ridge are diagonal, so that a setting costs what is left: a
decomposition of a matrix of the two widths at most. The maps are those of `jam.align.closed_form`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import orthogonal_procrustes

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Booleans = npt.NDArray[np.bool_]
Setting = Mapping[str, Any]

CHOOSE = 500  # validation items that settings are chosen on: a quarter of the cost of 1,000
WIDE = 10**6  # components: all that there are

# Six settings each: the same budget of choices for every method
SETTINGS: Mapping[str, Sequence[Setting]] = {
    "cca": [
        *({"components": 16, "shrinkage": shrinkage} for shrinkage in (0.01, 0.1, 0.5)),
        *({"components": WIDE, "shrinkage": shrinkage} for shrinkage in (0.003, 0.05, 0.3)),
    ],
    "ridge": [{"whitening": w, "penalty": p} for w in (1.0, 0.1, 0.01) for p in (1.0, 30.0)],
    "procrustes": [{"whitening": w, "components": c} for w in (None, 1.0, 0.1) for c in (24, 128)],
}


@dataclass(frozen=True)
class Rows:
    """Features of the same items for every encoder, (n, d) each: one view of an item."""

    train: npt.NDArray[Any]
    val: npt.NDArray[Any]
    test: npt.NDArray[Any]


@dataclass(frozen=True)
class Principal:
    """One encoder in the principal coordinates of its first n training rows.

    Attributes:
        variances: (d,) of the coordinates, the largest first.
        train: (n, d), centred.
        val: (v, d), moved likewise; as many as settings are chosen on.
        test: (t, d).
    """

    variances: Floats
    train: Singles
    val: Singles
    test: Singles

    @classmethod
    def of(cls, rows: Rows, n: int) -> "Principal":
        """Measure mean and axes on the first n training rows, in double precision."""
        train = rows.train[:n].astype(np.float64)
        mean = train.mean(axis=0)
        train -= mean
        variances, axes = np.linalg.eigh(train.T @ train / n)
        axes = axes[:, ::-1].astype(np.float32)
        val, test = ((part.astype(np.float32) - mean.astype(np.float32)) @ axes for part in (rows.val, rows.test))
        return cls(np.maximum(variances[::-1], 0), train.astype(np.float32) @ axes, val[:CHOOSE], test)

    def stretch(self, shrinkage: float | None) -> Floats:
        """What `jam.align.blocks.Standardise` multiplies each coordinate by."""
        mean = self.variances.mean()
        if shrinkage is None:
            return np.full(len(self.variances), mean**-0.5)
        return (self.variances + shrinkage * mean) ** -0.5


@dataclass(frozen=True)
class Answers:
    """Which pairs are right: (items, items) booleans, x down and y across; None where only its own is."""

    val: Booleans | None
    test: Booleans | None


@dataclass(frozen=True)
class Cell:
    """What one method reaches with one pair of encoders.

    Attributes:
        setting: that was chosen.
        validation: R@1 there, mean of both ways; of any true answer where that is known.
        own: (2, t) whether the nearest is the item's own, x to y and y to x.
        true: (2, t) whether the nearest is true of it; as ``own`` where nothing more is known.
    """

    setting: Setting
    validation: float
    own: Booleans
    true: Booleans


def cross_covariance(x: Principal, y: Principal, order: npt.NDArray[np.int64] | None = None) -> Floats:
    """(d_x, d_y), with the training rows of y in another order if one is given."""
    there = y.train if order is None else y.train[order]
    product: Floats = (x.train.T @ there).astype(np.float64) / len(x.train)
    return product


def maps(method: str, setting: Setting, x: Principal, y: Principal, cross: Floats) -> tuple[Floats, Floats]:
    """Matrices (d_x, k) and (d_y, k) from principal coordinates to the shared space.

    Raises:
        ValueError: there is no such method.
    """
    if method == "cca":
        return _cca(x.stretch(setting["shrinkage"]), y.stretch(setting["shrinkage"]), cross, setting["components"])
    if method not in SETTINGS:
        raise ValueError(f"method: got {method!r}, expected one of {list(SETTINGS)}")
    a, b = x.stretch(setting["whitening"]), y.stretch(setting["whitening"])
    between = a[:, None] * cross * b
    if method == "ridge":
        return (a / (a**2 * x.variances + setting["penalty"]))[:, None] * between, np.diag(b)
    k = min(*cross.shape, setting["components"])
    rotation = orthogonal_procrustes(np.eye(k), between[:k, :k])[0]
    return _padded(a[:k, None] * rotation, len(a)), _padded(np.diag(b[:k]), len(b))


def _cca(a: Floats, b: Floats, cross: Floats, components: int) -> tuple[Floats, Floats]:
    """Canonical directions weighted by their correlations, from the smaller Gram matrix: M = u·s·vᵀ, u·s = M·v."""
    between = a[:, None] * cross * b
    if between.shape[0] < between.shape[1]:
        right, left = _cca(b, a, cross.T, components)
        return left, right
    squares, v = np.linalg.eigh(between.T @ between)
    v, s = v[:, ::-1][:, :components], np.sqrt(np.maximum(squares[::-1][:components], 0))
    return a[:, None] * (between @ v), b[:, None] * v * s


def _padded(matrix: Floats, rows: int) -> Floats:
    return np.concatenate([matrix, np.zeros((rows - len(matrix), matrix.shape[1]))])


def align(
    method: str, x: Principal, y: Principal, answers: Answers, order: npt.NDArray[np.int64] | None = None
) -> Cell:
    """Solve every setting, keep the best on validation rows, score it on test rows.

    Args:
        method: one of `SETTINGS`.
        x: one encoder.
        y: another, of the same items.
        answers: which pairs are right.
        order: of the training rows of y, to break the pairs; None: as they belong.
    """
    cross = cross_covariance(x, y, order)
    best: tuple[float, Setting, tuple[Floats, Floats]] | None = None
    for setting in SETTINGS[method]:
        found = maps(method, setting, x, y, cross)
        own, true = hits(x.val @ found[0].astype(np.float32), y.val @ found[1].astype(np.float32), answers.val)
        if best is None or true.mean() > best[0]:
            best = float(true.mean()), setting, found
    assert best is not None
    score, setting, (a, b) = best
    own, true = hits(x.test @ a.astype(np.float32), y.test @ b.astype(np.float32), answers.test)
    return Cell(setting, score, own, true)


def hits(a: Singles, b: Singles, right: Booleans | None) -> tuple[Booleans, Booleans]:
    """Whether the nearest by cosine is the item's own, and whether it is true of it: (2, n) each, a to b and b to a.

    Equal captions have equal answers, so that ties between them do not matter to the second.
    """
    a, b = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30) for rows in (a, b))
    cosines = a @ b.T
    forth, back = cosines.argmax(axis=1), cosines.argmax(axis=0)
    items = np.arange(len(a))
    own = np.stack([forth == items, back == items])
    if right is None:
        return own, own
    some = right[: len(a), : len(a)]
    return own, np.stack([some[items, forth], some[back, items]])
