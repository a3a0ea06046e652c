"""Maps: each space's first principal axes, turned so that all look alike where they are alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Rows = Mapping[str, npt.NDArray[Any]]
"""``train`` and ``test`` → (n, d)."""

AXES = ("a", "b", "c")
_FLAT = 1e-12


@dataclass(frozen=True)
class Map:
    """A map of test rows.

    Attributes:
        points: (n, 3), of which the train rows have mean 0 and mean squared length 1.
        shares: (3,) of the variance of train rows along each axis of the space before it was turned.
        agreement: R² of the reference's map and this one over train rows: how far they are alike.
    """

    points: Floats
    shares: Floats
    agreement: float


def principal_map(rows: Rows, reference: Rows) -> Map:
    """The first three principal axes of a space, rotated (or mirrored) onto those of a reference.

    Axes, scale and rotation are made of train rows, the points are of test rows. Fewer than three dimensions are filled
    up with zeros.

    Args:
        rows: ``train`` and ``test`` → (n, d).
        reference: of the space that the map is turned to, the same items; the space itself turns nothing.
    """
    train, test, shares = _axes(rows)
    target, _, _ = _axes(reference)
    left, values, right = np.linalg.svd(train.T @ target)
    # Both have mean squared length 1, so that Σσ/n is their correlation as configurations.
    agreement = float(values.sum() / len(train)) ** 2
    return Map(test @ (left @ right), shares, min(1.0, agreement))


def maps(
    splits: Mapping[str, Rows],
    told: Mapping[str, Mapping[str, Any]],
    references: Mapping[str, str],
    ids: Sequence[str],
    shown: npt.NDArray[np.int64],
) -> pd.DataFrame:
    """A row a representation and item shown.

    Args:
        splits: name → ``train`` and ``test`` → (n, d).
        told: name → columns that say what it is (model, modality, layer).
        references: name → name of the representation that its map is turned to.
        ids: of all test items.
        shown: (m,) numbers of those to show.

    Returns:
        Columns of ``told``, ``id``, ``a``, ``b``, ``c``, ``share_a`` … ``share_c`` and ``agreement``.
    """
    parts = []
    for name, rows in splits.items():
        found = principal_map(rows, splits[references[name]])
        lines = pd.DataFrame({**told[name], "id": [ids[item] for item in shown]})
        lines[list(AXES)] = found.points[shown].astype(np.float32).round(4)
        for axis, share in zip(AXES, found.shares, strict=True):
            lines[f"share_{axis}"] = np.float32(share)
        parts.append(lines.assign(agreement=np.float32(found.agreement)))
    return pd.concat(parts, ignore_index=True)


def _axes(rows: Rows) -> tuple[Floats, Floats, Floats]:
    """Train and test rows on the first three principal axes of the train rows, (·, 3) each, and shares of variance."""
    train, test = (np.asarray(rows[split], dtype=np.float64) for split in ("train", "test"))
    mean = train.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(train, rowvar=False, bias=True).reshape(train.shape[1], -1))
    kept = min(len(AXES), len(values))
    basis = vectors[:, ::-1][:, :kept]
    largest = basis[np.abs(basis.round(12)).argmax(axis=0), np.arange(kept)]
    basis = basis * np.where(largest < 0, -1.0, 1.0)  # the sign of an axis is free: its largest weight is positive
    points = [np.zeros((len(part), len(AXES))) for part in (train, test)]
    for place, part in zip(points, (train, test), strict=True):
        place[:, :kept] = (part - mean) @ basis
    scale = np.sqrt(np.square(points[0]).sum(axis=1).mean())
    shares = np.zeros(len(AXES))
    shares[:kept] = values[::-1][:kept] / max(values.sum(), _FLAT)
    return points[0] / max(scale, _FLAT), points[1] / max(scale, _FLAT), shares
