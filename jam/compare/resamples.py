"""Intervals over one and the same resamples of items, for scores that are means over them, shares of such, and κ."""

import numpy as np
import numpy.typing as npt

from jam.metrics.clustered import cluster_draws
from jam.metrics.intervals import Estimate

ENDS = (0.025, 0.975)


class Resamples:
    """The bootstrap over units of items, drawn once for all scores of the same items.

    Attributes:
        units: (n,) the unit that each item is of.
        weights: (resamples, n) how often an item was drawn.
    """

    def __init__(self, units: npt.ArrayLike, count: int, seed: int = 0) -> None:
        """Draw.

        Args:
            units: (n,) labels; items of one are no independent draws (scenes of one state), and drawn together.
            count: resamples.
            seed: of the draw; where every item is its own unit, of the same items as in `bootstrap_mean`.

        Raises:
            ValueError: fewer than two units, or no resamples.
        """
        self.units = np.asarray(units)
        if (several := len(np.unique(self.units))) < 2 or count < 1:
            raise ValueError(f"units, count: got {several} and {count}, expected at least 2 units and 1 resample")
        self.weights = cluster_draws(self.units.tolist(), count, seed)

    def mean(self, values: npt.ArrayLike) -> Estimate:
        """Mean over items (n,), percentile interval."""
        return self._estimate(_mean(values), self._means(values))

    def difference(self, values: npt.ArrayLike, others: npt.ArrayLike) -> Estimate:
        """Mean of the one less mean of the other, paired on items."""
        a, b = (np.asarray(each, dtype=np.float64) for each in (values, others))
        if a.shape != b.shape:
            raise ValueError(f"values, others: got shapes {a.shape} and {b.shape}, expected the same items in both")
        return self.mean(a - b)

    def share(self, values: npt.ArrayLike, own: npt.ArrayLike, floor: float = 0.0) -> Estimate | None:
        """(mean of values − floor) / (mean of own − floor), paired on items; None where own is not sure to be above.

        Args:
            values: (n,) of each item.
            own: (n,) of the same items, the score that counts as 1.
            floor: what counts as 0, such as chance.
        """
        if self.mean(own).low <= floor:
            return None
        of, whole = self._means(values) - floor, self._means(own) - floor
        found = (_mean(values) - floor) / (_mean(own) - floor)
        return self._estimate(found, of / np.maximum(whole, np.finfo(float).tiny))

    def kappa(self, said: npt.ArrayLike, other: npt.ArrayLike) -> Estimate:
        """Agreement above chance of several classifiers with another (Cohen 1960), the mean over them.

        Args:
            said: (classifiers, n) what each says of each item.
            other: (n,) what the other one says; where all say one and the same thing, κ is 0.
        """
        of, other, n = np.asarray(said), np.asarray(other), self.weights.shape[1]
        kinds = {"number" if each.dtype.kind in "fiub" else each.dtype.kind for each in (of, other)}
        if len(kinds) > 1 or of.ndim != 2 or of.shape[1:] != (n,) or other.shape != (n,):
            got = f"{of.dtype} {of.shape} and {other.dtype} {other.shape}"
            raise ValueError(f"said, other: got {got}, expected (classifiers, {n}) and ({n},) of one type")
        if any(each.dtype.kind == "f" and not np.isfinite(each).all() for each in (of, other)):
            raise ValueError("said, other: got NaN or infinity, expected classes")
        whole = np.ones((1, n))
        value = np.mean([_kappas(whole, each, other) for each in of])
        return self._estimate(float(value), np.mean([_kappas(self.weights, each, other) for each in of], axis=0))

    def _means(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        of = np.asarray(values, dtype=np.float64)
        if of.shape != self.units.shape:
            raise ValueError(f"values: got shape {of.shape}, expected {self.units.shape}, one of each item")
        sums: npt.NDArray[np.float64] = self.weights @ of
        return sums / self.weights.sum(axis=1)

    def _estimate(self, value: float, drawn: npt.NDArray[np.float64]) -> Estimate:
        low, high = np.quantile(drawn, ENDS)
        return Estimate(value, float(low), float(high))


def _mean(values: npt.ArrayLike) -> float:
    return float(np.asarray(values, dtype=np.float64).mean())


def _kappas(weights: npt.NDArray[np.float64], a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Cohen's κ of two classifiers by rows of weights."""
    n, labels = weights.sum(axis=1), np.unique([a, b])[:, None]
    same = weights @ (np.asarray(a) == b) / n
    chance = ((weights @ (labels == a).T) * (weights @ (labels == b).T)).sum(axis=1) / n**2
    found: npt.NDArray[np.float64] = (same - chance) / np.maximum(1 - chance, np.finfo(float).eps)
    return found


def recall_null(n: int, k: int) -> float:
    """95 % quantile of a recall at k among n items where every rank is as likely (binomial)."""
    from scipy.stats import binom  # half a second to import

    return float(binom.ppf(0.95, n, min(1.0, k / n)) / n)
