"""Representations of one side under their names, each distinct one scored once."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jam.reference.gains import Floats, alignments

Rows = tuple[np.ndarray, np.ndarray]
"""Of validation and of test items, (v, d) and (n, d)."""
CHUNK = 12  # representations that are scored together, so that what a reference needs is made once


class Distinct:
    """Representations by number; equal ones, as of spaces with the same whitening, have the same."""

    def __init__(self) -> None:
        self.rows: list[Rows] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, rows: Rows) -> int:
        """The number of a representation."""
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in rows)).digest()
        number = self._numbers.setdefault(digest, len(self.rows))
        if number == len(self.rows):
            self.rows.append(rows)
        return number

    def chunks(self) -> list[list[Rows]]:
        """All of them, some at a time."""
        return [self.rows[start : start + CHUNK] for start in range(0, len(self.rows), CHUNK)]


def scored(
    some: Sequence[Rows], references: Sequence[Rows], metrics: Sequence[str], k: int, fold: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """`alignments` of validation rows, and of test rows with those without each fold of them."""
    (xs_val, xs_test), (refs_val, refs_test) = (zip(*of, strict=True) for of in (some, references))
    val = alignments(xs_val, refs_val, metrics, k)
    return val, alignments(xs_test, refs_test, metrics, k, fold)
