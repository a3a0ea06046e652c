"""What is the same: items of one thing, views of one wording; so that no right answer is taken for a wrong one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from torch.nn import functional

from jam.errors import InputError
from jam.io import release
from jam.metrics._rows import cosine_resolution

BLOCK = 8192  # rows read at a time: a table may be larger than memory
PROJECTIONS = 8
SAMPLE = 4096  # rows of a table from which the usual deviation is taken
SMALLEST, LARGEST = 1e-37, 1e37  # of the largest numbers of most rows
ROUNDING = 1e-4  # of the rows' deviation: what batches of another make-up change in an encoder's output, with a margin
WINDOW = 3  # a stranger or two may fall between two equals


def equal_rows(tables: Mapping[str, np.ndarray]) -> np.ndarray:
    """Numbers from 0 of the rows of all tables (n_i, d), one after the other; rows equal to within rounding have one.

    Each is compared with its neighbours along one random direction, in a few such, which keep distances. What rounding
    is follows from medians: neither an odd row (-9999 for "missing") nor a column of large numbers makes others equal.

    Raises:
        InputError: a row that holds NaN or infinity, or numbers whose squares are, named; or a table whose numbers are
            too small or too large for single precision.
    """
    d = next(iter(tables.values())).shape[1]
    directions = torch.as_tensor(np.random.default_rng(0).normal(size=(d, PROJECTIONS)) / PROJECTIONS**0.5)
    some = np.concatenate([_sample(name, table) for name, table in tables.items()])
    with np.errstate(over="ignore", invalid="ignore"):  # rows that are not finite are named below
        centre = np.nanmedian(some, axis=0)
        deviation = np.nanmedian(np.abs(some - centre), axis=0)
        spread = np.where(deviation > 0, deviation, some.std(axis=0))  # of most rows equal in a column
    spread = np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)
    directions /= torch.as_tensor(spread)[:, None]
    parts = []
    for name, table in tables.items():
        for start in range(0, len(table), BLOCK):
            rows = torch.as_tensor(np.array(table[start : start + BLOCK])).double()
            part = (rows - torch.as_tensor(centre)) @ directions
            bad = ~part.square().sum(dim=1).isfinite()
            if bad.any():
                raise InputError(f"{name}: row {start + int(bad.nonzero()[0])} holds NaN, infinity or a number near it")
            parts.append(part.numpy())
            release(table)
    projected = np.concatenate(parts)
    order = np.argsort(projected[:, 0])
    pairs = np.concatenate([np.stack([order[:-step], order[step:]]) for step in range(1, WINDOW + 1)], axis=1)
    gaps = np.linalg.norm(projected[pairs[0]] - projected[pairs[1]], axis=1)
    usual = np.median(np.linalg.norm(projected - np.median(projected, axis=0), axis=1))
    i, j = pairs[:, gaps <= ROUNDING * usual]
    graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(order), len(order)))
    return pd.factorize(connected_components(graph, directed=False)[1])[0]


def _sample(name: str, table: np.ndarray) -> np.ndarray:
    some = np.array(table[:: 1 + len(table) // SAMPLE], np.float64)
    size = np.nanmedian(np.abs(some).max(axis=1))  # of most rows: a single one is named by its number
    if size > 0 and not SMALLEST <= size <= LARGEST:
        raise InputError(
            f"{name}: got rows whose largest numbers are {size:.1g}, expected {SMALLEST:g} to {LARGEST:g} (training is "
            "in single precision: multiply all rows by one number)"
        )
    return some


@dataclass(frozen=True)
class Truth:
    """Which views are true of which items: those of a wording that is told of the item's thing anywhere in the set.

    Attributes:
        things: (n,) numbers from 0; items of one thing have one.
        wordings: by side (rows of its table,) numbers from 0; equal rows have one.
        told: by side (things, wordings) booleans, sparse.
    """

    things: np.ndarray
    wordings: Mapping[str, np.ndarray]
    told: Mapping[str, csr_array]

    @classmethod
    def of(cls, things: np.ndarray, wordings: Mapping[str, np.ndarray], views: Mapping[str, np.ndarray]) -> "Truth":
        """From the true views (n, K) of each item on each side, −1 where it has fewer than K."""
        told = {}
        for name, rows in views.items():
            item, _ = present = np.nonzero(rows >= 0)
            where = things[item], wordings[name][rows[present]]
            shape = things.max() + 1, wordings[name].max() + 1
            told[name] = csr_array((np.ones(len(item), bool), where), shape=shape)
        return cls(things, wordings, told)

    def true(self, items: np.ndarray, side: str, rows: np.ndarray) -> np.ndarray:
        """Whether each of some rows (m,) of a side is true of each of some items (b,), (b, m) booleans."""
        found: np.ndarray = self.told[side][self.things[items]][:, self.wordings[side][rows]].toarray()
        return found.astype(bool)

    def recall_at_1(
        self, a: np.ndarray, items: np.ndarray, p: np.ndarray, side: str, rows: np.ndarray
    ) -> tuple[float, float]:
        """R@1 both ways where several answers may be right: the best right one is nearer than all wrong ones.

        Args:
            a: (n, d) latents of views.
            items: (n,) the items that they show.
            p: (m, d) latents of views of the side named.
            side: the other side.
            rows: (m,) their rows there.
        """
        x, y = (functional.normalize(torch.as_tensor(each).double(), dim=1) for each in (a, p))
        tie = 2 * cosine_resolution(x.shape[1], torch.float64)
        best = torch.full((2, len(y)), -torch.inf, dtype=torch.float64)  # of the right and the wrong ones for each row
        hits = 0
        for part in torch.arange(len(x)).split(max(1, 2**22 // len(y))):
            cosines, right = x[part] @ y.T, torch.as_tensor(self.true(items[part.numpy()], side, rows))
            split = torch.stack([cosines.masked_fill(~right, -torch.inf), cosines.masked_fill(right, -torch.inf)])
            own, other = split.amax(dim=2)
            hits += int((own > other + tie).sum())
            best = torch.maximum(best, split.amax(dim=1))
        return hits / len(x), float((best[0] > best[1] + tie).double().mean())
