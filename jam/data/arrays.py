"""Files of arrays: what is in them, by name, and which of it are features."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
