"""From the grid of encoder pairs to rows of results: curves, differences of methods, how many pairs it takes."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from jam.metrics.intervals import bootstrap_mean
from jam.metrics.law import crossing, interval_of, pairs_to
from jam.sweep.closed import SETTINGS
from jam.sweep.members import Member
from jam.sweep.pairs import Grid

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]

SHARE = 0.9  # of the ceiling
OVER_BOTH = "bootstrap over encoders and items"
OVER_ITEMS = "bootstrap over items"
SCORES = {"true": "true_recall", "own": "recall"}


class Trained:
    """The couples of which both are trained, as arrays.

    Attributes:
        xs, ys: the members.
        ns: numbers of pairs.
        rows: (r,) names of the encoders of x; equal of seeds of one.
        columns: (c,) likewise.
    """

    def __init__(self, grid: Grid, xs: Sequence[Member], ys: Sequence[Member], resamples: int, seed: int) -> None:
        self.grid = grid
        self.xs, self.ys = ([one for one in side if one.trained] for side in (xs, ys))
        self.rows, self.columns = ([one.name for one in side] for side in (self.xs, self.ys))
        self.ns = sorted(int(n) for n in grid.cells["pairs"].unique())
        rng = np.random.default_rng(seed)
        items = grid.true.shape[2]
        self._items = rng.multinomial(items, np.full(items, 1 / items), size=resamples).T.astype(np.float32) / items
        self._sides = [_weights(names, resamples, rng) for names in (self.rows, self.columns)]

    @property
    def shape(self) -> tuple[int, int]:
        """Encoders of x and of y."""
        return len(self.xs), len(self.ys)

    def hits(self, score: str, method: str, n: int) -> Floats:
        """(r, c, items): the mean of both ways."""
        at = self.grid.rows(couple="trained", method=method, pairs=n)
        found: Floats = getattr(self.grid, score)[at].mean(axis=1, dtype=np.float32).reshape(*self.shape, -1)
        return found

    def cells(self, score: str, method: str) -> Floats:
        """(r, c, ns): means over items."""
        return np.stack([self.hits(score, method, n).mean(axis=2) for n in self.ns], axis=2).astype(np.float64)

    def drawn_cells(self, score: str, method: str) -> Floats:
        """(resamples, r, c, ns): means over items that are drawn with replacement, the same of all."""
        drawn = [self.hits(score, method, n) @ self._items for n in self.ns]
        return np.moveaxis(np.stack(drawn, axis=2), 3, 0).astype(np.float64)

    def over_encoders(self, drawn: Floats) -> Floats:
        """(resamples, …): of (resamples, r, c, …) means over encoders drawn with replacement, seeds together."""
        a, b = self._sides
        found: Floats = np.einsum("sr,sc,src...->s...", a, b, drawn, optimize=True)
        return found


def _weights(names: Sequence[str], resamples: int, rng: np.random.Generator) -> Floats:
    """(resamples, members): how much each counts when encoders are drawn with replacement."""
    kinds, of = np.unique(names, return_inverse=True)
    drawn = rng.multinomial(len(kinds), np.full(len(kinds), 1 / len(kinds)), size=resamples).astype(np.float64)
    weights = drawn[:, of]
    found: Floats = weights / weights.sum(axis=1, keepdims=True)
    return found


def curve_rows(of: Trained) -> Iterator[Row]:
    """Means over all trained couples by method and number of pairs; paired differences of methods; where they cross."""
    shared: Row = {"split": "test", "direction": "both", "k": 1, "n": of.shape[0] * of.shape[1], "interval": OVER_BOTH}
    drawn = {}
    for score, metric in SCORES.items():
        for method in SETTINGS:
            means, draws = of.cells(score, method).mean(axis=(0, 1)), of.over_encoders(of.drawn_cells(score, method))
            drawn[score, method] = means, draws
            for place, n in enumerate(of.ns):
                low, high = interval_of(draws[:, place])
                yield {**shared, "condition": "mean", "method": method, "pairs": n, "metric": metric,
                       "value": means[place], "low": low, "high": high}  # fmt: skip
    for a, b in combinations(SETTINGS, 2):
        (means, draws), (others, their) = drawn["true", a], drawn["true", b]
        gap, gaps = means - others, draws - their
        told = {**shared, "method": a, "against": b}
        for place, n in enumerate(of.ns):
            low, high = interval_of(gaps[:, place])
            yield {**told, "condition": "difference", "pairs": n, "metric": SCORES["true"], "value": gap[place],
                   "low": low, "high": high}  # fmt: skip
        if np.isfinite(at := float(crossing(of.ns, gap))):
            low, high = interval_of(crossing(of.ns, gaps))
            yield {**told, "condition": "crossing", "metric": "pairs_crossing", "value": at, "low": low, "high": high,
                   "direction": None, "k": None}  # fmt: skip


def needed_rows(of: Trained) -> Iterator[Row]:
    """How many pairs each couple needs to reach 90 % of what it has with the most, and the mean of log over couples."""
    for method in SETTINGS:
        cells, draws = of.cells("true", method), of.drawn_cells("true", method)
        found = pairs_to(SHARE, of.ns, cells, cells[..., -1])
        drawn = pairs_to(SHARE, of.ns, draws, draws[..., -1])
        low, high = interval_of(np.exp(of.over_encoders(np.log(drawn))))
        shared: Row = {"split": "test", "metric": "pairs_needed", "method": method, "pairs": of.ns[-1]}
        yield {**shared, "condition": "mean", "value": float(np.exp(np.log(found).mean())), "low": low, "high": high,
               "n": found.size, "interval": OVER_BOTH}  # fmt: skip
        if method != "cca":
            continue
        for i, x in enumerate(of.xs):
            for j, y in enumerate(of.ys):
                low, high = interval_of(drawn[:, i, j])
                yield {**shared, **couple(x, y), "condition": "couple", "value": found[i, j], "low": low, "high": high,
                       "n": of.grid.true.shape[2], "interval": OVER_ITEMS, "ceiling": cells[i, j, -1]}  # fmt: skip


def couple(x: Member, y: Member) -> Row:
    """Columns that say which encoders."""
    return {"x": x.name, "x_layer": x.number, "x_seed": x.seed, "y": y.name, "y_layer": y.number, "y_seed": y.seed}


def control_rows(grid: Grid, resamples: int, seed: int) -> Iterator[Row]:
    """Means over couples of which one is a control, by that control; of untrained nets, of broken pairs."""
    cells = grid.cells
    kinds = {"shuffled": cells["couple"] == "shuffled", "init": cells["couple"] == "init"}
    controls = cells["couple"] == "control"
    outside = {
        side: [name for name in dict.fromkeys(cells[side]) if not ((cells[side] == name) & ~controls).any()]
        for side in ("x", "y")
    }
    for x in outside["x"]:
        for y in outside["y"]:
            kinds[f"{x}|{y}"] = controls & (cells["x"] == x) & (cells["y"] == y)
    for side, other in (("x", "y"), ("y", "x")):
        for name in outside[side]:
            kinds[name] = controls & (cells[side] == name) & ~cells[other].isin(outside[other])
    for name, here in kinds.items():
        for (method, n), mine in cells[here].groupby(["method", "pairs"], sort=False):
            at = mine.index.to_numpy()
            for score, metric in SCORES.items():
                items = getattr(grid, score)[at].mean(axis=(0, 1), dtype=np.float64)
                found = bootstrap_mean(items, resamples, seed)
                told: Row = {"subject": name} if "|" not in name else dict(zip("xy", name.split("|"), strict=True))
                yield {**told, "condition": "control", "split": "test", "direction": "both", "k": 1, "method": method,
                       "pairs": int(n), "metric": metric, "value": found.value, "low": found.low, "high": found.high,
                       "interval": OVER_ITEMS, "n": len(at)}  # fmt: skip


def scored_rows(
    told: Row, own: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_], resamples: int, seed: int
) -> list[Row]:
    """R@1 of one cell, mean of both ways, of any true answer and of an item's own."""
    rows = []
    for metric, hits in (("true_recall", true), ("recall", own)):
        found = bootstrap_mean(hits.mean(axis=0), resamples, seed)
        rows.append({**told, "split": "test", "direction": "both", "k": 1, "metric": metric, "value": found.value,
                     "low": found.low, "high": found.high, "interval": OVER_ITEMS, "n": hits.shape[1]})  # fmt: skip
    return rows
