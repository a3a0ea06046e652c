"""Batches through an encoder into files: every one once, whatever is killed, and however many processes share them."""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from jam.distributed import World
from jam.encoders import Encoder
from jam.errors import InputError
from jam.features.store import INDEX, MANIFEST
from jam.features.views import Views
from jam.io import atomic_folder, read_json, release, write_json
from jam.progress import Progress

RELEASE = 64  # batches after which written pages are given back: the files may be larger than memory
MOST_THREADS = 8  # that prepare batches for a GPU
OUT_OF_MEMORY = ("out of memory", "can't allocate memory")  # CUDA and MPS; the CPU. There is no class for all of them
FORMAT = 2  # raised when the meaning of scratch files changes, so that old ones are not taken up
Prepared = dict[str, Tensor]
"""What `Encoder.prepare` gives of a batch."""


@dataclass(frozen=True)
class Target:
    """Where the states of a batch go.

    Attributes:
        files: by layer, memory maps (rows, d_layer) of one type.
        rows: from the items of a batch to their rows of every file.
        run: from a prepared batch to its states, one tensor or more with as many rows as it has items.
        blocks: from the items of a batch and its states to what is written, one block (rows, d_layer) a file, checked.
    """

    files: Mapping[int, np.memmap]
    rows: Callable[[np.ndarray], np.ndarray]
    run: Callable[[Prepared], list[Tensor]]
    blocks: Callable[[np.ndarray, list[Tensor]], list[np.ndarray]]


def write_filled(
    what: str,
    encoder: Encoder,
    items: Views,
    out: Path,
    manifest: dict[str, Any],
    shapes: Mapping[str, tuple[int, int]],
    target: Callable[[Sequence[np.memmap]], Target],
    *,
    scratch: str | Path,
    progress: Progress,
    world: World,
    prepared: dict[int, Prepared] | None = None,
    beside: Callable[[Path], None] = lambda part: None,
) -> None:
    """Fill files in a scratch folder, and put them in place in one step with index and manifest.

    Args:
        what: is made, in words.
        encoder: that makes the states.
        items: what it is given.
        out: the folder, see `jam.io.replaceable`.
        manifest: all that decides the bytes, ``batch_size`` and ``dtype`` among it; what is known at the end is added.
        shapes: name of each file → its shape.
        target: from the mapped files to where states go.
        scratch: folder for unfinished work; that of another configuration for the same name is deleted.
        progress: wraps the batches.
        world: the processes that share them.
        prepared: see `jam.features.extract_features`.
        beside: writes what else belongs into the folder.

    Raises:
        InputError: the disk is full, or what a batch may raise.
    """
    batch_size, dtype = manifest["batch_size"], manifest["dtype"]
    work = Path(scratch) / out.name / _key(manifest, encoder)
    try:
        if world.first:
            for other in set(work.parent.glob("*")) - {work}:  # unfinished, of another configuration
                shutil.rmtree(other)
            work.mkdir(parents=True, exist_ok=True)
            for name, shape in shapes.items():
                _reserve(work / name, shape, dtype)
        world.meet(f"{out}: room is reserved")
        files = [np.lib.format.open_memmap(work / name, mode="r+") for name in shapes]
        _fill(encoder, items, batch_size, target(files), work, progress, world, prepared)
        for file in files:
            file.flush()
        world.meet(f"{out}: all is filled")
        if world.first:
            used = _fitting(work, batch_size)
            if used < batch_size:
                manifest["batch_size_used"] = used
            manifest["truncated"] = items.truncated(encoder)
            with atomic_folder(out) as part:
                for name in shapes:
                    _link(work / name, part / name)
                beside(part)
                pq.write_table(items.index, part / INDEX, compression="zstd")
                write_json(part / MANIFEST, manifest)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = sum(rows * d * np.dtype(dtype).itemsize for rows, d in shapes.values())
        raise InputError(
            f"{work}: the disk is full; expected room for {needed / 1e6:.1f} MB of {what} of {out.name} "
            "(finished batches are kept there: free some space and run again)"
        ) from error
    if world.first:
        shutil.rmtree(work)
    world.meet(f"{out}: all is in place")


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
    target: Target,
    work: Path,
    progress: Progress,
    world: World,
    prepared: dict[int, Prepared] | None = None,
) -> None:
    """Encode batch after batch into files, passing over those that a journal lists with the right checksum.

    Of several processes each takes every so-manieth batch and keeps a journal of its own; any number of them may take
    up the work of any other number. How many items fitted into memory together is kept too.
    """
    size = _fitting(work, batch_size)
    plan, files = items.plan(encoder, batch_size), list(target.files.values())
    journals = _read_journals(work)

    def finished(number: int) -> bool:
        rows = target.rows(plan[number])
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
            rows = target.rows(plan[number])
            states, used = _in_parts(encoder, target.run, inputs, size)
            if used < size:
                size = used
                write_json(work / f"batch_size-{world.rank}.json", {"used": size})
            blocks = target.blocks(plan[number], states)
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


def _in_parts(
    encoder: Encoder, run: Callable[[Prepared], list[Tensor]], inputs: Prepared, size: int
) -> tuple[list[Tensor], int]:
    """States of a prepared batch, in parts of at most ``size`` items, and the size that did fit into memory.

    Raises:
        InputError: not even one item fits.
    """
    items = len(next(iter(inputs.values())))
    while True:
        try:
            parts = [
                run({name: value[start : start + size] for name, value in inputs.items()})
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
