"""Writing features: every batch once, whatever is killed, and however many processes share the work."""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from jam.distributed import ALONE, World
from jam.encoders import Encoder
from jam.encoders.items import whole_number
from jam.errors import InputError
from jam.features.store import INDEX, MANIFEST, FeatureStore, layer_name
from jam.features.views import Limits, Views
from jam.io import atomic_folder, file_sha256, read_json, release, replaceable, write_json
from jam.progress import Progress, silent

RELEASE = 64  # batches after which written pages are given back: the files may be larger than memory
MOST_THREADS = 8  # that prepare batches for a GPU
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # CUDA and MPS; the CPU. There is no class for all of them
Prepared = dict[str, Tensor]
"""What `Encoder.prepare` gives of a batch."""
FORMAT = 2  # raised when the meaning of scratch files changes, so that old ones are not taken up


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
    work = Path(scratch) / out.name / _key(manifest, encoder)
    try:
        if world.first:
            for other in set(work.parent.glob("*")) - {work}:  # unfinished, of another configuration
                shutil.rmtree(other)
            work.mkdir(parents=True, exist_ok=True)
            for i, d in enumerate(dims):
                _reserve(work / layer_name(i), (len(items.index), d), dtype)
        world.meet(f"{out}: room is reserved")
        files = [np.lib.format.open_memmap(work / layer_name(i), mode="r+") for i in range(len(dims))]
        _fill(encoder, items, batch_size, dict(zip(kept, files, strict=True)), work, progress, world, prepared)
        for file in files:
            file.flush()
        world.meet(f"{out}: all rows are there")
        if world.first:
            used = _fitting(work, batch_size)
            if used < batch_size:
                manifest["batch_size_used"] = used
            manifest["truncated"] = items.truncated(encoder)
            with atomic_folder(out) as part:
                for i in range(len(dims)):
                    _link(work / layer_name(i), part / layer_name(i))
                pq.write_table(items.index, part / INDEX, compression="zstd")
                write_json(part / MANIFEST, manifest)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = sum(len(items.index) * d * np.dtype(dtype).itemsize for d in dims)
        raise InputError(
            f"{work}: the disk is full; expected room for {needed / 1e6:.1f} MB of features of {out.name} "
            "(finished batches are kept there: free some space and run again)"
        ) from error
    if world.first:
        shutil.rmtree(work)
    world.meet(f"{out}: features are in place")
    return FeatureStore.load(out)


def _key(manifest: Mapping[str, Any], encoder: Encoder) -> str:
    """Name of the scratch folder: a hash of all that decides the bytes, down to the library and the kind of device."""
    device = encoder.model.device.type
    content = json.dumps([FORMAT, manifest, torch.__version__, device], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _reserve(path: Path, shape: tuple[int, int], dtype: str) -> None:
    """Create a .npy file to be filled in place, unless it is there, with its space on disk taken at once.

    Without the space taken, a full disk would kill the process at the write to the map.
    """
    if not path.is_file():
        part = path.with_suffix(".part")
        np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with part.open("r+b") as handle:
                os.posix_fallocate(handle.fileno(), 0, part.stat().st_size)
        part.replace(path)


def _fill(
    encoder: Encoder,
    items: Views,
    batch_size: int,
    layers: Mapping[int, np.memmap],
    work: Path,
    progress: Progress,
    world: World,
    prepared: dict[int, Prepared] | None,
) -> None:
    """Encode batch after batch into files, by layer, passing over those that a journal lists with the right checksum.

    Of several processes each takes every so-manieth batch and keeps a journal of its own; any number of them may take
    up the work of any other number. How many items fitted into memory together is kept too.
    """
    size = _fitting(work, batch_size)
    plan, files = items.plan(encoder, batch_size), list(layers.values())
    journals = _read_journals(work)

    def finished(number: int) -> bool:
        rows, _ = items.rows_of(plan[number])
        return number in journals and journals[number] == _checksum([file[rows] for file in files])

    def prepare(number: int) -> Prepared:
        known = prepared or {}
        inputs = known[number] if number in known else encoder.prepare([items[i] for i in plan[number]])
        if prepared is not None:
            prepared[number] = inputs
        return inputs

    todo = [number for number in world.share(range(len(plan))) if not finished(number)]
    batches = _ahead(prepare, todo, _threads(encoder))
    with (work / f"journal-{world.rank}").open("a") as journal:
        for number, inputs in zip(todo, progress(batches, len(todo), "features"), strict=True):
            rows, position = items.rows_of(plan[number])
            pooled, fitting = _in_parts(encoder, inputs, size)
            if fitting < size:
                size = fitting
                write_json(work / f"batch_size-{world.rank}.json", {"used": size})
            blocks = [state[position] for state in _split([pooled[layer] for layer in layers], files[0].dtype)]
            _check_finite(dict(zip(layers, blocks, strict=True)), items.index, rows)
            for file, block in zip(files, blocks, strict=True):
                file[rows] = block
            if number % RELEASE == 0:
                release(*files)
            # The line starts with the line break, so that one torn by a kill spoils no other.
            journal.write(f"\n{number} {_checksum(blocks)}")
            journal.flush()


def _fitting(work: Path, batch_size: int) -> int:
    """How many items go through the model together: all of a batch, or what memory had room for so far."""
    return min([batch_size, *(read_json(path)["used"] for path in work.glob("batch_size-*.json"))])


def _in_parts(encoder: Encoder, inputs: Mapping[str, Tensor], size: int) -> tuple[list[Tensor], int]:
    """Pooled states of a prepared batch, in parts of at most ``size`` items, and the size that did fit into memory.

    Raises:
        InputError: not even one item fits.
    """
    items = len(next(iter(inputs.values())))
    while True:
        try:
            parts = [
                encoder.pooled_states({name: value[start : start + size] for name, value in inputs.items()})
                for start in range(0, items, size)
            ]
            return parts[0] if len(parts) == 1 else [torch.cat(layer) for layer in zip(*parts, strict=True)], size
        except RuntimeError as error:
            if not any(words in str(error) for words in OUT_OF_MEMORY):
                raise
            reason = str(error).splitlines()[0]
        # Past the except clause: the error holds the tensors of the calls that it came through.
        if min(size, items) == 1:
            raise InputError(
                f"{encoder.manifest.id}: not even one item fits into the memory of {encoder.model.device} ({reason}); "
                "expected a smaller encoder, or shorter texts (max_tokens)"
            )
        size = min(size, items) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _threads(encoder: Encoder) -> int:
    """How many threads prepare batches: several where a GPU would wait for one that decodes and resizes photos.

    On a CPU the model itself needs the cores. Tokenizers are fast, and not made for several threads.
    """
    if encoder.modality == "text" or encoder.model.device.type == "cpu":
        return 1
    return min(MOST_THREADS, os.cpu_count() or 1)


def _ahead(prepare: Callable[[int], Prepared], numbers: Sequence[int], threads: int) -> Iterator[Prepared]:
    """Prepare batches in threads while those before are encoded: in order, and no more ahead than there are threads."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Prepared]] = deque()
        for number in numbers:
            waiting.append(pool.submit(prepare, number))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _split(states: Sequence[Tensor], dtype: np.dtype) -> list[np.ndarray]:
    """All layers on the CPU in the stored type, by one transfer."""
    joined = torch.cat(list(states), dim=1).to(getattr(torch, dtype.name)).cpu().numpy()
    return np.split(joined, np.cumsum([state.shape[1] for state in states])[:-1], axis=1)


def _check_finite(blocks: Mapping[int, np.ndarray], index: pa.Table, rows: np.ndarray) -> None:
    for layer, block in blocks.items():
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            [line] = index.slice(int(rows[int(finite.argmin())]), 1).to_pylist()
            what = f"{line['role']} view {line['k']}"
            raise InputError(
                f"item {line['id']!r}, {what}: layer {layer} got a NaN or infinity in {block.dtype}, expected finite "
                "features (try float32 if they are stored in float16)"
            )


def _checksum(blocks: Sequence[np.ndarray]) -> int:
    """CRC-32 of the bytes of one batch.

    With it the journal needs no sync to disk after each batch: whatever a kill or a power cut leaves in the files, a
    batch counts as finished only if its rows are the ones that were written.
    """
    checksum = 0
    for block in blocks:
        checksum = zlib.crc32(np.ascontiguousarray(block).data, checksum)
    return checksum


def _read_journals(work: Path) -> dict[int, int]:
    """Batch number → checksum; what a kill or a power cut left of a line is passed over, or fails its checksum."""
    journals = [path.read_text(errors="replace") for path in sorted(work.glob("journal-*"))]
    lines = [line.split() for journal in journals for line in journal.splitlines()]
    return {int(line[0]): int(line[1]) for line in lines if len(line) == 2 and "".join(line).isdecimal()}


def _link(source: Path, target: Path) -> None:
    """Give a finished file a second name, or copy it where the file system is another."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
