"""A head of one model on another's vectors, through a map fitted on items that both have seen and nobody labelled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jam.compare.stitch.maps import fit_map, relative, unit_rows
from jam.compare.transfer.heads import Head, Labels, balanced, chance, choose_head, fit_head
from jam.metrics import paired_difference
from jam.metrics.intervals import bootstrap_mean

OWN, MAPPED, SHUFFLED, UNMAPPED, LABELS = "own", "mapped", "shuffled", "unmapped", "labels"
RELATIVE = "relative"


@dataclass(frozen=True)
class Seen:
    """A model's vectors of images, split → (n, d): rows of the same items in all models."""

    name: str
    rows: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Curve:
    """How many anchors, or labels, and how often they are drawn."""

    counts: Sequence[int]
    draws: int
    relative: Sequence[int] = ()  # counts at which relative coordinates are tried: each needs heads of its own


def transfer_rows(
    models: Sequence[Seen],
    labels: Mapping[str, Labels],
    methods: Sequence[str],
    curve: Curve,
    *,
    resamples: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of results of every head (of B) on every other model's vectors (A), attribute by attribute.

    Conditions: ``own`` of each model with all labels; ``mapped`` by method and number of anchors; ``shuffled`` anchors
    with the first method and most anchors; ``unmapped`` where widths agree; ``labels``: A's own head with so few labels
    (column anchors counts them). ``kept`` is the share of B's own score above chance.

    Args:
        models: whose train rows are labelled and anchors.
        labels: split → attribute → classes.
        methods: maps of `jam.compare.stitch.maps.FITS`.
        curve: over anchors.
        resamples: of the bootstrap over test items.
        seed: of the draws.
    """
    vectors = {each.name: {split: unit_rows(rows) for split, rows in each.rows.items()} for each in models}
    orders = [
        np.random.default_rng([seed, draw]).permutation(len(models[0].rows["train"])) for draw in range(curve.draws)
    ]
    for label, y in labels["train"].items():
        asked = _Asked(label, labels["test"][label], resamples)
        heads, cs, own = {}, {}, {}
        for each in models:
            mine = vectors[each.name]
            heads[each.name], cs[each.name] = choose_head(mine["train"], y, mine["val"], labels["val"][label])
            own[each.name] = asked.right(heads[each.name](mine["test"]))
            yield from asked.rows([own[each.name]], {"x": each.name, "y": each.name, "condition": OWN})
        for a in models:
            mine = vectors[a.name]
            for count in curve.counts:
                few = [asked.right(_labelled(mine, y, order[:count], cs[a.name])) for order in orders]
                told = {"x": a.name, "y": a.name, "condition": LABELS, "anchors": count}
                yield from asked.rows(few, told, own[a.name])
            for b in models:
                if a.name == b.name:
                    continue
                theirs, head = vectors[b.name], heads[b.name]
                base: dict[str, Any] = {"x": a.name, "y": b.name}
                for method in methods:
                    for count in curve.counts:
                        told = base | {"condition": MAPPED, "method": method, "anchors": count}
                        mapped = [_mapped(mine, theirs, head, method, order[:count]) for order in orders]
                        yield from asked.rows([asked.right(each) for each in mapped], told, own[b.name])
                for count in curve.relative:
                    told = base | {"condition": MAPPED, "method": RELATIVE, "anchors": count}
                    read = _relative(mine, theirs, y, orders[0][:count], cs[b.name])
                    yield from asked.rows([asked.right(read)], told, own[b.name])
                most = max(curve.counts)
                told = base | {"condition": SHUFFLED, "method": methods[0], "anchors": most}
                mapped = [_mapped(mine, theirs, head, methods[0], order[:most], shuffled=True) for order in orders]
                yield from asked.rows([asked.right(each) for each in mapped], told, own[b.name])
                if mine["test"].shape[1] == theirs["test"].shape[1]:
                    told = base | {"condition": UNMAPPED, "method": "identity"}
                    yield from asked.rows([asked.right(head(mine["test"]))], told, own[b.name])


Vectors = Mapping[str, np.ndarray]


def _mapped(
    mine: Vectors, theirs: Vectors, head: Head, method: str, anchors: np.ndarray, *, shuffled: bool = False
) -> np.ndarray:
    """What B's head tells of A's test items, mapped; ``shuffled``: each anchor with another's vector of B."""
    of_b = theirs["train"][anchors]
    made = fit_map(method, mine["train"][anchors], np.roll(of_b, 1, axis=0) if shuffled else of_b)
    return head(made(mine["test"]))


def _labelled(mine: Vectors, y: np.ndarray, rows: np.ndarray, c: float) -> np.ndarray:
    """What A's own head tells of test items from so few labelled rows; of a label with one class there, that class."""
    told = np.repeat(y[rows][:1], len(mine["test"]), axis=0)
    several = np.ptp(y[rows], axis=0) > 0
    if several.any():
        told[:, several] = fit_head(mine["train"][rows], y[rows][:, several], c)(mine["test"])
    return told


def _relative(mine: Vectors, theirs: Vectors, y: np.ndarray, anchors: np.ndarray, c: float) -> np.ndarray:
    """What a head of B's relative coordinates tells of A's."""
    head = fit_head(relative(theirs["train"], theirs["train"][anchors]), y, c)
    return head(relative(mine["test"], mine["train"][anchors]))


@dataclass(frozen=True)
class _Asked:
    label: str
    y: np.ndarray
    resamples: int

    def right(self, told: np.ndarray) -> np.ndarray:
        return balanced(told, self.y)

    def rows(
        self, draws: Sequence[np.ndarray], told: dict[str, Any], own: np.ndarray | None = None
    ) -> Iterator[dict[str, Any]]:
        """A row of the mean over draws of anchors, with intervals over items, and one of it less B's own."""
        right, by_chance = np.mean(draws, axis=0), chance(self.y)
        what = told | {"label": self.label, "metric": "balanced_accuracy", "n": len(right), "interval": "bootstrap"}
        what["seeds"] = len(draws)
        yield what | bootstrap_mean(right, self.resamples)._asdict() | {"null_mean": by_chance}
        if own is not None:
            kept = float((right.mean() - by_chance) / (own.mean() - by_chance)) if own.mean() > by_chance else None
            yield what | paired_difference(right, own, self.resamples)._asdict() | {"against": OWN, "kept": kept}
