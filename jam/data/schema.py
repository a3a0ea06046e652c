"""The pairs table: the one schema that every data source writes and every stage reads.

=========  =============================================  ====================================================
column     type                                           meaning
=========  =============================================  ====================================================
id         string                                         unique over all splits
image      struct<bytes: binary, path: string>            encoded PNG or JPEG; null in a text-only table
captions   list<string>                                   every sentence that is true of the image
negatives  list<struct<kind, tier, text, of>>             sentences that are false of it; see below
context    string                                         coarse group ("same context" = same string), or null
labels     list<struct<name, value>>                      ground-truth attributes, as strings; may be empty
reality    fixed-size list<float32>                       the true state of the world; null where unknown
=========  =============================================  ====================================================

A negative of tier ``hard`` is caption number ``of`` with exactly one thing changed, and ``kind`` names the change
(``replace_object``, ``replace_attribute``, ``swap_attribute``, ``replace_relation``, …, as SugarCrepe does). Tiers
``medium`` (another scene sharing at least half of the attributes) and ``easy`` (any other scene) have kind ``scene``
and ``of`` = 0.

The file carries the ``huggingface`` metadata key, so ``datasets.load_dataset("parquet", ...)`` decodes ``image``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jam.errors import InputError
from jam.io import atomic_path

SPLITS = ("train", "val", "test")
TIERS = ("easy", "medium", "hard")
ROW_GROUP = 1000  # rows


def pairs_schema(reality_dim: int = 1) -> pa.Schema:
    """Arrow schema of the pairs table; ``reality_dim`` is the length of the true-state vector (1 where unknown)."""
    string = pa.string()
    negative = pa.struct({"kind": string, "tier": string, "text": string, "of": pa.int32()})
    schema = pa.schema(
        {
            "id": string,
            "image": pa.struct({"bytes": pa.binary(), "path": string}),
            "captions": pa.list_(string),
            "negatives": pa.list_(negative),
            "context": string,
            "labels": pa.list_(pa.struct({"name": string, "value": string})),
            "reality": pa.list_(pa.float32(), reality_dim),
        }
    )
    features = {field.name: _feature(field.type) for field in schema} | {"image": {"_type": "Image"}}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """An Arrow type as the metadata of ``datasets`` names it."""
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": "float32" if kind == pa.float32() else str(kind), "_type": "Value"}


def write_pairs(path: str | Path, rows: Iterable[Mapping[str, Any]], reality_dim: int = 1) -> None:
    """Write rows (dicts keyed by column) as one parquet file, byte-identical for identical rows.

    Rows are drawn one row group at a time, so that those of an iterator need never be in memory together.
    """
    schema, rows = pairs_schema(reality_dim), iter(rows)
    with atomic_path(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def read_pairs(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a pairs table, or some of its columns.

    Raises:
        InputError: the file is missing, is not parquet, or lacks a column.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a pairs table (run the dataset stage first)")
    try:
        table = pq.read_table(path, columns=list(columns) if columns is not None else None)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: expected a parquet pairs table, got {str(error).splitlines()[0]}") from error
    wanted = columns if columns is not None else pairs_schema().names
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: columns {missing} are missing; got {table.column_names}")
    return table
