"""What is chosen by: scores on validation rows, and what the best of all looks at them would be by chance."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional

from jam.align.adapter import AnyAdapter
from jam.align.items import Items, owners
from jam.align.looks import Looks
from jam.align.objective import Pair
from jam.metrics import hard_negative_correct, retrieval_ranks
from jam.params import Criterion

DRAWS = 200
MOST = 1000  # items of which the chance of their pairing is measured
BLOCK = 4096  # rows of a product at a time


class Validation:
    """Validation rows, and a record of every look that is taken at them.

    The more settings and epochs are tried, the better the best of them looks, on any rows. So at each look the recall
    is also taken with the items of the pairs' second sides shuffled, in the same draws at every look: the best over
    all looks of each draw is what the choice would have found where nothing belongs together (maxT: Westfall & Young
    1993).

    Args:
        items: the rows.
        pairs: of sides, by which the rows are scored.
        criterion: what is chosen by, see `scores`.
    """

    def __init__(self, items: Items, pairs: Sequence[Pair], criterion: Criterion = "mean") -> None:
        self.items, self.pairs, self.criterion = items, tuple(pairs), criterion
        rng = np.random.default_rng(0)
        some = np.sort(rng.permutation(len(items))[:MOST])
        self._flat = {name: side.flat() for name, side in items.sides.items()}
        self._negatives = {name: side.negatives() for name, side in items.sides.items()}
        self._some = {name: np.flatnonzero(np.isin(item, some)) for name, (_, item) in self._flat.items()}
        things = np.arange(len(items)) if items.truth is None else items.truth.things
        shuffled = np.tile(things, (1 + DRAWS, 1))  # the first row is the truth
        for draw in shuffled[1:]:
            draw[some] = things[rng.permutation(some)]
        self._things = shuffled
        self._best = np.zeros(DRAWS)

    def scores(
        self, adapters: Mapping[str, AnyAdapter], latents: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, float]:
        """R@1 of every pair both ways, accuracy on hard negatives of either side, and what is chosen by.

        ``validation_recall`` is the mean of the former, ``validation_hard_negatives`` of the latter (absent where there
        are none), ``validation_score`` what the criterion asks for: one of the two, or their mean. Where there are no
        hard negatives it is the recall. What `latents` gives of these adapters need not be computed twice.
        """
        items, recalls, right = self.items, dict[str, float](), list[float]()
        latents = latents or self.latents(adapters)
        for x, y in self.pairs:
            (_, items_x), (rows_y, items_y) = self._flat[x], self._flat[y]
            if items.truth is None:
                ranks = retrieval_ranks(latents[x], latents[y], *owners(items_x, items_y))
                forth, back = (float(np.mean(each == 1)) for each in ranks)
            else:
                forth, back = items.truth.recall_at_1(latents[x], items_x, latents[y], y, rows_y)
            recalls |= {f"validation_{x}_to_{y}": forth, f"validation_{y}_to_{x}": back}
            for here, there in ((x, y), (y, x)):
                item, false, origin = self._negatives[there]
                if len(item):
                    first = np.searchsorted(self._flat[here][1], item)
                    told = self._of_rows(adapters[there], there, origin, latents[there])
                    untold = adapters[there].encode(items.sides[there].table[false])
                    correct = hard_negative_correct(latents[here], told, untold, first, np.arange(len(item)))
                    right.append(float(np.mean(correct)))
        self._best = np.maximum(self._best, self._shuffled(latents)[1:])
        recall = float(np.mean(list(recalls.values())))
        scores = {**recalls, "validation_recall": recall}
        if not right:
            return {**scores, "validation_score": recall}
        negatives = float(np.mean(right))
        chosen = {"recall": recall, "hard_negatives": negatives, "mean": (recall + negatives) / 2}[self.criterion]
        return {**scores, "validation_hard_negatives": negatives, "validation_score": chosen}

    def chance(self, adapters: Mapping[str, AnyAdapter]) -> dict[str, float]:
        """How the recall of what was chosen compares with the best of all looks so far, see `Looks.chance`."""
        return self.looks(adapters).chance()

    def looks(self, adapters: Mapping[str, AnyAdapter]) -> Looks:
        """All looks so far, with the recall of what was chosen."""
        items, sides = self._fingerprints
        return Looks(items, sides, float(self._shuffled(self.latents(adapters))[0]), self._best.tolist())

    @cached_property
    def _fingerprints(self) -> tuple[str, dict[str, str]]:
        """Of the items, by their ids or else by all that is seen of them, and of the features of each side."""
        items, sides = self.items, dict[str, str]()
        for name, (rows, of) in self._flat.items():
            seen = hashlib.sha256(np.ascontiguousarray(of).tobytes())
            seen.update(np.ascontiguousarray(items.sides[name].table[rows]).tobytes())
            sides[name] = seen.hexdigest()
        known = sides if items.ids is None else [str(name) for name in items.ids]
        told = json.dumps([known, self._things[0].tolist(), self.criterion, DRAWS])
        return hashlib.sha256(told.encode()).hexdigest(), sides

    def latents(self, adapters: Mapping[str, AnyAdapter]) -> dict[str, np.ndarray]:
        """All true views by side, in the order of `SideRows.flat`."""
        return {name: adapters[name].encode(side.table[self._flat[name][0]]) for name, side in self.items.sides.items()}

    def _of_rows(self, adapter: AnyAdapter, side: str, rows: np.ndarray, latents: np.ndarray) -> np.ndarray:
        """Latents of some rows: those of true views are known, and false views are made from such as a rule."""
        known = self._flat[side][0]
        order = np.argsort(known, kind="stable")
        place = order[np.searchsorted(known, rows, sorter=order).clip(max=len(known) - 1)]
        if (known[place] == rows).all():
            return latents[place]
        return adapter.encode(self.items.sides[side].table[rows])

    def _shuffled(self, latents: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mean R@1 over pairs, both ways, for the truth and every draw, (1 + DRAWS,): is the nearest one right?"""
        found = []
        for x, y in self.pairs:
            (a, of_x), (b, of_y) = (
                (functional.normalize(torch.as_tensor(latents[name][rows]), dim=1), self._flat[name][1][rows])
                for name, rows in ((name, self._some[name]) for name in (x, y))
            )
            forth, back = (
                torch.cat([(part @ there.T).argmax(dim=1) for part in here.split(BLOCK)]).numpy()
                for here, there in ((a, b), (b, a))
            )
            things = self._things[0]
            found.append((self._things[:, of_x] == things[of_y[forth]]).mean(axis=1))
            found.append((self._things[:, of_x[back]] == things[of_y]).mean(axis=1))
        return np.mean(found, axis=0)
