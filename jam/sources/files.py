"""Where the bytes of images lie: a folder that metadata names, what its links may lead to, and a temporary file."""

import os
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jam.sources.rows import RowError, quote

Blob = tuple[int, int]
"""Where a blob starts in a `Spill`, and its size."""


@dataclass(frozen=True)
class ImageFolder:
    """Images by name.

    Attributes:
        root: the folder.
        links: folders that links in it may lead to, such as the cache of a hub's snapshots or of DVC; ``~`` is home.
        parameter: what messages call ``links``.
    """

    root: Path
    links: Sequence[str]
    parameter: str

    def read(self, name: str) -> bytes:
        """Content of the file at a path relative to the folder.

        Raises:
            RowError: no such file, no file that can be read, or one outside of the folder and of ``links``.
        """
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise RowError("path outside the folder", f"{quote(name)} leads out of {self.root}, expected a path inside")
        try:
            file = (self.root / path).resolve()
            if not any(file.is_relative_to(folder) for folder in self._allowed):
                raise RowError(
                    "path outside the folder",
                    f"{quote(name)} leads out of {self.root}, expected a file inside, or {file.parent} or a folder "
                    f"above it among {self.parameter}",
                )
            if file.is_dir():
                raise RowError("missing file", f"{quote(name)} is a folder, expected an image file")
            if not file.is_file():
                raise RowError("missing file", f"{quote(name)}: no such file in {self.root}{self._hint(name)}")
            return file.read_bytes()
        except (OSError, RuntimeError, ValueError) as error:  # no permission, name too long; loop of links; NUL in name
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise RowError("missing file", f"{quote(name)}: {reason}, expected a readable file") from error

    @cached_property
    def _allowed(self) -> list[Path]:
        return [self.root.resolve(), *(Path(folder).expanduser().resolve() for folder in self.links)]

    @cached_property
    def _names(self) -> dict[str, str]:
        """The names of all files by what is left of them without case, kind of slash and form of accents."""
        paths = (Path(folder, file) for folder, _, files in os.walk(self.root) for file in files)
        names = (path.relative_to(self.root).as_posix() for path in paths)
        return {_plain(name): name for name in names}

    def _hint(self, name: str) -> str:
        found = self._names.get(_plain(name))
        if found is None:
            return ""
        same = unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", name)
        return f"; did you mean {quote(found)}{', whose accents are in the other Unicode form' if same else ''}?"


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").casefold())


class Spill:
    """Many blobs in one temporary file, so that a set larger than the memory can be checked before it is written.

    The file has no name: its space is free again when the object, or the process, is gone.
    """

    def __init__(self, folder: str | Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as the object lives

    def add(self, data: bytes) -> Blob:
        """Write a blob at the end."""
        start = self._file.seek(0, 2)
        self._file.write(data)
        return start, len(data)

    def read(self, blob: Blob) -> bytes:
        """The bytes of a blob."""
        start, size = blob
        self._file.seek(start)
        return self._file.read(size)
