"""Writing features: every batch once, whatever is killed, and however many processes share the work."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from jam.distributed import ALONE, World
from jam.encoders import Encoder
from jam.encoders.items import whole_number
from jam.errors import InputError
from jam.features.filling import Prepared, Target, write_filled
from jam.features.store import MANIFEST, FeatureStore, layer_name
from jam.features.views import Limits, Views
from jam.io import file_sha256, replaceable
from jam.progress import Progress, silent


def extract_features(
    encoder: Encoder,
    views: str | Path,
    out: str | Path,
    *,
    scratch: str | Path,
    batch_size: int = 64,
    dtype: Literal["float32", "float16"] = "float32",
    limits: Limits | None = None,
    layers: Sequence[int] | None = None,
    progress: Progress = silent,
    world: World = ALONE,
    prepared: dict[int, Prepared] | None = None,
) -> FeatureStore:
    """Encode the views of one modality: all layers in one pass.

    Killed at any moment, a second call takes the work up again, encodes at most one batch twice, and ends with the
    same bytes. Equal texts are encoded once.

    Where a batch does not fit into memory, it and all later ones go through the model in parts of half the size, and
    again if need be; the manifest then says ``batch_size_used``, the smallest size taken. That moves the last bits of
    features; without it the bytes follow from the arguments, the library and the device alone.

    Args:
        encoder: of the modality of the views.
        views: a file of views, see `jam.data.schema`.
        out: the feature folder, written in one step at the end: new, empty, or with other features, which are
            replaced.
        scratch: folder for unfinished work, best on the file system of ``out``. That of another configuration for a
            folder of the same name is deleted.
        batch_size: items a forward pass, at most.
        dtype: of the stored features.
        limits: split → how many true and how many false views of an item to encode, the first true ones; None, and
            splits not named, for all. Of false views hard ones come first, and which kind is taken rotates from item to
            item, so that all kinds occur.
        layers: which of the encoder's to keep, in increasing order, numbered anew from 0; all by default.
        progress: wraps the batches, see `jam.progress`.
        world: the processes that share the batches, on one file system; each fills its own rows of the same files.
        prepared: batches of the same views and limits, by number, prepared for another encoder that wants them alike;
            those of this one are added. All are held in memory.

    Raises:
        InputError: an ``out`` that holds other things, a bad table, a view without content, a
            NaN or infinity from the encoder, a full disk, a layer that it has not, or a bad batch size or dtype.
    """
    batch_size = whole_number(batch_size, "batch_size", 1)
    if dtype not in ("float32", "float16"):
        raise InputError(f"dtype: got {dtype!r}, expected float32 or float16")
    out = replaceable(out, MANIFEST, ("encoder", "rows", "dims"))
    limits = dict(limits or {})
    kept = list(range(len(encoder.dims)) if layers is None else layers)
    if kept != sorted(set(kept)) or not set(kept) <= set(range(len(encoder.dims))):
        raise InputError(f"layers: got {kept}, expected some of 0 … {len(encoder.dims) - 1} of {encoder.manifest.id}")
    items, dims = Views(Path(views), encoder.modality, limits), [encoder.dims[layer] for layer in kept]
    manifest: dict[str, Any] = {
        "encoder": encoder.describe(),
        "views": file_sha256(Path(views)),
        "limits": {split: list(most) for split, most in limits.items()},
        "batch_size": batch_size,
        "dtype": dtype,
        "rows": len(items.index),
        "dims": dims,
    }
    if layers is not None:
        manifest["kept_layers"] = kept
    shapes = {layer_name(i): (len(items.index), d) for i, d in enumerate(dims)}

    def target(files: Sequence[np.memmap]) -> Target:
        return _pooled(encoder, items, dict(zip(kept, files, strict=True)))

    how: dict[str, Any] = {"scratch": scratch, "progress": progress, "world": world, "prepared": prepared}
    write_filled("features", encoder, items, out, manifest, shapes, target, **how)
    return FeatureStore.load(out)


def _pooled(encoder: Encoder, items: Views, files: Mapping[int, np.memmap]) -> Target:
    """Pooled states of some layers, a row a view."""

    def blocks(batch: np.ndarray, states: list[Tensor]) -> list[np.ndarray]:
        rows, position = items.rows_of(batch)
        dtype = next(iter(files.values())).dtype
        found = [state[position] for state in _split([states[layer] for layer in files], dtype)]
        check_finite(dict(zip(files, found, strict=True)), items.index, rows)
        return found

    return Target(files, lambda batch: items.rows_of(batch)[0], encoder.pooled_states, blocks)


def _split(states: Sequence[Tensor], dtype: np.dtype) -> list[np.ndarray]:
    """All layers on the CPU in the stored type, by one transfer."""
    joined = torch.cat(list(states), dim=1).to(getattr(torch, dtype.name)).cpu().numpy()
    return np.split(joined, np.cumsum([state.shape[1] for state in states])[:-1], axis=1)


def check_finite(blocks: Mapping[int, np.ndarray], index: pa.Table, rows: np.ndarray, what: str = "features") -> None:
    """Refuse a NaN or infinity in blocks by layer, whose rows are those of the index.

    Raises:
        InputError: one is there; names the item.
    """
    for layer, block in blocks.items():
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{row_name(index, rows[int(finite.argmin())])}: layer {layer} got a NaN or infinity in {block.dtype}, "
                f"expected finite {what} (try float32 if they are stored in float16)"
            )


def row_name(index: pa.Table, row: int) -> str:
    """A row in words, by its line of the index."""
    [line] = index.slice(int(row), 1).to_pylist()
    return f"item {line['id']!r}, {line['role']} view {line['k']}"
