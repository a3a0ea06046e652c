"""A head of one model on another's vectors, through a map fitted on items that both have seen and nobody labelled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jam.compare.resamples import Resamples
from jam.compare.stitch.maps import fit_map, relative, unit_rows
from jam.compare.stitch.towers import OWN, OWN_X, RELATIVE, SHUFFLED, UNMAPPED, kept
from jam.compare.transfer.heads import CS, Head, Labels, balanced, chance, chance_level, choose_head, fit_head

MAPPED, LABELS = "mapped", "labels"


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
    drawn: Resamples,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of results of every head (of B) on every other model's vectors (A), attribute by attribute.

    Conditions: ``own`` of each model with all labels; ``mapped`` by method and number of anchors; ``shuffled`` anchors
    with the first method and most anchors; ``unmapped`` where widths agree; ``labels``: A's own head with so few labels
    (column anchors counts them). Every head's C is chosen on all validation rows, of few labels at their first draw.
    Beside a score stand its paired differences from B's own (``against``: own) and A's own (own_x), and ``kept``, its
    share of these above chance.

    Args:
        models: whose train rows are labelled and anchors.
        labels: split → attribute → classes.
        methods: maps of `jam.compare.stitch.maps.FITS`.
        curve: over anchors.
        drawn: the bootstrap of the test items.
        seed: of the draws.
    """
    vectors = {each.name: {split: unit_rows(rows) for split, rows in each.rows.items()} for each in models}
    orders = [
        np.random.default_rng([seed, draw]).permutation(len(models[0].rows["train"])) for draw in range(curve.draws)
    ]
    counts, few_counts = (sorted({min(n, len(orders[0])) for n in some}) for some in (curve.counts, curve.relative))
    for label, y in labels["train"].items():
        truth = labels["test"][label]
        asked = _Asked(label, truth, chance_level(truth, drawn.units, seed), drawn)
        val_y = labels["val"][label]
        own_heads, cs, own = {}, {}, {}
        for each in models:
            mine = vectors[each.name]
            own_heads[each.name], cs[each.name] = choose_head(mine["train"], y, mine["val"], val_y)
            own[each.name] = asked.right(own_heads[each.name](mine["test"]))
            yield from asked.rows([own[each.name]], {"x": each.name, "y": each.name, "condition": OWN})
            for count in counts:
                c = _choose_few(mine, y, orders[0][:count], val_y) if count < len(y) else cs[each.name]
                few = [asked.right(_labelled(mine, y, order[:count], c, "test")) for order in orders]
                told = {"x": each.name, "y": each.name, "condition": LABELS, "anchors": count}
                yield from asked.rows(few, told, {OWN: own[each.name]})
        for b in models:
            theirs, head = vectors[b.name], own_heads[b.name]
            few_anchors = {count: orders[0][:count] for count in few_counts}
            of_anchors = {n: _relative_head(theirs, y, val_y, rows) for n, rows in few_anchors.items()}
            for a in models:
                if a.name == b.name:
                    continue
                mine, against = vectors[a.name], {OWN: own[b.name], OWN_X: own[a.name]}
                base: dict[str, Any] = {"x": a.name, "y": b.name}
                for method in methods:
                    for count in counts:
                        told = base | {"condition": MAPPED, "method": method, "anchors": count}
                        mapped = [asked.right(_mapped(mine, theirs, head, method, order[:count])) for order in orders]
                        yield from asked.rows(mapped, told, against)
                for count, read in of_anchors.items():
                    told = base | {"condition": MAPPED, "method": RELATIVE, "anchors": count}
                    seen = relative(mine["test"], mine["train"][few_anchors[count]])
                    yield from asked.rows([asked.right(read(seen))], told, against)
                most = counts[-1]
                told = base | {"condition": SHUFFLED, "method": methods[0], "anchors": most}
                mapped = [
                    asked.right(_mapped(mine, theirs, head, methods[0], order[:most], shuffled=True))
                    for order in orders
                ]
                yield from asked.rows(mapped, told, against)
                if mine["test"].shape[1] == theirs["test"].shape[1]:
                    told = base | {"condition": UNMAPPED, "method": "identity"}
                    yield from asked.rows([asked.right(head(mine["test"]))], told, against)


Vectors = Mapping[str, np.ndarray]


def _mapped(
    mine: Vectors, theirs: Vectors, head: Head, method: str, anchors: np.ndarray, *, shuffled: bool = False
) -> np.ndarray:
    """What B's head tells of A's test items, mapped; ``shuffled``: each anchor with another's vector of B."""
    of_b = theirs["train"][anchors]
    made = fit_map(method, mine["train"][anchors], np.roll(of_b, 1, axis=0) if shuffled else of_b)
    return head(made(mine["test"]))


def _choose_few(mine: Vectors, y: np.ndarray, rows: np.ndarray, val_y: np.ndarray) -> float:
    """The C that suits so few labelled rows, as `choose_head` chooses it: what all would choose is too weak for few."""
    cs = sorted(CS)
    return cs[int(np.argmax([balanced(_labelled(mine, y, rows, c, "val"), val_y).mean() for c in cs]))]


def _labelled(mine: Vectors, y: np.ndarray, rows: np.ndarray, c: float, split: str) -> np.ndarray:
    """What A's own head tells of a split's items from so few labels; of one with a single class there, that class."""
    told = np.repeat(y[rows][:1], len(mine[split]), axis=0)
    several = np.ptp(y[rows], axis=0) > 0
    if several.any():
        told[:, several] = fit_head(mine["train"][rows], y[rows][:, several], c)(mine[split])
    return told


def _relative_head(theirs: Vectors, y: np.ndarray, val_y: np.ndarray, anchors: np.ndarray) -> Head:
    """A head of B's relative coordinates: it reads those of any model that has seen the anchors."""
    train, val = (relative(theirs[split], theirs["train"][anchors]) for split in ("train", "val"))
    return choose_head(train, y, val, val_y)[0]


@dataclass(frozen=True)
class _Asked:
    label: str
    y: np.ndarray
    level: float  # 95 % of what chance gives
    drawn: Resamples

    def right(self, told: np.ndarray) -> np.ndarray:
        return balanced(told, self.y)

    def rows(
        self, draws: Sequence[np.ndarray], told: Mapping[str, Any], against: Mapping[str, np.ndarray] | None = None
    ) -> Iterator[dict[str, Any]]:
        """A row of the mean over draws of anchors, with intervals over items, and one of it less each own score."""
        right, by_chance = np.mean(draws, axis=0), chance(self.y)
        what = {**told, "label": self.label, "metric": "balanced_accuracy", "n": len(right), "interval": "bootstrap"}
        what["seeds"] = len(draws)
        yield what | self.drawn.mean(right)._asdict() | {"null": self.level, "null_mean": by_chance}
        for name, own in (against or {}).items():
            less = self.drawn.difference(right, own)._asdict()
            yield what | less | {"against": name} | kept(self.drawn.share(right, own, by_chance))
