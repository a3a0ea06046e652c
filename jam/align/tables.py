"""Tables of frozen features that may be larger than memory: reading rows, pooling and drawing among them."""

import warnings
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from jam.align.blocks import Standardise, upcast
from jam.io import release

Pooling = Literal["sample", "mean", "max"]


def as_tensor(table: np.ndarray) -> Tensor:
    """A tensor over the array's own memory, which nothing here writes to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(table))


class Mapped:
    """A memory map that shall not become resident: rows are read some at a time, and pages given back in between.

    A read of one row maps as much as a huge page around it, so that a batch of random rows may hold gigabytes.
    """

    HUGE, BUDGET = 2**21, 2**29  # bytes that one row may map, and that all may at any moment

    def __init__(self, table: np.memmap) -> None:
        self._map, self._table = table, as_tensor(table)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """As of a tensor: rows (m,) → (m, d); ``dim`` is 0."""
        found = torch.empty(len(rows), self._table.shape[1], dtype=self._table.dtype)
        for part, out in zip(*(each.split(self.BUDGET // self.HUGE) for each in (rows, found)), strict=True):
            torch.index_select(self._table, dim, part, out=out)
            release(self._map)
        return found


Table = Tensor | Mapped


def on_device(table: np.ndarray, device: torch.device) -> Table:
    """The whole table on an accelerator; on the CPU the memory map itself, without a copy."""
    if device.type != "cpu":
        return as_tensor(table).to(device)
    return Mapped(table) if isinstance(table, np.memmap) and table.nbytes > Mapped.BUDGET else as_tensor(table)


def standardised(table: Table, standardise: Standardise, batch_size: int) -> Tensor | None:
    """All rows as inputs of a tower, where two tables have room in memory: made once instead of at every step.

    A batch at a time, as the steps would: products of the same shapes have the same last bits.
    """
    if isinstance(table, Mapped) or table.nbytes > Mapped.BUDGET:
        return None
    with torch.no_grad():
        return torch.cat([standardise(rows) for rows in table.split(batch_size)])


def pool_rows(table: Table, rows: Tensor, pooling: Literal["mean", "max"]) -> Tensor:
    """Pool groups of rows of ``table`` (r, d): rows (n, K) with −1 for "none" → (n, d), in fp32 or better.

    A group's missing members are left out of the mean and of the maximum.
    """
    present = (rows >= 0).unsqueeze(-1)
    gathered = upcast(table.index_select(0, rows.clamp(min=0).flatten())).view(*rows.shape, -1)
    if pooling == "max":
        return gathered.masked_fill(~present, -torch.inf).amax(dim=1)
    return (gathered * present).sum(dim=1) / present.sum(dim=1)


def draw(rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One member of each group, uniformly: (n, K) with −1 for "none" → (n,)."""
    counts = (rows >= 0).sum(axis=1)
    return np.take_along_axis(rows, generator.integers(0, counts)[:, None], axis=1)[:, 0]
