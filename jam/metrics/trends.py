"""Does one quantity go with another over a grid of encoder pairs? Rank correlation with interval and null.

The cells of a grid are not independent: all cells of a row share an image encoder (or layer), all of a column a text
encoder. So rows and columns, and not cells, are what is resampled and permuted.
"""

import math
from dataclasses import dataclass
from itertools import permutations as permutations_of
from itertools import product

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ over the cells of a grid.

    Attributes:
        value: ρ; NaN where one of the two does not vary.
        low: lower end of the 95 % interval (NaN where it cannot be had).
        high: its upper end.
        p_value: two-sided, of the permutation test.
        n: cells that took part.
    """

    value: float
    low: float
    high: float
    p_value: float
    n: int


def grid_rank_correlation(
    x: npt.ArrayLike, y: npt.ArrayLike, resamples: int = 1000, permutations: int = 1000, seed: int = 0
) -> RankCorrelation:
    """Rank correlation of two quantities over the cells of one grid.

    The interval is a percentile one of the pigeonhole bootstrap, which draws rows and columns with replacement
    (Owen 2007, The pigeonhole bootstrap). The null permutes the rows and the columns of x, as Mantel's test permutes
    items (Mantel 1967); columns alone or rows alone do nothing to a predictor of the other side. Where there are no
    more orders than ``permutations`` asks for, all are taken, and p is exact. It is two-sided and cannot fall below
    1/(r!·c!), for a predictor of rows alone below 1/r!; where the reversed order is as extreme, as with evenly spaced
    ranks, below twice that: with four rows .083, so that four encoders can never show a trend at .05.

    Args:
        x: (r, c); a property of rows or columns alone may be given as (r, 1) or (1, c).
        y: (r, c); cells that are NaN in either take no part.
        resamples: of the bootstrap.
        permutations: of the null.
        seed: of both.

    Raises:
        ValueError: the shapes do not fit, or fewer than two cells are left.
    """
    outcome = np.asarray(y, dtype=np.float64)
    if outcome.ndim != 2:
        raise ValueError(f"y: got shape {outcome.shape}, expected (rows, columns)")
    try:
        predictor = np.broadcast_to(np.asarray(x, dtype=np.float64), outcome.shape)
    except ValueError:
        raise ValueError(f"x: got shape {np.shape(x)}, expected one that fits {outcome.shape}") from None
    n = int((np.isfinite(predictor) & np.isfinite(outcome)).sum())
    if n < 2:
        raise ValueError(f"x, y: got {n} cells with both, expected at least 2")
    value = spearman(predictor, outcome)
    rng = np.random.default_rng(seed)
    rows, columns = outcome.shape

    drawn = []
    for _ in range(resamples):
        cells = np.ix_(rng.integers(rows, size=rows), rng.integers(columns, size=columns))
        drawn.append(spearman(predictor[cells], outcome[cells]))
    found = np.array([rho for rho in drawn if np.isfinite(rho)])
    low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (np.nan, np.nan)

    # Along a side on which x does not vary, all orders are one.
    fixed = [
        bool((np.isclose(predictor, first, 0, 0, equal_nan=True)).all()) for first in (predictor[:1], predictor[:, :1])
    ]
    moved = [1 if same else size for size, same in zip((rows, columns), fixed, strict=True)]
    exact = math.factorial(moved[0]) * math.factorial(moved[1]) <= permutations
    if exact:
        choices = [
            [range(size)] if same else permutations_of(range(size))
            for size, same in zip((rows, columns), fixed, strict=True)
        ]
        null = [spearman(predictor[np.ix_(*order)], outcome) for order in product(*choices)]
    else:
        null = [
            spearman(predictor[np.ix_(rng.permutation(rows), rng.permutation(columns))], outcome)
            for _ in range(permutations)
        ]
    beyond = int((~(np.abs(null) < abs(value) - 1e-12)).sum())  # an order without ρ, for its gaps, counts against it
    seen = 0 if exact else 1  # of drawn orders, the observed one is added
    p_value = (seen + beyond) / (seen + len(null)) if np.isfinite(value) else np.nan
    return RankCorrelation(value, float(low), float(high), p_value, n)


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's ρ, ties at their mean rank; pairs with a NaN take no part; NaN where one of the two does not vary."""
    from scipy.stats import rankdata  # half a second to import, for the sweeps alone

    a, b = np.ravel(x), np.ravel(y)
    both = np.isfinite(a) & np.isfinite(b)
    a, b = rankdata(a[both]), rankdata(b[both])
    a, b = a - a.mean() if len(a) else a, b - b.mean() if len(b) else b
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")
