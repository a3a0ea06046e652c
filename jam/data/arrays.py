"""A user's own embeddings as a world: what each row of the given arrays shows, cut into splits.

The views have no content of their own: instead of it stands the number of the row in the arrays that were given.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from jam.data.rows import cut_photos
from jam.data.schema import ITEMS, SPLITS, TRUE, VIEW, VIEWS, described, items_schema, write_table
from jam.errors import InputError

SUFFIXES = (".npy", ".npz", ".parquet")
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name: that of a .npy, those of a .npz and columns of a .parquet as they stand.

    Columns of lists of equal length are arrays (n, d). A .npy is mapped, not read.

    Raises:
        InputError: no such file, another format, pickled objects, or lists of different lengths.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES or not path.is_file():
        raise InputError(f"{path}: expected a file of arrays, {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            return {name: _column(table.column(name)) for name in table.column_names}
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        if path.suffix == ".npy":
            return {path.stem: found}
        return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, BadZipFile, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read as arrays ({' '.join(str(error).split())})") from error


def _column(column: pa.ChunkedArray) -> np.ndarray:
    if any(is_list(column.type) for is_list in LISTS):
        rows = column.combine_chunks().to_pylist()
        if len({len(row or ()) for row in rows}) > 1:
            raise ValueError(f"lists of {sorted({len(row or ()) for row in rows})} numbers in one column")
        return np.array(rows)
    return np.asarray(column.to_pandas())


def layers_of(path: str | Path) -> list[np.ndarray]:
    """The features of a file, one array (n, d) a layer, in the order of the file.

    Raises:
        InputError: as `read_arrays`; there are none, or of different numbers of rows.
    """
    found = {name: array for name, array in read_arrays(path).items() if array.ndim == 2 and array.dtype.kind in "fiu"}
    if len({len(array) for array in found.values()}) != 1:
        got = {name: array.shape for name, array in found.items()}
        raise InputError(
            f"{path}: got features {got}, expected arrays (rows, dimensions) of numbers, as many rows in all"
        )
    return list(found.values())


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
