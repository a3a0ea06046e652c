"""The feature store: pooled states of a frozen encoder, all layers, computed once and read through memory maps.

A folder holds ``layer_00.npy``, ``layer_01.npy``, … (rows × d_layer), ``index.parquet`` (what each row is) and
``manifest.json`` (what made them). `extract_features` writes it, `FeatureStore` reads it.
"""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from jam.data.images import decode_image
from jam.data.schema import read_pairs
from jam.distributed import ALONE, World
from jam.encoders import Encoder
from jam.encoders.manifest import file_sha256
from jam.errors import InputError
from jam.io import atomic_folder, read_json, release, write_json
from jam.progress import Progress, silent

Role = Literal["image", "caption", "negative"]
MANIFEST = "manifest.json"
INDEX = "index.parquet"
RELEASE = 64  # batches after which written pages are given back: the files may be larger than memory
FORMAT = 1  # raised when the meaning of scratch files changes, so that old ones are not taken up

_INDEX_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("id", pa.string()),
        ("split", pa.string()),
        ("role", pa.string()),
        ("k", pa.int32()),
        ("kind", pa.string()),
        ("tier", pa.string()),
        ("of", pa.int32()),
    ]
)


def layer_name(layer: int) -> str:
    """File name of a layer."""
    return f"layer_{layer:02d}.npy"


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FeatureStore:
    """Features on disk.

    Attributes:
        folder: where they lie.
        manifest: ``encoder`` (its description), ``rows``, ``dims``, ``dtype``, ``truncated`` and how they were made.
        index: one line a row of the layers: ``row``, ``id``, ``split``, ``role`` (image, caption or negative),
            ``k`` (number within the pair's captions or negatives), and of negatives ``kind``, ``tier`` and ``of``
            (number of the caption edited; empty and −1 for the other roles). `jam.pairing` joins two into pairs.
    """

    folder: Path
    manifest: Mapping[str, Any]
    index: pd.DataFrame

    @classmethod
    def load(cls, folder: str | Path) -> "FeatureStore":
        """Open a folder; layers are mapped only when they are asked for.

        Raises:
            InputError: the folder lacks its manifest or index.
        """
        folder = Path(folder)
        for name in (MANIFEST, INDEX):
            if not (folder / name).is_file():
                raise InputError(
                    f"{folder}: expected a feature folder with {name}, found none (run the features stage)"
                )
        return cls(folder, read_json(folder / MANIFEST), pq.read_table(folder / INDEX).to_pandas())

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.dims)

    @property
    def dims(self) -> tuple[int, ...]:
        """Width of each layer."""
        return tuple(self.manifest["dims"])

    def layer(self, layer: int) -> np.ndarray:
        """Memory map of one layer, (rows, d), read-only; a negative number counts from the last.

        Raises:
            InputError: there is no such layer, or its file is missing or not what the manifest says.
        """
        if not -self.layers <= layer < self.layers:
            raise InputError(f"{self.folder}: got layer {layer}, expected {-self.layers} … {self.layers - 1}")
        layer %= self.layers
        path = self.folder / layer_name(layer)
        expected = (self.manifest["rows"], self.dims[layer]), self.manifest["dtype"]
        try:
            mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: expected an array {expected}, got: {error}") from error
        if (got := (mapped.shape, str(mapped.dtype))) != expected:
            raise InputError(f"{path}: expected an array {expected}, got {got}")
        return mapped

    def rows(self, split: str, role: Role) -> pd.DataFrame:
        """The lines of the index of one split and role, in row order.

        Raises:
            InputError: there are none.
        """
        found = self.index[(self.index["split"] == split) & (self.index["role"] == role)]
        if found.empty:
            present = sorted(set(zip(self.index["split"], self.index["role"], strict=True)))
            raise InputError(f"{self.folder}: got no {role} rows of split {split!r}, expected one of {present}")
        return found


# --- writing ----------------------------------------------------------------------------------------------------------


def extract_features(
    encoder: Encoder,
    tables: Mapping[str, str | Path],
    out: str | Path,
    *,
    scratch: str | Path,
    batch_size: int = 64,
    dtype: Literal["float32", "float16"] = "float32",
    captions_per_pair: Mapping[str, int] | None = None,
    negatives_per_pair: Mapping[str, int] | None = None,
    progress: Progress = silent,
    world: World = ALONE,
) -> FeatureStore:
    """Encode the images, or the captions and negatives, of pairs tables: all layers in one pass.

    Killed at any moment, a second call takes the work up again, encodes at most one batch twice, and ends with the
    same bytes. Equal texts are encoded once.

    Where a batch does not fit into memory, it and all later ones go through the model in parts of half the size, and
    again if need be; the manifest then says ``batch_size_used``, the smallest size taken. How items are put together
    moves the last bits of their features: without such a lack of memory the bytes follow from the arguments, the
    library and the device alone; with one, also from the batch at which the memory ran out.

    Args:
        encoder: of images or of texts; tells what is encoded.
        tables: split → pairs table.
        out: the feature folder, written in one step at the end; replaced if it exists.
        scratch: folder for unfinished work, best on the file system of ``out``. Work of another configuration that was
            meant for a folder of the same name is deleted.
        batch_size: items a forward pass, at most.
        dtype: of the stored features.
        captions_per_pair: split → how many captions of a pair to encode, the first ones; all of splits not named.
        negatives_per_pair: split → how many negatives of a pair to encode; all of splits not named. Hard ones come
            first, and which kind is taken rotates from pair to pair, so that all kinds occur.
        progress: wraps the batches, see `jam.progress`.
        world: the processes that share the batches, on one file system; each fills its own rows of the same files.

    Raises:
        InputError: a bad table, a pair without an image or without a caption, a NaN or infinity from the encoder, or a
            full disk.
        ValueError: a bad batch size or dtype.
    """
    if batch_size < 1 or dtype not in ("float32", "float16"):
        raise ValueError(f"got batch_size {batch_size}, dtype {dtype!r}; expected at least 1, float32 or float16")
    out, scratch = Path(out), Path(scratch)
    paths = {split: Path(path) for split, path in tables.items()}
    items: _Images | _Texts
    if encoder.modality == "vision":
        items = _Images(paths)
    else:
        items = _Texts(paths, captions_per_pair or {}, negatives_per_pair or {})
    manifest: dict[str, Any] = {
        "encoder": encoder.describe(),
        "tables": {split: file_sha256(path) for split, path in paths.items()},
        "captions_per_pair": dict(captions_per_pair or {}),
        "negatives_per_pair": dict(negatives_per_pair or {}),
        "batch_size": batch_size,
        "dtype": dtype,
        "rows": len(items.index),
        "dims": list(encoder.dims),
    }
    work = scratch / out.name / _key(manifest, encoder)
    try:
        if world.first:
            _remove_others(work)
            work.mkdir(parents=True, exist_ok=True)
            for i, d in enumerate(encoder.dims):
                _reserve(work / layer_name(i), (len(items.index), d), dtype)
        world.meet("room is reserved")
        layers = [np.lib.format.open_memmap(work / layer_name(i), mode="r+") for i in range(len(encoder.dims))]
        _fill(encoder, items, batch_size, layers, work, progress, world)
        for layer in layers:
            layer.flush()
        world.meet("all rows are there")
        if world.first:
            used = _fitting(work, batch_size)
            if used < batch_size:
                manifest["batch_size_used"] = used
            manifest["truncated"] = items.truncated(encoder)
            with atomic_folder(out) as part:
                for i in range(len(layers)):
                    _link(work / layer_name(i), part / layer_name(i))
                pq.write_table(items.index, part / INDEX, compression="zstd")
                write_json(part / MANIFEST, manifest)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = sum(len(items.index) * d * np.dtype(dtype).itemsize for d in encoder.dims)
        raise InputError(
            f"{work}: the disk is full; expected room for {needed / 1e6:.1f} MB of features of {out.name} "
            "(finished batches are kept there: free some space and run again)"
        ) from error
    if world.first:
        shutil.rmtree(work)
    world.meet("features are in place")
    return FeatureStore.load(out)


class _Images:
    """The images of the tables, one a row, read one row group at a time."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        lines: list[tuple[Any, ...]] = []
        self._groups: list[tuple[pq.ParquetFile, int]] = []
        self._starts: list[int] = []
        for split, path in paths.items():
            ids = read_pairs(path, ["id"]).column("id").to_pylist()
            file = pq.ParquetFile(path)
            start = len(lines)
            for group in range(file.num_row_groups):
                self._groups.append((file, group))
                self._starts.append(start)
                start += file.metadata.row_group(group).num_rows
            lines += [(row_id, split, "image", 0, "", "", -1) for row_id in ids]
        self.index = _index(lines)
        self._loaded = -1

    def plan(self, encoder: Encoder, batch_size: int) -> list[np.ndarray]:
        """Items of each batch: consecutive ones."""
        return encoder.batches(range(len(self.index)), batch_size)  # type: ignore[arg-type]

    def rows_of(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows to write, and for each the position in the batch of the item that goes there."""
        return batch, np.arange(len(batch))

    def __getitem__(self, item: int) -> Image.Image:
        group = int(np.searchsorted(self._starts, item, side="right")) - 1
        if group != self._loaded:
            file, number = self._groups[group]
            self._column = file.read_row_group(number, columns=["image"]).column("image")
            self._loaded = group
        cell = self._column[item - self._starts[group]].as_py()
        where = f"pair {self.index.column('id')[item].as_py()!r}"
        if cell is None or cell["bytes"] is None:
            raise InputError(f"{where}: got no image, expected one for a vision encoder")
        try:
            return decode_image(cell["bytes"])
        except InputError as error:
            raise InputError(f"{where}: {error}") from error

    def truncated(self, encoder: Encoder) -> int:
        """Images are never cut."""
        return 0


class _Texts:
    """The captions and negatives of the tables; equal texts are one item."""

    def __init__(self, paths: Mapping[str, Path], captions: Mapping[str, int], negatives: Mapping[str, int]) -> None:
        lines: list[tuple[Any, ...]] = []
        texts: list[str] = []
        for split, path in paths.items():
            table = read_pairs(path, ["id", "captions", "negatives"]).to_pylist()
            for pair, row in enumerate(table):
                if not row["captions"]:
                    raise InputError(f"{path}: {row['id']}: got no caption, expected at least one")
                for k, text in enumerate(row["captions"][: captions.get(split)]):
                    lines.append((row["id"], split, "caption", k, "", "", -1))
                    texts.append(text)
                listed = row["negatives"] or []
                for k in choose_negatives(listed, pair, negatives.get(split)):
                    negative = listed[k]
                    tags = negative["kind"], negative["tier"], negative["of"]
                    lines.append((row["id"], split, "negative", k, *tags))
                    texts.append(negative["text"])
        self.index = _index(lines)
        numbers: dict[str, int] = {}
        item_of_row = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
        self._texts = list(numbers)
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


def choose_negatives(negatives: Sequence[Mapping[str, Any]], pair: int, limit: int | None) -> list[int]:
    """Numbers of the negatives to keep for a pair, in increasing order; all of them when ``limit`` is None.

    Hard negatives come before the others. Among equals the start rotates with the number of the pair, so that over the
    pairs every kind is taken about equally often.
    """
    if limit is None or len(negatives) <= limit:
        return list(range(len(negatives)))
    hard = [k for k, negative in enumerate(negatives) if negative["tier"] == "hard"]
    rest = [k for k, negative in enumerate(negatives) if negative["tier"] != "hard"]
    chosen: list[int] = []
    for group in (hard, rest):
        start = pair * limit % max(1, len(group))
        chosen += (group[start:] + group[:start])[: limit - len(chosen)]
    return sorted(chosen)


def _index(lines: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*lines, strict=True)) if lines else [()] * (len(_INDEX_SCHEMA) - 1)
    arrays = [list(range(len(lines))), *map(list, columns)]
    return pa.Table.from_arrays(
        [pa.array(a, f.type) for a, f in zip(arrays, _INDEX_SCHEMA, strict=True)], schema=_INDEX_SCHEMA
    )


def _key(manifest: Mapping[str, Any], encoder: Encoder) -> str:
    """Name of the scratch folder: a hash of all that decides the bytes, down to the library and the kind of device."""
    device = encoder.model.device.type
    content = json.dumps([FORMAT, manifest, torch.__version__, device], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _remove_others(work: Path) -> None:
    """Delete unfinished work of other configurations for the same feature folder."""
    for other in work.parent.glob("*"):
        if other != work:
            shutil.rmtree(other)


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
    items: _Images | _Texts,
    batch_size: int,
    layers: Sequence[np.memmap],
    work: Path,
    progress: Progress,
    world: World,
) -> None:
    """Encode batch after batch into ``layers``, passing over those that a journal lists with the right checksum.

    Of several processes each takes every so-manieth batch and keeps a journal of its own; any number of them may take
    up the work of any other number. How many items fitted into memory together is kept too.
    """
    size = _fitting(work, batch_size)
    plan = items.plan(encoder, batch_size)
    finished = _read_journals(work)
    todo = []
    for number in world.share(range(len(plan))):
        rows, _ = items.rows_of(plan[number])
        if number not in finished or finished[number] != _checksum([layer[rows] for layer in layers]):
            todo.append(number)
    batches = _ahead(lambda number: encoder.prepare([items[i] for i in plan[number]]), todo)
    with (work / f"journal-{world.rank}").open("a") as journal:
        for number, inputs in zip(todo, progress(batches, len(todo), "features"), strict=True):
            rows, position = items.rows_of(plan[number])
            pooled, fitting = _in_parts(encoder, inputs, size)
            if fitting < size:
                size = fitting
                write_json(work / f"batch_size-{world.rank}.json", {"used": size})
            states = _split(pooled, layers[0].dtype)
            blocks = [state[position] for state in states]
            _check_finite(blocks, items.index, rows)
            for layer, block in zip(layers, blocks, strict=True):
                layer[rows] = block
            if number % RELEASE == 0:
                release(*layers)
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
        starts = range(0, items, size)
        try:
            parts = [
                encoder.pooled_states({name: value[start : start + size] for name, value in inputs.items()})
                for start in starts
            ]
            return [torch.cat(layer) for layer in zip(*parts, strict=True)] if len(parts) > 1 else parts[0], size
        except RuntimeError as error:
            if not _out_of_memory(error):
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


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has a class for it; MPS and the CPU only say so."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "can't allocate memory" in said


def _ahead(prepare: Any, numbers: Sequence[int]) -> Iterator[dict[str, Tensor]]:
    """Prepare each batch in a second thread while the one before is encoded."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: Future[dict[str, Tensor]] | None = None
        for number in numbers:
            following = pool.submit(prepare, number)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _split(states: Sequence[Tensor], dtype: np.dtype) -> list[np.ndarray]:
    """All layers on the CPU in the stored type, by one transfer."""
    joined = torch.cat(list(states), dim=1).to(getattr(torch, dtype.name)).cpu().numpy()
    return np.split(joined, np.cumsum([state.shape[1] for state in states])[:-1], axis=1)


def _check_finite(blocks: Sequence[np.ndarray], index: pa.Table, rows: np.ndarray) -> None:
    for layer, block in enumerate(blocks):
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            line = index.slice(int(rows[int(finite.argmin())]), 1).to_pylist()[0]
            what = line["role"] if line["role"] == "image" else f"{line['role']} {line['k']}"
            raise InputError(
                f"pair {line['id']!r}, {what}: layer {layer} got a NaN or infinity in {block.dtype}, expected finite "
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
    """Batch number → checksum; a torn line is passed over, or fails its checksum later."""
    lines = [line.split() for path in sorted(work.glob("journal-*")) for line in path.read_text().splitlines()]
    return {int(pair[0]): int(pair[1]) for pair in lines if len(pair) == 2}


def _link(source: Path, target: Path) -> None:
    """Give a finished file a second name, or copy it where the file system is another."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        shutil.copyfile(source, target)
