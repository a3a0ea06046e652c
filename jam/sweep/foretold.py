"""Does one quantity foretell another over the layers of two encoders, in pair after pair of encoders?

Layers of one encoder are no independent draws, and pairs that share an encoder are none either. So the rank correlation
is taken within each pair and averaged; its interval draws encoders of either side with replacement, and its null
permutes the layers of each encoder, in all of its pairs alike.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jam.metrics import spearman
from jam.sweep.depth import Floats

Grids = Mapping[tuple[str, str], Floats]
"""Names of two encoders → (layers of x, layers of y)."""


@dataclass(frozen=True)
class Foretold:
    """A mean rank correlation over pairs of encoders.

    Attributes:
        value: mean of Spearman's ρ over pairs; NaN where no pair has one (of a single layer each, say).
        low, high: its 95 % interval, NaN where it cannot be had.
        null: what the mean exceeds in one of twenty permutations.
        p: of the permutation test, one-sided: foretelling is positive.
        pairs: names → ρ of that pair.
    """

    value: float
    low: float
    high: float
    null: float
    p: float
    pairs: Mapping[tuple[str, str], float]


def foretold(before: Grids, after: Grids, resamples: int = 1000, permutations: int = 1000, seed: int = 0) -> Foretold:
    """How far ``before`` ranks the layers of each pair as ``after`` does.

    Args:
        before: of the same pairs, in grids of the same shapes, without gaps.
        after: what is to be foretold.
        resamples: of the interval.
        permutations: of the null.
        seed: of both.
    """
    pairs = {name: spearman(before[name], after[name]) for name in after}
    known = {name: rho for name, rho in pairs.items() if np.isfinite(rho)}
    if not known:
        return Foretold(math.nan, math.nan, math.nan, math.nan, math.nan, pairs)
    xs, ys = (list(dict.fromkeys(name[side] for name in known)) for side in (0, 1))
    table = np.array([[known.get((x, y), np.nan) for y in ys] for x in xs])
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        cells = np.ix_(generator.integers(len(xs), size=len(xs)), generator.integers(len(ys), size=len(ys)))
        if np.isfinite(table[cells]).any():
            drawn.append(np.nanmean(table[cells]))
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(known) > 1 else (np.nan, np.nan)
    value, null = float(np.mean(list(known.values()))), []
    sizes = [{name[side]: grid.shape[side] for name, grid in after.items()} for side in (0, 1)]
    ranked = {name: (_ranks(before[name]), _ranks(after[name])) for name in known}
    for _ in range(permutations):
        orders = [{name: generator.permutation(size) for name, size in of.items()} for of in sizes]
        again = [(a[np.ix_(orders[0][x], orders[1][y])] * b).sum() for (x, y), (a, b) in ranked.items()]
        null.append(float(np.mean(again)))
    p = (1 + sum(one >= value - 1e-12 for one in null)) / (1 + permutations)
    return Foretold(value, float(low), float(high), float(np.quantile(null, 0.95)), p, pairs)


def _ranks(grid: Floats) -> Floats:
    """Ranks as a vector of length 1 about 0, so that products are correlations."""
    from scipy.stats import rankdata  # half a second to import, for the sweeps alone

    ranks = rankdata(grid).reshape(grid.shape)
    centred = ranks - ranks.mean()
    found: Floats = centred / np.linalg.norm(centred)
    return found
