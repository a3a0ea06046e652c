"""How a space does at fewer dimensions: which few of them, and what is asked of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from jam.align.adapter import AnyAdapter
from jam.align.items import Items
from jam.evaluation.scores import RELATION, Key, Outcome, PerRow, hard_negatives, true_retrieval
from jam.widths.shortlist import shortlisted

Vectors = Mapping[str, np.ndarray]
"""Of a space, by what is seen: views of ``x`` (n, d) and ``y`` (m, d), and ``true`` and ``false`` ones (q, d) of y."""
BINDING, OTHER = "binding", "other"


@dataclass(frozen=True)
class Questions:
    """What is asked of a space on some items.

    Attributes:
        sides: x and y.
        items: of both.
        right: (n, m) which views of x are true of which of y, in the order of `SideRows.flat`.
        known: whether all that are true are known, else an item's own are.
        negatives: of y, as `jam.align.rows.negative_rows` gives them.
    """

    sides: tuple[str, str]
    items: Items
    right: np.ndarray
    known: bool
    negatives: pd.DataFrame

    @classmethod
    def of(cls, sides: tuple[str, str], items: Items, right: np.ndarray | None, negatives: pd.DataFrame) -> "Questions":
        """Those of items; with ``right`` None a view is right for its own item alone."""
        x, y = (items.sides[name].flat()[1] for name in sides)
        return cls(sides, items, x[:, None] == y if right is None else right, right is not None, negatives)

    def vectors(self, adapters: Mapping[str, AnyAdapter]) -> Vectors:
        """All that is looked at, as unit vectors of a space."""
        x, y = self.sides
        rows = {"x": (x, self.items.sides[x].flat()[0]), "y": (y, self.items.sides[y].flat()[0])}
        if len(self.negatives):
            rows |= {"true": (y, self.negatives["true_row"].to_numpy()), "false": (y, self.negatives["row"].to_numpy())}
        return {name: adapters[side].encode(self.items.sides[side].table[at]) for name, (side, at) in rows.items()}

    def answers(self, vectors: Vectors) -> dict[Key, Outcome]:
        """R@1 both ways, and hard negatives by kind, by tier, and by whether they ask for binding."""
        x, y = self.sides
        flat = {name: self.items.sides[name].flat() for name in self.sides}
        found = self._named(true_retrieval(x, y, {x: vectors["x"], y: vectors["y"]}, flat, self.right, False))
        if len(self.negatives):
            first = np.unique(flat[x][1], return_index=True)[1]
            found |= hard_negatives(x, y, vectors["x"][first], vectors["true"], vectors["false"], self.negatives)
            found |= dict(self._by_binding(found))
        return found

    def shortlisted(self, vectors: Vectors, dims: int, shortlist: int) -> dict[Key, Outcome]:
        """R@1 both ways of adaptive retrieval, see `jam.widths.shortlist`."""
        x, y = self.sides
        found: dict[Key, Outcome] = {}
        for way, a, b, right in (("x_to_y", "x", "y", self.right), ("y_to_x", "y", "x", self.right.T)):
            nearest = shortlisted(vectors[a], vectors[b], dims, shortlist)
            item = self.items.sides[x if a == "x" else y].flat()[1]
            hits = right[np.arange(len(nearest)), nearest]
            found[Key("true_recall", x, y, way, 1)] = PerRow(hits, item, float(right.mean()))
        return self._named(found)

    def _named(self, found: dict[Key, Outcome]) -> dict[Key, Outcome]:
        if self.known:
            return found
        return {Key("recall", key.x, key.y, key.direction, key.k): outcome for key, outcome in found.items()}

    def _by_binding(self, found: Mapping[Key, Outcome]) -> Iterator[tuple[Key, Outcome]]:
        """Means of the hard kinds that swap what belongs to what and of the other single edits, all kinds the same."""
        hard = set(self.negatives.loc[self.negatives["tier"] == "hard", "kind"]) - {RELATION}
        binding = {kind for kind in hard if kind.startswith("swap")}
        for name, kinds in ((BINDING, binding), (OTHER, hard - binding)):
            some = [found[Key("hard_negatives", *self.sides, kind=kind)] for kind in sorted(kinds)]
            parts = [one for one in some if isinstance(one, PerRow)]
            total = sum(len(one.values) for one in parts)
            if parts:
                values = [one.values * (total / (len(parts) * len(one.values))) for one in parts]
                of = np.concatenate([one.item for one in parts])
                yield Key("hard_negatives", *self.sides, label=name), PerRow(np.concatenate(values), of)


def first(vectors: Vectors, dims: int) -> Vectors:
    """The first coordinates."""
    return {name: some[:, :dims] for name, some in vectors.items()}


def random(vectors: Vectors, dims: int, seed: Sequence[int]) -> Vectors:
    """Coordinates drawn at random; those of fewer dimensions are among those of more."""
    width = next(iter(vectors.values())).shape[1]
    drawn = np.random.default_rng(seed).permutation(width)[:dims]
    return {name: some[:, drawn] for name, some in vectors.items()}


def principal(vectors: Vectors, axes: np.ndarray, dims: int) -> Vectors:
    """Coordinates along the first of some axes (d, d)."""
    return {name: some @ axes[:, :dims] for name, some in vectors.items()}


def principal_axes(sides: Sequence[np.ndarray]) -> np.ndarray:
    """Axes of falling variance, the columns (d, d), by the mean covariance of a space's vectors (n, d) a side."""
    covariance = np.mean([np.cov(some, rowvar=False, dtype=np.float64) for some in sides], axis=0)
    _, axes = np.linalg.eigh(np.atleast_2d(covariance))
    return np.ascontiguousarray(axes[:, ::-1])


def mean_outcomes(draws: Sequence[Mapping[Key, Outcome]]) -> dict[Key, Outcome]:
    """The mean over draws of what is asked for each observation."""
    found: dict[Key, Outcome] = {}
    for key in draws[0]:
        some = [draw[key] for draw in draws]
        rows = [one for one in some if isinstance(one, PerRow)]
        values: Any = np.mean([one.values for one in rows], axis=0)
        found[key] = PerRow(values, rows[0].item, rows[0].chance)
    return found
