"""Token sequences: the states of all tokens of one layer, ragged, for adapters that read them all.

A folder holds ``tokens.npy`` (tokens × d), ``spans.npy`` (rows × 2: where a row begins and ends; equal
texts share theirs), ``index.parquet`` (what each row is) and ``manifest.json`` (what made them).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from torch import Tensor

from jam.distributed import ALONE, World
from jam.encoders import Encoder
from jam.encoders.items import whole_number
from jam.errors import InputError
from jam.features.extract import check_finite, row_name
from jam.features.filling import Target, write_filled
from jam.features.ragged import Ragged
from jam.features.store import INDEX, MANIFEST
from jam.features.views import Limits, Views
from jam.io import file_sha256, read_json, replaceable
from jam.progress import Progress, silent

TOKENS, SPANS = "tokens.npy", "spans.npy"


@dataclass(frozen=True)
class TokenStore:
    """Tokens on disk.

    Attributes:
        folder: where they lie.
        manifest: ``encoder``, ``layer``, ``rows``, ``tokens``, ``dim``, ``dtype`` and how they were made.
        index: one line a row, the columns of `jam.data.schema.VIEW`.
        spans: (rows, 2), first and one past the last token of each row.
        tokens: memory map (tokens, d).
    """

    folder: Path
    manifest: Mapping[str, Any]
    index: pd.DataFrame
    spans: np.ndarray
    tokens: np.memmap

    @classmethod
    def load(cls, folder: str | Path) -> "TokenStore":
        """Open a folder.

        Raises:
            InputError: it lacks one of its files, or they are broken or do not belong together.
        """
        folder = Path(folder)
        for name in (MANIFEST, INDEX, SPANS, TOKENS):
            if not (folder / name).is_file():
                raise InputError(f"{folder}: expected tokens with {name}, found none (run the tokens stage)")
        try:
            manifest, index = read_json(folder / MANIFEST), pq.read_table(folder / INDEX).to_pandas()
            spans = np.load(folder / SPANS, allow_pickle=False)
            tokens: np.memmap = np.load(folder / TOKENS, mmap_mode="r", allow_pickle=False)
            got = len(spans), len(index), tokens.shape, str(tokens.dtype)
            rows, expected = manifest["rows"], ((manifest["tokens"], manifest["dim"]), manifest["dtype"])
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder}: broken tokens ({error}); run the tokens stage") from error
        if got != (rows, rows, *expected):
            raise InputError(f"{folder}: got {got}, expected spans, lines and tokens {(rows, rows, *expected)}")
        return cls(folder, manifest, index, spans, tokens)

    @property
    def sequences(self) -> Ragged:
        """All rows, as a table whose rows are sequences."""
        return Ragged(self.tokens, self.spans)


def extract_tokens(
    encoder: Encoder,
    views: str | Path,
    out: str | Path,
    *,
    layer: int,
    scratch: str | Path,
    batch_size: int = 64,
    dtype: Literal["float32", "float16"] = "float16",
    limits: Limits | None = None,
    progress: Progress = silent,
    world: World = ALONE,
) -> TokenStore:
    """Encode the views of one modality and keep all tokens of one layer.

    As `jam.features.extract_features`, of which all arguments but ``layer`` are: killed at any moment it takes its work
    up again and ends with the same bytes, and processes share the batches.

    Raises:
        InputError: as `extract_features`.
    """
    batch_size = whole_number(batch_size, "batch_size", 1)
    if dtype not in ("float32", "float16"):
        raise InputError(f"dtype: got {dtype!r}, expected float32 or float16")
    layer = whole_number(layer, "layer", 0, len(encoder.dims) - 1)
    out = replaceable(out, MANIFEST, ("encoder", "layer", "tokens"))
    limits = dict(limits or {})
    items = Views(Path(views), encoder.modality, limits)
    ends = np.cumsum(items.token_counts(encoder, layer))
    shape = int(ends[-1]), encoder.dims[layer]
    manifest: dict[str, Any] = {
        "encoder": encoder.describe(),
        "layer": layer,
        "views": file_sha256(Path(views)),
        "limits": {split: list(most) for split, most in limits.items()},
        "batch_size": batch_size,
        "dtype": dtype,
        "rows": len(items.index),
        "tokens": shape[0],
        "dim": shape[1],
    }
    spans = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)[items.item_of_row]

    def target(files: Sequence[np.memmap]) -> Target:
        return _ragged(encoder, items, ends, layer, files[0])

    how: dict[str, Any] = {"scratch": scratch, "progress": progress, "world": world}
    how["beside"] = lambda part: np.save(part / SPANS, spans)
    write_filled("tokens", encoder, items, out, manifest, {TOKENS: shape}, target, **how)
    return TokenStore.load(out)


def _ragged(encoder: Encoder, items: Views, ends: np.ndarray, layer: int, file: np.memmap) -> Target:
    """All real tokens of one layer, those of an item one after another."""
    counts = np.diff(ends, prepend=0)
    _, first = np.unique(items.item_of_row, return_index=True)  # the first row that an item fills

    def rows(batch: np.ndarray) -> np.ndarray:
        return np.concatenate([np.arange(ends[item] - counts[item], ends[item]) for item in batch])

    def blocks(batch: np.ndarray, states: list[Tensor]) -> list[np.ndarray]:
        tokens, real = (state.cpu().numpy() for state in states)
        if (wrong := real.sum(axis=1) != counts[batch]).any():
            at = int(wrong.argmax())
            name, expected = row_name(items.index, first[batch[at]]), counts[batch[at]]
            raise InputError(f"{name}: got {real[at].sum()} tokens, expected {expected}")
        with np.errstate(over="ignore"):  # told of by the check
            block = tokens[real].astype(file.dtype)
        check_finite({layer: block}, items.index, np.repeat(first[batch], counts[batch]), "tokens")
        return [block]

    return Target({layer: file}, rows, lambda inputs: list(encoder.token_states(inputs, layer)), blocks)
