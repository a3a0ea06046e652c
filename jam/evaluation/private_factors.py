"""What is private to the first view of each item, as columns that can be read from a representation."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from jam.data.schema import VIEWS
from jam.errors import InputError

Columns = dict[str, npt.NDArray[np.float64]]
"""Name of a factor → its (n, columns)."""

_NUMBER = re.compile(r"-?\d+\.\d+(e-?\d+)?")


def read_private(world: str | Path, modality: str, ids: Mapping[str, Sequence[str]]) -> dict[str, Columns]:
    """The private factors of the first true view of each of some items.

    A factor whose values all have a decimal point is a number and is taken as it is; any other names kinds, each with
    a column of its own that is 1 where a view is of that kind.

    Args:
        world: its folder.
        modality: of the views.
        ids: split → the items, in the order that is wanted.

    Returns:
        Split → factor → columns; no splits where the data tells nothing private of such views.

    Raises:
        InputError: an item without a view, or a factor that is not told of all.
    """
    path = Path(world) / VIEWS / f"{modality}.parquet"
    if not path.is_file() or "private" not in pq.read_schema(path).names:  # arrays that were given have no views to see
        return {}
    wanted = [("split", "in", list(ids)), ("role", "==", "true"), ("k", "==", 0)]
    lines = pq.read_table(path, columns=["id", "private"], filters=wanted).to_pandas().set_index("id")["private"]
    told = {split: lines.reindex(list(mine)) for split, mine in ids.items()}
    if lost := [item for of in told.values() for item in of.index[of.isna()]]:
        raise InputError(f"{path}: item {lost[0]!r} has no view ({len(lost)} such), expected one of each")
    table = pd.DataFrame([{one["name"]: one["value"] for one in view} for of in told.values() for view in of])
    if not len(table.columns):
        return {}
    if table.isna().any(axis=None):
        name = table.columns[table.isna().any()][0]
        raise InputError(f"{path}: private factor {name!r} is told of {table[name].count()} of {len(table)} views")
    columns = {str(name): _columns(values.astype(str)) for name, values in table.items()}
    ends = np.cumsum([0, *map(len, told.values())])
    parts = dict(zip(told, pairwise(ends), strict=True))
    return {split: {name: of[a:b] for name, of in columns.items()} for split, (a, b) in parts.items()}


def _columns(values: pd.Series) -> npt.NDArray[np.float64]:
    if values.str.fullmatch(_NUMBER).all():
        return values.to_numpy(np.float64)[:, None]
    kinds = np.unique(values.to_numpy(str))
    return (values.to_numpy(str)[:, None] == kinds).astype(np.float64)
