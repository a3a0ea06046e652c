"""How far apart lie the cosines of images with their own texts and with those of others: d′, and histograms."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from jam.downstream.scores import unit

Floats = npt.NDArray[np.float64]
PAIRS = ("matched", "mismatched", "shuffled")


def d_prime(matched: npt.ArrayLike, mismatched: npt.ArrayLike) -> float:
    """d′ = (μ_m − μ_u) / √((σ_m² + σ_u²) / 2) of two sets of cosines; 0 where neither varies and means are equal."""
    m, u = np.asarray(matched, dtype=np.float64), np.asarray(mismatched, dtype=np.float64)
    return float(_d_prime(m.mean(), m.var(), u.mean(), u.var()))


def _d_prime(mean_m: npt.ArrayLike, var_m: npt.ArrayLike, mean_u: npt.ArrayLike, var_u: npt.ArrayLike) -> Floats:
    spread = np.sqrt((np.asarray(var_m) + np.asarray(var_u)) / 2)
    found: Floats = (np.asarray(mean_m) - np.asarray(mean_u)) / np.maximum(spread, 1e-12)
    return found


class Cosines(NamedTuple):
    """Cosines of the test items' images with their texts.

    Attributes:
        all: (n, n) of each image (row) with the text of each item (column); the diagonal is matched.
        mismatched: (n, n) which pairs are: those of which nothing says that the text is true of the image.
    """

    all: Floats
    mismatched: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, x: npt.ArrayLike, y: npt.ArrayLike, true: npt.NDArray[np.bool_]) -> "Cosines":
        """Of vectors (n, d) of two sides, and which texts are true of which images, (n, n)."""
        return cls(unit(x) @ unit(y).T, ~(true | np.eye(len(true), dtype=bool)))

    @property
    def matched(self) -> Floats:
        """(n,) of images with their own texts."""
        return np.diag(self.all)

    @property
    def others(self) -> Floats:
        """(m,) of images with texts that are not known to be true of them."""
        return self.all[self.mismatched]

    def shuffled(self, rng: np.random.Generator) -> Floats:
        """(n,) of images with texts that are dealt out by chance."""
        return self.all[np.arange(len(self.all)), rng.permutation(len(self.all))]

    @property
    def value(self) -> float:
        """d′."""
        return d_prime(self.matched, self.others)

    def resampled(self, counts: npt.NDArray[np.int64]) -> Floats:
        """d′ (b,) of resamples in which each item is there as often as ``counts`` (b, n) says, its image and text."""
        times = counts.astype(np.float64)
        own = times / times.sum(axis=1, keepdims=True)
        mean_m, square_m = own @ self.matched, own @ self.matched**2
        held = self.mismatched.astype(np.float64)
        pairs = np.maximum(((times @ held) * times).sum(axis=1), 1)
        kept = self.all * held
        mean_u, square_u = (((times @ part) * times).sum(axis=1) / pairs for part in (kept, kept * self.all))
        return _d_prime(mean_m, square_m - mean_m**2, mean_u, square_u - mean_u**2)

    def null(self, permutations: int, seed: int) -> Floats:
        """d′ (permutations,) where the texts are dealt out by chance."""
        rng, others = np.random.default_rng(seed), self.others
        mean, var = others.mean(), others.var()
        drawn = [self.shuffled(rng) for _ in range(permutations)]
        return np.array([float(_d_prime(one.mean(), one.var(), mean, var)) for one in drawn])


def histogram(cosines: Sequence[Cosines], bins: int, seed: int) -> pd.DataFrame:
    """Shares of cosines by bin of [−1, 1]: columns pairs, left, right, share; the mean over several seeds."""
    edges = np.linspace(-1, 1, bins + 1)
    parts = []
    for name in PAIRS:
        shares = []
        for number, one in enumerate(cosines):
            shuffled = one.shuffled(np.random.default_rng([seed, number]))
            values = {"matched": one.matched, "mismatched": one.others, "shuffled": shuffled}[name]
            counts, _ = np.histogram(np.clip(values, -1, 1), edges)
            shares.append(counts / counts.sum())
        told = {"pairs": name, "left": edges[:-1], "right": edges[1:], "share": np.mean(shares, axis=0)}
        parts.append(pd.DataFrame(told))
    return pd.concat(parts, ignore_index=True)


def ridge_map(x: npt.ArrayLike, y: npt.ArrayLike, penalty: float) -> tuple[Floats, Floats, Floats]:
    """The linear map of x (n, p) to y (n, q) with the least squares: mean of x, weights (p, q), mean of y.

    The penalty is in units of the mean of the columns' sums of squares.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    a, b = a - mean_a, b - mean_b
    gram = a.T @ a
    ridge = penalty * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights: Floats = np.linalg.solve(gram + ridge, a.T @ b)
    return mean_a, weights, mean_b


def mapped(x: npt.ArrayLike, y: npt.ArrayLike, fitted: tuple[Floats, Floats, Floats]) -> tuple[Floats, Floats]:
    """Rows of x through a `ridge_map`, and rows of y, both about the mean of y."""
    mean_x, weights, mean_y = fitted
    return (np.asarray(x, dtype=np.float64) - mean_x) @ weights, np.asarray(y, dtype=np.float64) - mean_y
