"""What an encoder is given: the views of its modality, and the rows of features that each fills.

The tables stay Arrow columns throughout; as Python objects, those of a million captions would take gigabytes.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jam.data.readers import READERS
from jam.data.schema import VIEW, read_table
from jam.errors import InputError

if TYPE_CHECKING:
    from jam.encoders import Encoder

Limits = Mapping[str, tuple[int | None, int | None] | tuple[int | None, int | None, int]]
"""Split → how many true and how many false views of an item to take, None for all; and of how many items, the first
ones, where there is a third number. Splits that are not named are taken whole."""


class Views:
    """The views of one modality: a row each, and the contents to encode, of which equal ones may be one.

    Attributes:
        index: a line a row, of the columns of `jam.data.schema.VIEW`.
    """

    def __init__(self, path: Path, modality: str, limits: Limits) -> None:
        lines = read_table(path, list(VIEW))
        kept = kept_rows(lines, limits)
        lines = lines.take(kept).combine_chunks()
        self.index = lines.set_column(0, "row", pa.array(np.arange(len(kept)), pa.int64()))
        self._reader = READERS[modality]
        self._counts: np.ndarray | None = None
        if self._reader.once:
            contents = read_table(path, ["content"]).column("content").take(kept).combine_chunks()
            if contents.null_count:
                self._refuse(int(np.argmax(contents.is_null())), "got no content")
            encoded = contents.dictionary_encode()  # numbers in order of first appearance
            self._contents = encoded.dictionary.to_pylist()
            item_of_row = encoded.indices.to_numpy()
        else:
            self._contents = _Column(path, kept)
            item_of_row = np.arange(len(kept))
        self._rows = np.argsort(item_of_row, kind="stable")  # grouped by item
        self._ends = np.cumsum(np.bincount(item_of_row, minlength=len(self._contents)))

    def plan(self, encoder: "Encoder", batch_size: int) -> list[np.ndarray]:
        """Items of each batch, as suits the encoder: longest texts first, images as they come."""
        return encoder.batches(self._contents, batch_size, self._token_counts(encoder))

    @property
    def item_of_row(self) -> np.ndarray:
        """For each row the item that fills it, (rows,)."""
        found = np.empty(len(self._rows), dtype=np.int64)
        found[self._rows] = np.repeat(np.arange(len(self._ends)), np.diff(self._ends, prepend=0))
        return found

    def rows_of(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows to write, and for each the position in the batch of the item that goes there."""
        ends = self._ends[batch]
        starts = np.where(batch > 0, self._ends[batch - 1], 0)
        rows = [self._rows[start:end] for start, end in zip(starts, ends, strict=True)]
        return np.concatenate(rows), np.repeat(np.arange(len(batch)), ends - starts)

    def __getitem__(self, item: int) -> Any:
        row = int(self._rows[self._ends[item] - 1])
        cell = self._contents[item]
        if cell is None:
            self._refuse(row, "got no content")
        try:
            return self._reader.read(cell)
        except InputError as error:
            self._refuse(row, str(error))

    def _refuse(self, row: int, why: str) -> None:
        raise InputError(f"item {self.index.column('id')[row].as_py()!r}: {why}, expected one for its encoder")

    def token_counts(self, encoder: "Encoder", layer: int) -> np.ndarray:
        """How many tokens of a layer the encoder makes of each item, (items,); all images have as many."""
        counts = self._token_counts(encoder)
        if counts is not None:
            return np.minimum(counts, encoder.max_tokens)
        states, _ = encoder.token_states(encoder.prepare([self[0]]), layer)
        return np.full(len(self._ends), states.shape[1])

    def truncated(self, encoder: "Encoder") -> int:
        """How many rows hold a text that was cut to the encoder's longest."""
        counts = self._token_counts(encoder)
        return 0 if counts is None else int(np.diff(self._ends, prepend=0)[counts > encoder.max_tokens].sum())

    def _token_counts(self, encoder: "Encoder") -> np.ndarray | None:
        """Of each text, counted once; a table of views is for one encoder."""
        if self._reader.once and self._counts is None:
            self._counts = encoder.token_counts(self._contents)
        return self._counts


class _Column:
    """The contents of some rows of a table, read one row group at a time; safe to read from several threads."""

    def __init__(self, path: Path, rows: np.ndarray) -> None:
        self._file, self._wanted = pq.ParquetFile(path), rows
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self._read_group = lru_cache(maxsize=2)(self._group)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, item: int) -> Any:
        row = int(self._wanted[item])
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        with self._lock:  # threads decode at one time, and read a group once
            column = self._read_group(group)
        return column[row - int(self._starts[group])].as_py()

    def _group(self, group: int) -> pa.ChunkedArray:
        return self._file.read_row_group(group, columns=["content"]).column("content")


def kept_rows(lines: pa.Table, limits: Limits) -> np.ndarray:
    """Rows to keep, in increasing order: of each item its first true views, and false ones as of `choose_false`."""
    kept = np.ones(len(lines), dtype=bool)
    ids = lines.column("id").combine_chunks().dictionary_encode().indices.to_numpy()  # rising: views stand together
    false = np.array(pc.equal(lines.column("role"), "false"))
    for split, (most_true, most_false, *most_items) in limits.items():
        here = np.array(pc.equal(lines.column("split"), split))
        first = int(ids[here].min(initial=len(lines)))
        if most_true is not None:
            kept &= ~(here & ~false) | (lines.column("k").to_numpy() < most_true)
        if most_false is not None:
            rows = np.flatnonzero(here & false)
            hard = np.array(pc.equal(lines.column("tier"), "hard"))[rows]
            kept[rows] = False
            kept[rows[choose_false(hard, ids[rows] - first, most_false)]] = True
        if most_items:
            kept &= ~here | (ids < first + most_items[0])
    return np.flatnonzero(kept)


def choose_false(hard: np.ndarray, owner: np.ndarray, limit: int) -> np.ndarray:
    """Places of the false views to keep, in increasing order: ``limit`` of each item.

    Hard ones come before the others. Among equals the start rotates with the number of the item, so that over the
    items every kind is taken about equally often.

    Args:
        hard: (n,) which are hard.
        owner: (n,) the number of the item of each, rising.
        limit: how many of each item to keep.
    """
    turn = np.empty(len(owner), dtype=np.int64)  # when a view's turn comes within its item
    for equals in (hard, ~hard):
        item = owner[equals]
        start = np.searchsorted(item, item)
        count = np.searchsorted(item, item, side="right") - start
        turn[equals] = (np.arange(len(item)) - start - item * limit) % count
    ahead, behind = owner[hard], owner[~hard]
    turn[~hard] += np.searchsorted(ahead, behind, side="right") - np.searchsorted(ahead, behind)
    return np.flatnonzero(turn < limit)
