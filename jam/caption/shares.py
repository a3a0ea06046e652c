"""Intervals of shares of what is said, of which each seed says another number of times."""

from collections.abc import Mapping, Sequence

import numpy as np

from jam.evaluation.scores import Key, Outcome, PerRow


class Draws:
    """Draws of seeds and items, items of one unit together, as `jam.evaluation.scores.summarise` makes them.

    Args:
        units: (n,) numbers from 0.
        seeds: how many.
        resamples: draws.
        seed: of them.
    """

    def __init__(self, units: np.ndarray, seeds: int, resamples: int, seed: int = 0) -> None:
        rng, count = np.random.default_rng(seed), int(units.max()) + 1
        self.items = rng.multinomial(count, np.full(count, 1 / count), size=resamples)[:, units]
        self.seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds

    def interval(self, outcomes: Sequence[PerRow]) -> tuple[float, float]:
        """95 per cent of the mean over seeds of each seed's own share; without draws in which a seed says nothing."""
        shares = np.stack([self._shares(outcome) for outcome in outcomes], axis=1)
        means = np.where(self.seeds > 0, self.seeds * shares, 0).sum(axis=1)
        low, high = np.nanquantile(means, [0.025, 0.975])
        return float(low), float(high)

    def _shares(self, outcome: PerRow) -> np.ndarray:
        """(resamples,)."""
        n = self.items.shape[1]
        told = self.items @ np.bincount(outcome.item, weights=outcome.values, minlength=n)
        count = self.items @ np.bincount(outcome.item, minlength=n)
        return np.divide(told, count, out=np.full(len(told), np.nan), where=count > 0)


def uneven(runs: Mapping[int, Mapping[Key, Outcome]]) -> dict[Key, list[PerRow]]:
    """The outcomes, seed by seed, of what seeds say another number of times."""
    found: dict[Key, list[PerRow]] = {}
    for key in next(iter(runs.values())):
        outcomes = [outcome for run in runs.values() if isinstance(outcome := run[key], PerRow)]
        if any(not np.array_equal(outcome.item, outcomes[0].item) for outcome in outcomes[1:]):
            found[key] = outcomes
    return found
