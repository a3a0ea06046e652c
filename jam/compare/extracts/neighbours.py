"""Who is near to whom in each space, among the items that are shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


def neighbours(
    rows: Mapping[str, npt.NDArray[Any]],
    told: Mapping[str, Mapping[str, Any]],
    ids: Sequence[str],
    shown: npt.NDArray[np.int64],
    k: int,
) -> pd.DataFrame:
    """The k nearest of each item shown among all that are shown, by the cosine of rows as they are; equals by number.

    Args:
        rows: name → (n, d), of all test items.
        told: name → columns that say what it is (model, modality, layer).
        ids: of all test items.
        shown: (m,) numbers of those to show, m > k.
        k: how many.

    Returns:
        Columns of ``told``, ``id``, ``rank`` (from 1), ``neighbour`` and ``cosine``.

    Raises:
        ValueError: no more items than neighbours.
    """
    if not 1 <= k < len(shown):
        raise ValueError(f"k: got {k}, expected 1 to {len(shown) - 1}, one less than the items shown")
    names, parts = np.array([ids[item] for item in shown]), []
    for name, all_rows in rows.items():
        units = np.asarray(all_rows[shown], dtype=np.float64)
        units = units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-300)
        cosines = (units @ units.T).round(12)  # equal but for rounding is equal
        np.fill_diagonal(cosines, -np.inf)
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        lines = pd.DataFrame({
            **told[name], "id": np.repeat(names, k), "rank": np.tile(np.arange(1, k + 1, dtype=np.int8), len(shown)),
            "neighbour": names[nearest].ravel(),
        })  # fmt: skip
        lines["cosine"] = np.take_along_axis(cosines, nearest, 1).ravel().astype(np.float32).round(4)
        parts.append(lines)
    return pd.concat(parts, ignore_index=True)
