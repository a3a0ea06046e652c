"""What an encoder is given: the images, or the captions and negatives, of pairs tables, and the rows that each fills.

The attribute ``index`` has one line a row, of `jam.features.store.INDEX_SCHEMA`. The tables stay Arrow columns
throughout; as Python objects, those of a million captions would take gigabytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from jam.data.images import decode_image
from jam.data.schema import ROW_GROUP, read_pairs
from jam.encoders import Encoder
from jam.errors import InputError
from jam.features.store import INDEX_SCHEMA, Role


class Images:
    """The images of the tables, one a row, read one row group at a time; safe to read from several threads."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._groups: list[tuple[pq.ParquetFile, int]] = []
        self._starts: list[int] = []
        parts, start = [], 0
        for split, path in paths.items():
            parts.append(_lines(split, "image", read_pairs(path, ["id"]).column("id")))
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                self._groups.append((file, group))
                self._starts.append(start)
                start += file.metadata.row_group(group).num_rows
        self.index = _numbered(parts)
        self._read_group = lru_cache(maxsize=2)(self._group)
        self._lock = Lock()

    def plan(self, encoder: Encoder, batch_size: int) -> list[np.ndarray]:
        """Items of each batch: consecutive ones."""
        return encoder.batches(range(len(self.index)), batch_size)  # type: ignore[arg-type]

    def rows_of(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows to write, and for each the position in the batch of the item that goes there."""
        return batch, np.arange(len(batch))

    def __getitem__(self, item: int) -> Image.Image:
        group = int(np.searchsorted(self._starts, item, side="right")) - 1
        with self._lock:  # threads decode at one time, and read a group once
            column = self._read_group(group)
        cell = column[item - self._starts[group]].as_py()
        where = f"pair {self.index.column('id')[item].as_py()!r}"
        if cell is None or cell["bytes"] is None:
            raise InputError(f"{where}: got no image, expected one for a vision encoder")
        try:
            return decode_image(cell["bytes"])
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def _group(self, group: int) -> pa.ChunkedArray:
        file, number = self._groups[group]
        return file.read_row_group(number, columns=["image"]).column("image")

    def truncated(self, encoder: Encoder) -> int:
        """Images are never cut."""
        return 0


class Texts:
    """The captions and negatives of the tables, row by row of each pair its captions, then its negatives.

    Equal texts are one item. How many of a pair are kept is told by split: the first captions, and negatives as of
    `choose_negatives`; all of splits that are not named.
    """

    def __init__(self, paths: Mapping[str, Path], captions: Mapping[str, int], negatives: Mapping[str, int]) -> None:
        parts = [
            part
            for split, path in paths.items()
            for part in _text_rows(path, split, captions.get(split), negatives.get(split))
        ]
        self.index = _numbered([part.drop_columns("text") for part in parts])
        texts = pa.chunked_array([chunk for part in parts for chunk in part.column("text").chunks], pa.string())
        encoded = texts.combine_chunks().dictionary_encode()  # numbers in order of first appearance
        item_of_row = encoded.indices.to_numpy()
        self._texts: list[str] = encoded.dictionary.to_pylist()
        self._rows = np.argsort(item_of_row, kind="stable")  # grouped by item
        self._ends = np.cumsum(np.bincount(item_of_row, minlength=len(self._texts)))

    def plan(self, encoder: Encoder, batch_size: int) -> list[np.ndarray]:
        """Items of each batch: longest texts first."""
        return encoder.batches(self._texts, batch_size)

    def rows_of(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows to write, and for each the position in the batch of the item that goes there."""
        ends = self._ends[batch]
        starts = np.where(batch > 0, self._ends[batch - 1], 0)
        rows = [self._rows[start:end] for start, end in zip(starts, ends, strict=True)]
        return np.concatenate(rows), np.repeat(np.arange(len(batch)), ends - starts)

    def __getitem__(self, item: int) -> str:
        return self._texts[item]

    def truncated(self, encoder: Encoder) -> int:
        """How many rows hold a text that was cut to the encoder's longest."""
        cut = encoder.token_counts(self._texts) > encoder.max_tokens
        return int(np.diff(self._ends, prepend=0)[cut].sum())


def choose_negatives(hard: np.ndarray, owner: np.ndarray, first: int, limit: int | None) -> np.ndarray:
    """Places of the negatives to keep, in increasing order: ``limit`` of each pair; all where it is None.

    Hard negatives come before the others. Among equals the start rotates with the number of the pair, so that over the
    pairs every kind is taken about equally often.

    Args:
        hard: (n,) which negatives are hard.
        owner: (n,) the pair of each, rising.
        first: added to ``owner``, gives the number of a pair.
        limit: how many of each pair to keep.
    """
    if limit is None:
        return np.arange(len(owner))
    turn = np.empty(len(owner), dtype=np.int64)  # when a negative's turn comes within its pair
    for equals in (hard, ~hard):
        pair = owner[equals]
        start = np.searchsorted(pair, pair)
        count = np.searchsorted(pair, pair, side="right") - start
        turn[equals] = (np.arange(len(pair)) - start - (first + pair) * limit) % count
    ahead = owner[hard]
    behind = owner[~hard]
    turn[~hard] += np.searchsorted(ahead, behind, side="right") - np.searchsorted(ahead, behind)
    return np.flatnonzero(turn < limit)


def _text_rows(path: Path, split: str, captions: int | None, negatives: int | None) -> Iterator[pa.Table]:
    """The texts of a pairs table and what they are, some pairs at a time."""
    first = 0
    for batch in read_pairs(path, ["id", "captions", "negatives"]).to_batches(max_chunksize=ROW_GROUP):
        ids = batch.column("id")
        pair, k = _members(batch.column("captions"))
        without = np.setdiff1d(np.arange(len(ids)), pair)
        if len(without):
            raise InputError(f"{path}: {ids[without[0]]}: got no caption, expected at least one")
        kept = np.flatnonzero(k < captions) if captions is not None else np.arange(len(k))
        text = batch.column("captions").flatten().take(kept)
        true = _lines(split, "caption", ids.take(pair[kept]), k=k[kept]).append_column("text", text)

        listed = batch.column("negatives").flatten()
        owner, number = _members(batch.column("negatives"))
        hard = np.array(pc.equal(pc.struct_field(listed, "tier"), "hard").fill_null(False))
        chosen = choose_negatives(hard, owner, first, negatives)
        kind, tier, of, text = (pc.struct_field(listed, name).take(chosen) for name in ("kind", "tier", "of", "text"))
        false = _lines(
            split, "negative", ids.take(owner[chosen]), k=number[chosen], kind=kind, tier=tier, of=of
        ).append_column("text", text)
        order = np.argsort(np.concatenate([pair[kept], owner[chosen]]), kind="stable")
        yield pa.concat_tables([true, false]).take(order)
        first += len(ids)


def _members(lists: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """Of all members of the lists: which list each is in, and its number there."""
    owner = pc.list_parent_indices(lists).to_numpy()
    return owner, np.arange(len(owner)) - np.searchsorted(owner, owner)


def _lines(split: str, role: Role, ids: pa.Array, **columns: pa.Array | np.ndarray) -> pa.Table:
    """Lines of the index without their row numbers; a column that is not given is empty, 0 or -1."""
    n = len(ids)
    given = {"id": ids, "split": pa.repeat(split, n), "role": pa.repeat(role, n)} | columns
    absent = {"k": 0, "kind": "", "tier": "", "of": -1}
    names = INDEX_SCHEMA.names[1:]
    arrays = [given[name] if name in given else pa.repeat(absent[name], n) for name in names]
    return pa.Table.from_arrays(arrays, names).cast(INDEX_SCHEMA.remove(0))


def _numbered(parts: Sequence[pa.Table]) -> pa.Table:
    """The index: all lines with their row numbers."""
    lines = pa.concat_tables(parts).combine_chunks()
    return lines.add_column(0, INDEX_SCHEMA.field("row"), [np.arange(len(lines))])
