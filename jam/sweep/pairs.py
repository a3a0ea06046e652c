"""The grid of encoder pairs by number of training pairs and method, in closed form; and raw alignment beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from jam.metrics._rows import full_precision
from jam.metrics.kernels import calibrate
from jam.metrics.kernels.engine import score_pairs
from jam.metrics.kernels.nulls import draw_orders
from jam.parallel import in_processes
from jam.sweep.closed import SETTINGS, Answers, Principal, Rows, align
from jam.sweep.members import Member, couples

GRAM = ("mutual_knn", "unbiased_cka", "cknna")
SPECTRAL = ("svcca", "cca")
FEW = 20  # permutations of metrics that take a decomposition for each

Booleans = npt.NDArray[np.bool_]
Seen = tuple[Member, Rows]
"""A representation and its features of the items of all."""


@dataclass(frozen=True)
class Grid:
    """Scores of all cells.

    Attributes:
        cells: a line each: x, x_seed, x_checkpoint, y, …, couple (see `couples`; ``shuffled``: pairs broken), method,
            pairs, own, true, validation.
        own: (cells, 2, t) whether the nearest is the item's own, x to y and y to x.
        true: (cells, 2, t) whether it is true of it.
    """

    cells: pd.DataFrame
    own: Booleans
    true: Booleans

    def rows(self, **where: Any) -> npt.NDArray[np.int64]:
        """Places of the cells whose columns have these values."""
        here = np.ones(len(self.cells), np.bool_)
        for name, value in where.items():
            here &= (self.cells[name] == value).to_numpy()
        return np.flatnonzero(here)


def run_grid(xs: Sequence[Seen], ys: Sequence[Seen], answers: Answers, ns: Sequence[int], workers: int) -> Grid:
    """Every couple at each number of pairs: trained ones with every method, and controls at the last number.

    Stages of training meet CCA at the last number alone. There, pairs of trained couples are broken too, of first
    seeds: a known answer.
    """
    parts = sorted(
        in_processes(_of_n, ((n, n == max(ns), xs, ys, answers) for n in ns), workers), key=lambda part: part[0]
    )
    own, true = (np.concatenate([part[place] for part in parts]) for place in (2, 3))
    return Grid(pd.DataFrame([line for part in parts for line in part[1]]), own, true)


def _of_n(
    n: int, last: bool, xs: Sequence[Seen], ys: Sequence[Seen], answers: Answers
) -> tuple[int, list[dict[str, Any]], Booleans, Booleans]:
    left, right = ([Principal.of(rows, n) for _, rows in side] for side in (xs, ys))
    shuffled = np.random.default_rng(n).permutation(n)
    lines, own, true = [], list[Booleans](), list[Booleans]()
    for i, j, couple in couples([x for x, _ in xs], [y for y, _ in ys]):
        x, y = xs[i][0], ys[j][0]
        if couple == "stage" and not last:
            continue
        every = couple == "trained" or (couple == "control" and last)
        for method in SETTINGS if every else ("cca",):
            orders: list[Any] = [None]
            if last and couple == "trained" and x.first and y.first:
                orders.append(shuffled)
            for order in orders:
                cell = align(method, left[i], right[j], answers, order)
                own.append(cell.own)
                true.append(cell.true)
                lines.append(
                    {
                        **name_of(x, y), "couple": couple if order is None else "shuffled", "method": method,
                        "pairs": n, "own": cell.own.mean(), "true": cell.true.mean(), "validation": cell.validation,
                    }
                )  # fmt: skip
    return n, lines, np.array(own), np.array(true)


def name_of(x: Member, y: Member) -> dict[str, Any]:
    """Columns that tell a couple from all others."""
    return {
        "x": x.name, "x_layer": x.number, "x_seed": x.seed, "x_checkpoint": x.checkpoint,
        "y": y.name, "y_layer": y.number, "y_seed": y.seed, "y_checkpoint": y.checkpoint,
    }  # fmt: skip


def raw_alignment(
    xs: Sequence[Seen], ys: Sequence[Seen], k: int, permutations: int, seed: int, workers: int
) -> pd.DataFrame:
    """Kernel alignment of every couple on validation rows, before any pair is learned from.

    Returns:
        A line a couple and metric: the columns of `name_of`, metric, value, calibrated. Stages of training and
        controls have the Gram metrics alone.
    """
    calls: list[Any] = [(0, xs, ys, GRAM, k, permutations, seed)]
    trained = [[one for one in side if one[0].trained] for side in (xs, ys)]
    calls.append((1, *trained, SPECTRAL, k, min(FEW, permutations), seed))
    parts = sorted(in_processes(_raw, calls, workers), key=lambda part: part[0])
    return pd.DataFrame([line for _, lines in parts for line in lines])


def _raw(
    place: int, xs: Sequence[Seen], ys: Sequence[Seen], metrics: Sequence[str], k: int, permutations: int, seed: int
) -> tuple[int, list[dict[str, Any]]]:
    if not xs or not ys:
        return place, []
    left, right = ([torch.as_tensor(np.asarray(rows.val, dtype=np.float32)) for _, rows in side] for side in (xs, ys))
    names, n = [one.name for one, _ in (*xs, *ys)], len(xs[0][1].val)
    with full_precision(torch.device("cpu")):
        orders = draw_orders(n, permutations, seed, None)
        observed, null = score_pairs(left, right, names, metrics, k, None, normalize=False, orders=orders)
    lines = []
    for metric in metrics:
        for i, j in np.ndindex(len(xs), len(ys)):
            value, chance = float(observed[metric][0, i, j]), null[metric][:, i, j].numpy()
            calibrated, threshold = calibrate(value, chance)
            told = {"metric": metric, "value": value, "calibrated": calibrated, "null": threshold, "n": n}
            lines.append({**name_of(xs[i][0], ys[j][0]), **told})
    return place, lines
