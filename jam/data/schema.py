"""The world on disk: items, and their views in each modality. What every data source writes and every stage reads.

``items.parquet``, a row an item:

=========  =============================================  ====================================================
id         string                                         unique over all splits
split      string                                         train, val or test
context    string                                         coarse group ("same context" = same string), or null
labels     list<struct<name, value>>                      ground-truth attributes, as strings; may be empty
state      fixed-size list<float32>                       the true state of the world; null where unknown
=========  =============================================  ====================================================

``views/MODALITY.parquet``, a row a view; those of an item stand together, true ones first:

=========  ==========  ========================================================================================
row        int64       its number, that of its features
id, split  string      of the item
k          int32       number among the item's true, or among its false views
role       string      ``true`` or ``false`` of the item
form       string      how the item is rendered; empty where there is one form only; a false view has that of ``of``
kind       string      of a false view, what was changed; empty of a true one
tier       string      of a false view, ``easy``, ``medium`` or ``hard``; empty of a true one
of         int32       of a false view, ``k`` of the true one that it is to be compared with; −1 of a true one
private    list        of struct<name, value>: what this view shows or says that is no part of the item; mostly empty
content    see         encoded PNG or JPEG with its path, or a string: `jam.data.readers`
=========  ==========  ========================================================================================

A view of tier ``hard`` is the true view ``of`` with exactly one thing changed, and ``kind`` names the change
(``replace_object``, ``replace_attribute``, ``swap_attribute``, ``replace_relation``, …, as SugarCrepe does). Tiers
``medium`` (another scene sharing at least half of the attributes) and ``easy`` (any other scene) have kind ``scene``.

``relevance.parquet``, where it is known exactly, a row for each caption and each item of its split that it is true of:
``split``; ``id`` and ``k`` of the caption; ``true_of``, the id of the item.

All files carry the ``huggingface`` metadata key, so ``datasets.load_dataset("parquet", …)`` decodes the content.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jam.data.readers import IMAGE, READERS
from jam.errors import InputError
from jam.io import atomic_path

SPLITS = ("train", "val", "test")
FINE, DENSE = "fine", "dense"  # a split of scenes among their single edits, and the form of captions that say all
TIERS = ("easy", "medium", "hard")
ROW_GROUP = 1000  # rows
ITEMS, VIEWS, RELEVANCE = "items.parquet", "views", "relevance.parquet"
Row = Mapping[str, Any]
"""An item as sources hand it over: id, image, captions, negatives, context, labels, reality."""


class View(NamedTuple):
    """A true view as sources hand it over; the bare content does where there is one form and nothing private."""

    content: Any
    form: str = ""
    private: Mapping[str, str] = {}


VIEW = {
    "row": pa.int64(), "id": pa.string(), "split": pa.string(), "k": pa.int32(), "role": pa.string(),
    "form": pa.string(), "kind": pa.string(), "tier": pa.string(), "of": pa.int32(),
}  # fmt: skip
LABELS = pa.list_(pa.struct({"name": pa.string(), "value": pa.string()}))
TRUE = {"role": "true", "form": "", "kind": "", "tier": "", "of": -1}


def items_schema(state_dim: int = 1) -> pa.Schema:
    """Of items; ``state_dim`` is the length of the true state (1 where unknown)."""
    string = pa.string()
    state = pa.list_(pa.float32(), state_dim)
    return described({"id": string, "split": string, "context": string, "labels": LABELS, "state": state})


def view_schema(modality: str) -> pa.Schema:
    """Of the views of a modality."""
    return described({**VIEW, "private": LABELS, "content": READERS[modality].content}, modality)


def described(columns: Mapping[str, pa.DataType], modality: str | None = None) -> pa.Schema:
    """A schema of such columns with the metadata of ``datasets``; images are told by their type."""
    schema = pa.schema(columns)
    told = {field.name: _feature(field.type) for field in schema}
    told |= {field.name: READERS["image"].feature for field in schema if field.type == IMAGE}
    if modality is not None and READERS[modality].feature is not None:
        told["content"] = READERS[modality].feature
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": told}})})


def _feature(kind: pa.DataType) -> Any:
    """An Arrow type as the metadata of ``datasets`` names it."""
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    names = {pa.float32(): "float32", pa.float64(): "float64"}
    return {"dtype": names.get(kind, str(kind)), "_type": "Value"}


def write_table(path: str | Path, schema: pa.Schema, rows: Iterable[Row]) -> None:
    """Write rows (dicts keyed by column) as one parquet file, byte-identical for identical rows.

    Rows are drawn one row group at a time, so that those of an iterator need never be in memory together.
    """
    rows = iter(rows)
    with atomic_path(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def write_world(folder: str | Path, splits: Mapping[str, Iterable[Row]], state_dim: int = 1) -> None:
    """Write items and views of all splits; a modality that no item is seen in has no file.

    Rows are drawn one row group at a time. ``image`` is one of them, or a list of several; ``captions`` are true texts,
    ``negatives`` (kind, tier, text, of) false ones. Images and captions are contents, or each a `View`.
    """
    folder = Path(folder)
    (folder / VIEWS).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        schemas = {"items": items_schema(state_dim)} | {name: view_schema(name) for name in ("image", "text")}
        paths = {name: folder / VIEWS / f"{name}.parquet" for name in schemas} | {"items": folder / ITEMS}
        writers: dict[str, pq.ParquetWriter] = {}
        counts = dict.fromkeys(schemas, 0)
        for split, rows in splits.items():
            rows = iter(rows)
            while group := list(islice(rows, ROW_GROUP)):
                for name, found in _tables(split, group).items():
                    if not found:
                        continue
                    if name not in writers:
                        part = stack.enter_context(atomic_path(paths[name]))
                        writers[name] = stack.enter_context(pq.ParquetWriter(part, schemas[name], compression="zstd"))
                    if name != "items":
                        found = [{"row": counts[name] + i, **line} for i, line in enumerate(found)]
                        counts[name] += len(found)
                    writers[name].write_table(pa.Table.from_pylist(found, schema=schemas[name]))


def _tables(split: str, group: Sequence[Row]) -> dict[str, list[dict[str, Any]]]:
    """Items and views of some rows."""
    items, images, texts = [], [], []
    for row in group:
        shared = {"id": row["id"], "split": split}
        items.append({**shared, **{name: row[name] for name in ("context", "labels")}, "state": row["reality"]})
        seen = row["image"] if isinstance(row["image"], list) else [row["image"]] if row["image"] else []
        images += [{**shared, "k": k, **_true(view)} for k, view in enumerate(seen)]
        texts += [{**shared, "k": k, **_true(view)} for k, view in enumerate(row["captions"])]
        for k, negative in enumerate(row["negatives"]):
            told = {name: negative[name] for name in ("kind", "tier", "of")}
            form = _true(row["captions"][negative["of"]])["form"] if row["captions"] else ""
            line = {**shared, **TRUE, **told, "form": form, "role": "false", "k": k}
            texts.append({**line, "private": [], "content": negative["text"]})
    return {"items": items, "image": images, "text": texts}


def _true(view: Any) -> dict[str, Any]:
    """Columns of a true view."""
    content, form, private = view if isinstance(view, View) else View(view)
    told = [{"name": name, "value": value} for name, value in private.items()]
    return {**TRUE, "form": form, "private": told, "content": content}


def write_relevance(folder: str | Path, rows: Iterable[Row]) -> None:
    """Write what is true of what."""
    columns = {"split": pa.string(), "id": pa.string(), "k": pa.int32(), "true_of": pa.string()}
    write_table(Path(folder) / RELEVANCE, described(columns), rows)


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns.

    Raises:
        InputError: the file is missing, is not parquet, or lacks a column.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a table of parquet (run the dataset stage first)")
    try:
        table = pq.read_table(path, columns=list(columns) if columns is not None else None)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: expected a parquet table, got {str(error).splitlines()[0]}") from error
    missing = [name for name in columns or () if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: columns {missing} are missing; got {table.column_names}")
    return table


def read_items(folder: str | Path, split: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The items of one split, or some of their columns, in their order."""
    table = read_table(Path(folder) / ITEMS, None if columns is None else [*dict.fromkeys(["split", *columns])])
    return table.filter(pc.equal(table.column("split"), split))


def read_rows(folder: str | Path, split: str, first: int | None = None) -> list[dict[str, Any]]:
    """Items of one split with their views, as sources hand them over; the first so many."""
    items = read_items(folder, split).slice(0, first).to_pylist()
    views: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in ("image", "text"):
        path = Path(folder) / VIEWS / f"{name}.parquet"
        found = read_table(path) if path.is_file() else view_schema(name).empty_table()
        wanted = pc.is_in(found.column("id"), pa.array([item["id"] for item in items], pa.string()))
        lines = found.filter(wanted).to_pylist()
        views[name] = {key: list(own) for key, own in groupby(lines, lambda line: str(line["id"]))}
    return [_row(item, *(views[name].get(item["id"], []) for name in ("image", "text"))) for item in items]


def first_views(folder: str | Path, modality: str, ids: Sequence[str]) -> dict[str, Any]:
    """Content of the first true view of each of some items, by id; nothing of items that have none."""
    path = Path(folder) / VIEWS / f"{modality}.parquet"
    wanted = [("id", "in", list(ids)), ("role", "==", "true"), ("k", "==", 0)]
    lines = pq.read_table(path, columns=["id", "content"], filters=wanted).to_pylist() if path.is_file() else []
    return {line["id"]: line["content"] for line in lines}


def _row(item: Row, images: Sequence[Row], texts: Sequence[Row]) -> dict[str, Any]:
    false = [line for line in texts if line["role"] == "false"]
    return {
        "id": item["id"],
        "image": images[0]["content"] if images else None,
        "captions": [line["content"] for line in texts if line["role"] == "true"],
        "negatives": [
            {"kind": line["kind"], "tier": line["tier"], "text": line["content"], "of": line["of"]} for line in false
        ],
        **{name: item[name] for name in ("context", "labels")},
        "reality": item["state"],
    }
