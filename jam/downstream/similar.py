"""Cosines of images with their texts before and after alignment, as rows of results and as histograms.

Between frozen layers of two widths there is no cosine. What stands for *before* is then the least that makes one: a
ridge map of the first side into the second, fitted on training rows, its penalty chosen by d′ on validation rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jam.align.space import load_adapters
from jam.downstream.probing import AFTER, BEFORE
from jam.downstream.similarity import Cosines, histogram, mapped, ridge_map
from jam.params import Downstream

Sides = tuple[np.ndarray, np.ndarray]
"""Features of first views of the same items on two sides, (n, p) and (n, q)."""


def cosines_before(
    parts: Mapping[str, Sides], true: npt.NDArray[np.bool_], penalties: Sequence[float]
) -> tuple[str, Cosines]:
    """Cosines of test items between frozen layers, and how they were made: ``as they are`` or ``ridge map``.

    Args:
        parts: of ``train``, ``val`` and ``test`` items.
        true: (n, n) which texts are true of which test images.
        penalties: to choose from.
    """
    x, y = parts["test"]
    if x.shape[1] == y.shape[1]:
        return "as they are", Cosines.of(x, y, true)
    best, most = None, -np.inf
    for penalty in penalties:
        fitted = ridge_map(*parts["train"], penalty)
        found = Cosines.of(*mapped(*parts["val"], fitted), np.eye(len(parts["val"][0]), dtype=bool)).value
        if found > most:
            best, most = fitted, found
    assert best is not None
    return "ridge map", Cosines.of(*mapped(x, y, best), true)


def similarity_tables(
    sides: tuple[str, str],
    before: tuple[str, Cosines],
    test: Sides,
    true: npt.NDArray[np.bool_],
    spaces: Mapping[str, Mapping[int, Path]],
    units: npt.NDArray[np.int64],
    options: Downstream,
    resamples: int,
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Rows of results (d′ of each condition, and differences after − before), and histograms.

    Args:
        sides: names of the two.
        before: see `cosines_before`.
        test: features of the test items.
        true: (n, n) which texts are true of which images.
        spaces: by name and seed the folder of a trained space.
        units: (n,) numbers from 0, equal for items that are no independent draws.
        options: how many permutations and bins.
        resamples: of the bootstrap over seeds and items.
    """
    rng, count = np.random.default_rng(options.seed), int(units.max()) + 1
    counts = rng.multinomial(count, np.full(count, 1 / count), size=resamples)[:, units]
    label, frozen = before
    shared = {"x": sides[0], "y": sides[1], "split": "test", "n": len(units), "units": count}
    first = _Scored([frozen], counts, options)
    rows = first.rows(shared | {"condition": BEFORE, "label": label}, [0])
    drawn = [histogram([frozen], options.bins, options.seed).assign(subject=None, condition=BEFORE)]
    for name, folders in spaces.items():
        maps = [load_adapters(folder) for folder in folders.values()]
        cosines = [Cosines.of(one[sides[0]].encode(test[0]), one[sides[1]].encode(test[1]), true) for one in maps]
        scored = _Scored(cosines, counts, options)
        rows += scored.rows(shared | {"subject": name, "condition": AFTER}, list(folders))
        rows.append(scored.difference(first) | shared | {"subject": name})
        drawn.append(histogram(cosines, options.bins, options.seed).assign(subject=name, condition=AFTER))
    return rows, pd.concat(drawn, ignore_index=True)[["subject", "condition", "pairs", "left", "right", "share"]]


class _Scored:
    """d′ over seeds: values, those of resamples of seeds and items, and those of shuffled pairs."""

    def __init__(self, cosines: Sequence[Cosines], counts: npt.NDArray[np.int64], options: Downstream) -> None:
        self.values = [one.value for one in cosines]
        self.value, seeds = float(np.mean(self.values)), len(cosines)
        drawn = np.stack([one.resampled(counts) for one in cosines], axis=1)  # (resamples, seeds)
        rng = np.random.default_rng([options.seed, 1])
        weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(drawn)) / seeds
        self.drawn = (weights * drawn).sum(axis=1)
        self.null = np.mean([one.null(options.permutations, options.seed) for one in cosines], axis=0)
        self.interval = "bootstrap over seeds and items" if seeds > 1 else "bootstrap over items"

    def rows(self, told: dict[str, Any], seeds: Sequence[int]) -> list[dict[str, Any]]:
        """A row a seed, and the mean with its interval and its null: the texts dealt out by chance."""
        shared = told | {"metric": "d_prime", "seeds": len(seeds)}
        rows = [{**shared, "seed": seed, "value": value} for seed, value in zip(seeds, self.values, strict=True)]
        low, high = np.quantile(self.drawn, [0.025, 0.975])
        mean = {"value": self.value, "low": low, "high": high, "interval": self.interval}
        null = {"null": np.quantile(self.null, 0.95), "null_mean": self.null.mean()}
        p = (1 + int((self.null >= self.value).sum())) / (1 + len(self.null))
        return [*rows, {**shared, **mean, **null, "p": p}]

    def difference(self, before: "_Scored") -> dict[str, Any]:
        """After minus before, on the same resamples of items."""
        low, high = np.quantile(self.drawn - before.drawn, [0.025, 0.975])
        told = {"metric": "d_prime_difference", "against": BEFORE, "seeds": len(self.values), "null_mean": 0.0}
        value = {"value": self.value - before.value, "low": low, "high": high}
        return told | value | {"interval": f"paired {self.interval}"}
