"""A user's own embeddings as a world: what each row of the given arrays shows, cut into splits.

The views have no content of their own: instead of it stands the number of the row in the arrays that were given.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from jam.data.arrays import read_arrays
from jam.data.schema import ITEMS, SPLITS, TRUE, VIEW, VIEWS, described, items_schema, write_table
from jam.errors import InputError
from jam.sources.rows import cut_photos


def ids_of(path: str | Path) -> list[str]:
    """What each row of a file shows: ``id`` of a .npz or .parquet, a .npy of one value a row, else their numbers.

    Raises:
        InputError: as `read_arrays`; columns of one value a row, none of which is called ``id``; or a row without one.
    """
    found = read_arrays(path)
    vectors = [name for name, array in found.items() if array.ndim == 1]
    name = "id" if "id" in found or Path(path).suffix != ".npy" else next(iter(vectors), "id")
    if name not in found:
        if vectors:
            raise InputError(f"{path}: got {vectors} of one value a row, expected the ids of the rows to be called id")
        return [str(i) for i in range(len(next(iter(found.values()))))]
    ids = np.asarray(found[name])
    if ids.ndim != 1:
        raise InputError(f"{path}: got ids of shape {ids.shape}, expected one a row")
    missing = pd.isna(pd.Series(ids)).to_numpy() | (ids.astype(str) == "")
    if missing.any():
        raise InputError(f"{path}: row {int(missing.argmax())} has no id, expected one for each")
    return [one.decode() if isinstance(one, bytes) else str(one) for one in ids]


def write_arrays(folder: str | Path, rows: Mapping[str, str], shares: Mapping[str, float], seed: int) -> dict[str, Any]:
    """Write items and views of arrays, see `jam.data.schema`; return counts.

    Args:
        folder: an existing one.
        rows: modality → file that tells what its rows show, see `ids_of`. Each item needs a row of every modality.
        shares: of ``val`` and ``test``; the rest trains. Items are cut by a hash of their id.
        seed: another seed gives another cut.

    Raises:
        InputError: as `ids_of`; an item that some modality does not have; or fewer than three.
    """
    folder, ids = Path(folder), {modality: ids_of(path) for modality, path in rows.items()}
    order = list(dict.fromkeys(next(iter(ids.values()))))
    for modality, own in ids.items():
        if odd := sorted(set(order) ^ set(own)):
            raise InputError(
                f"{rows[modality]}: {len(odd)} items (first: {odd[0]}) are in one of it and "
                f"{next(iter(rows.values()))} alone, expected the same items in every modality"
            )
    if len(order) < len(SPLITS):
        raise InputError(f"{next(iter(rows.values()))}: got {len(order)} items, expected at least {len(SPLITS)}")
    split_of = cut_photos(order, shares, seed=seed)
    order.sort(key=lambda one: SPLITS.index(split_of[one]))  # stable: within a split as they came
    told: Iterable[dict[str, Any]] = (
        {"id": one, "split": split_of[one], "context": None, "labels": [], "state": None} for one in order
    )
    write_table(folder / ITEMS, items_schema(), told)
    for modality, own in ids.items():
        write_table(
            folder / VIEWS / f"{modality}.parquet",
            described({**VIEW, "content": pa.int64()}),
            _views(order, own, split_of),
        )
    splits = pd.Series(split_of).value_counts()
    return {
        "rows": {modality: len(own) for modality, own in ids.items()},
        "splits": {split: {"rows": int(splits[split])} for split in SPLITS},
    }


def _views(order: Iterable[str], ids: Iterable[str], split_of: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    rows: dict[str, list[int]] = {}
    for row, one in enumerate(ids):
        rows.setdefault(one, []).append(row)
    number = 0
    for one in order:
        for k, row in enumerate(rows[one]):
            yield {**TRUE, "row": number, "id": one, "split": split_of[one], "k": k, "content": row}
            number += 1
