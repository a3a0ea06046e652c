"""Many blobs in one temporary file, so that a set larger than the memory can be checked before it is written."""

import tempfile
from pathlib import Path

Blob = tuple[int, int]
"""Where a blob starts, and its size."""


class Spill:
    """A temporary file without a name: its space is free again when the object, or the process, is gone."""

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
