"""Features that a user gives instead of an encoder, put in the order of the views."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq

from jam.data.schema import VIEW, read_table
from jam.errors import InputError
from jam.features.store import INDEX, MANIFEST, FeatureStore, layer_name
from jam.io import atomic_folder, file_sha256, write_json

BLOCK = 8192  # rows copied at a time


def place_features(
    layers: Sequence[np.ndarray],
    views: str | Path,
    out: str | Path,
    encoder: Mapping[str, Any],
    dtype: Literal["float32", "float16"] = "float32",
) -> FeatureStore:
    """Write given layers, (n, d) each, as features of the views, whose contents are numbers of their rows.

    Raises:
        InputError: views of another kind or another number of rows, a NaN or infinity, or numbers whose differences
            ``dtype`` does not hold.
    """
    lines = read_table(views, [*VIEW, "content"])
    rows = lines.column("content").to_numpy()
    if rows.dtype.kind != "i" or len(layers[0]) != len(rows):
        raise InputError(
            f"{encoder['id']}: got {len(layers[0])} rows for {len(rows)} views of {views}, expected as many (with "
            "dataset.source arrays, of the rows that dataset.arrays.rows tells)"
        )
    with atomic_folder(out) as part:
        for number, layer in enumerate(layers):
            shape = (len(rows), layer.shape[1])
            placed = np.lib.format.open_memmap(part / layer_name(number), mode="w+", dtype=dtype, shape=shape)
            for start in range(0, len(rows), BLOCK):
                here = slice(start, start + BLOCK)
                given = layer[rows[here]]
                placed[here] = given
                finite = np.isfinite(placed[here]).all(axis=1)
                if not finite.all():
                    row = int(rows[here][finite.argmin()])
                    raise InputError(f"{encoder['id']}: row {row} holds NaN or infinity in {dtype}, layer {number}")
                _check_precision(given, placed[here], f"{encoder['id']}: layer {number}", dtype)
            placed.flush()
        pq.write_table(lines.select(list(VIEW)), part / INDEX, compression="zstd")
        manifest = {
            "encoder": dict(encoder), "views": file_sha256(Path(views)), "dtype": dtype, "rows": len(rows),
            "dims": [layer.shape[1] for layer in layers], "truncated": 0,
        }  # fmt: skip
        write_json(part / MANIFEST, manifest)
    return FeatureStore.load(out)


def _check_precision(given: np.ndarray, placed: np.ndarray, where: str, dtype: str) -> None:
    """Refuse what rounding takes away: features far from zero beside what tells them apart."""
    error = np.abs(placed.astype(np.float64) - given).max(axis=0)
    spread = given.astype(np.float64).std(axis=0)
    if np.any((spread > 0) & (error > 0.01 * spread)):
        column = int(np.argmax(np.where(spread > 0, error / np.maximum(spread, 1e-300), 0)))
        raise InputError(
            f"{where}: column {column} has a mean of {given[:, column].mean():.3g} and a deviation of "
            f"{spread[column]:.3g}, which {dtype} does not hold; expected features nearer to zero (take off their mean)"
        )
