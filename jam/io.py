"""Writing files so that a reader never sees half of one.

Everything is written beside its destination and moved into place in one step, so a crash, a kill or a full disk
leaves the old file or none, never a torn one.
"""

import glob
import hashlib
import json
import math
import mmap
import os
import platform
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jam.errors import InputError


def part_of(path: Path) -> Path:
    """A name beside ``path`` for what this process writes; what killed processes of this host left there is removed."""
    mine = f".{path.name}.part-{platform.node()}-"
    for left in path.parent.glob(f"{glob.escape(mine)}*"):
        number = left.name.removeprefix(mine)
        if number.isdecimal() and not _runs(int(number)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    return path.with_name(f"{mine}{os.getpid()}")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; move it to ``path`` on success, delete it on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        yield part
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a new temporary folder beside ``path``; on success it takes the place of ``path``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def replaceable(path: str | Path, mark: str, keys: Collection[str] = ()) -> Path:
    """The folder that a save may write, resolved: one that is absent, empty, or ours.

    Args:
        path: as the caller gave it; a link to a folder stands for that folder.
        mark: name of a JSON file that every folder of this kind holds.
        keys: keys of that file that tell it from those of others.

    Raises:
        InputError: the working folder or one above it, a file, a folder that holds something else, or no place at all.
    """
    try:
        folder = Path(path).resolve()
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.with_name(
            f".{folder.name}.part-{platform.node()}-{os.getpid()}"
        ).exists()  # the longest name that is needed
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{str(path)[:100]}: cannot be a folder ({reason}), expected the path of one") from error
    if Path.cwd().resolve().is_relative_to(folder):
        raise InputError(f"got the folder {str(path)!r}, which holds the working folder; expected one of its own")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{path}: got a file, expected a folder")
    if folder.is_dir() and any(folder.iterdir()):
        try:
            ours = set(keys) <= set(read_json(folder / mark))
        except (OSError, ValueError, TypeError):
            ours = False
        if not ours:
            raise InputError(f"{path}: got a folder of other things, expected a new or empty one, or one with {mark}")
    return folder


@contextmanager
def replace_folder(path: str | Path, mark: str, keys: Collection[str] = ()) -> Iterator[Path]:
    """`atomic_folder` for paths that users give: no file is lost that is not written anew.

    Args:
        path: see `replaceable`.
        mark: see `replaceable`.
        keys: see `replaceable`.

    Raises:
        InputError: as `replaceable`; or the folder holds a file that the new one does not. It is left as it was.
    """
    folder = replaceable(path, mark, keys)
    with atomic_folder(folder) as part:
        yield part
        for old in sorted(folder.rglob("*")):
            name = old.relative_to(folder)
            if (old.is_symlink() or not old.is_dir()) and not (part / name).exists():
                raise InputError(
                    f"{path}: holds {name}, which would be lost; expected it moved away, or another folder"
                )


def _finite(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if hasattr(value, "item"):  # numpy and torch scalars
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: got {value}, expected a finite number")
    return value


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys; a NaN or infinity in it is an error, never a silent ``NaN`` token."""
    text = json.dumps(_finite(content, Path(path).name), indent=2, sort_keys=True, ensure_ascii=False)
    with atomic_path(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read one JSON object."""
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a tidy table, floats with 6 significant digits (enough for any metric here, and diffable), counts whole."""

    def short(value: float) -> str:
        return f"{value:.0f}" if abs(value) >= 1e6 and value == round(value) else f"{value:.6g}"

    with atomic_path(path) as part:
        table.to_csv(part, index=False, float_format=short, lineterminator="\n")


def write_parquet(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table for another stage to read: every digit, equal bytes for equal tables."""
    with atomic_path(path) as part:
        table.to_parquet(part, index=False, compression="zstd")


def read_array(path: Path, dimensions: int) -> np.ndarray:
    """An array of a .npy file, mapped and not read; of a .npz file the only one in it.

    Raises:
        InputError: no such file, another format, pickled objects, or another number of dimensions.
    """
    try:
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            if len(found.files) != 1:
                raise InputError(f"{path}: got the arrays {found.files}, expected one")
            found = found[found.files[0]]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected an array in .npy") from None
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected an array in .npy without pickled objects, got: {error}") from None
    if found.ndim != dimensions:
        wanted = "(rows, dimensions)" if dimensions == 2 else "(rows,)"
        raise InputError(f"{path}: got shape {found.shape}, expected {wanted}")
    return np.asarray(found)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def release(*arrays: np.ndarray) -> None:
    """Give back the resident pages of memory maps: what was read or written stays with the system, not the process.

    Random reads of a table larger than memory would else keep every page that they touched. Arrays that are no memory
    maps are left alone.
    """
    for array in arrays:
        if isinstance(array, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
