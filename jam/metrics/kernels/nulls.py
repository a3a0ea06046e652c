"""What a score is worth: permutation nulls, p-values, calibrated scores, jackknife intervals."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from jam.metrics._rows import Groups, numbered

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class RowOrders:
    """Random permutations of n rows: cyclic shifts of rows that were laid out in random order.

    Shifting by s pairs the row of x at place p with the row of y at place p + s (mod n). The shifts of one layout are
    a group of permutations, and draws from a group give an exact p-value whichever group it is (Hemerik & Goeman
    2018, Exact testing with random permutations, Theorem 2). Shifts are chosen because one Fourier transform
    evaluates a quadratic statistic such as HSIC under all of them at once.

    Attributes:
        layouts: (rounds, n) which row lies at each place.
        shifts: for each round the shifts drawn, none of them 0.
    """

    layouts: Rows
    shifts: tuple[Rows, ...]

    def matrix(self) -> Rows:
        """(permutations, n): entry (p, i) is the row of y that permutation p pairs with row i of x."""
        orders = []
        for layout, shifts in zip(self.layouts, self.shifts, strict=True):
            block = np.empty((len(shifts), len(layout)), dtype=np.int64)
            block[:, layout] = layout[(np.arange(len(layout)) + shifts[:, None]) % len(layout)]
            orders.append(block)
        return np.concatenate(orders)


def draw_orders(n: int, permutations: int, seed: int, groups: Groups = None) -> RowOrders:
    """Draw permutations of n rows, a new layout whenever all shifts of one are used up.

    ``groups`` are (n,) labels of rows that depend on each other (captions of one image). They stay side by side in a
    layout, and where all groups have m rows only multiples of m are drawn, so that whole groups are exchanged; with
    groups of unequal size a shift may cut through groups, and the test is approximate.

    Raises:
        ValueError: fewer than one permutation; fewer than two rows or groups; not one label for each row.
    """
    if permutations < 1:
        raise ValueError(f"permutations: got {permutations}, expected at least 1")
    labels = numbered(groups, n)
    sizes = np.bincount(labels)
    if len(sizes) < 2:
        raise ValueError(f"groups: got {len(sizes)} group(s), expected at least 2 to permute")
    width = int(sizes[0]) if (sizes == sizes[0]).all() else 1
    rng = np.random.default_rng(seed)
    layouts, drawn, missing = [], [], permutations
    while missing > 0:
        layouts.append(np.argsort(rng.permutation(len(sizes))[labels], kind="stable"))
        drawn.append(rng.permutation(np.arange(width, n, width))[:missing])
        missing -= len(drawn[-1])
    return RowOrders(np.stack(layouts), tuple(drawn))


def permutation_null(
    score: Callable[[Rows], float],
    n: int,
    permutations: int = 200,
    seed: int = 0,
    groups: Groups = None,
) -> NDArray[np.float64]:
    """Scores with the correspondence of rows broken, for any score.

    Args:
        score: gets the order (n,) in which to take the rows of y, as in ``lambda order: rsa(x, y[order])``.
        n: rows.
        permutations: how many; the scores returned are (permutations,).
        seed: of the permutations.
        groups: as in `draw_orders`.
    """
    return np.array([score(order) for order in draw_orders(n, permutations, seed, groups).matrix()])


def p_value(observed: float, null: NDArray[np.float64]) -> float:
    """(1 + #{null ≥ observed}) / (1 + permutations); never 0 (Phipson & Smyth 2010; Gröger et al. 2026, eq. 10).

    A null score that is below the observed one by rounding alone counts as equal.

    Raises:
        ValueError: the observed score or one of the null is not finite, or there is no null.
    """
    _require_scores(observed, null)
    return (1 + int((null >= observed - 1e-12).sum())) / (1 + len(null))


def calibrate(observed: float, null: NDArray[np.float64]) -> tuple[float, float]:
    """Score above chance, 0 at or below the threshold τ of level .05 and 1 at the maximum 1: (observed − τ) / (1 − τ).

    τ is order statistic number ⌈.95 (K + 1)⌉ of the K null scores and the observed one together, so a
    positive calibrated score implies p ≤ .05. If the score is a maximum over layer pairs, then so must be each
    null score (Gröger et al. 2026, arXiv 2602.14486, eq. 9, 12, 15 and 17).

    Returns:
        The calibrated score and τ.

    Raises:
        ValueError: as `p_value`.
    """
    _require_scores(observed, null)
    combined = np.sort(np.append(null, observed))
    # The small term keeps 0.95 · 200 = 190.00000000000003 from being rounded up to 191.
    threshold = float(combined[math.ceil(0.95 * len(combined) - 1e-9) - 1])
    return (max(0.0, (observed - threshold) / (1 - threshold)) if observed > threshold else 0.0), threshold


def _require_scores(observed: float, null: NDArray[np.float64]) -> None:
    if len(null) == 0 or not np.isfinite([observed, *null]).all():
        bad = int((~np.isfinite(null)).sum())
        raise ValueError(f"p-value: got a score of {observed} and a null of {len(null)}, {bad} of them not finite")


@dataclass(frozen=True)
class Interval:
    """A confidence interval: its two ends and the standard error that it was made from."""

    low: float
    high: float
    error: float


def deal(n: int, folds: int, seed: int, groups: Groups = None) -> Rows:
    """The fold of each of n rows, (n,) in 0 … folds − 1, groups whole.

    Raises:
        ValueError: not 2 to as many folds as there are rows or groups.
    """
    labels = numbered(groups, n)
    units = int(labels.max()) + 1
    if not 2 <= folds <= units:
        raise ValueError(f"folds: got {folds}, expected 2 to {units}")
    fold: Rows = np.random.default_rng(seed).permutation(units)[labels] % folds
    return fold


def jackknife_interval(whole: float, parts: NDArray[np.float64], level: float = 0.95) -> Interval:
    """Delete-a-group jackknife interval of a score, from that of all rows and (F,) those without each fold of `deal`.

    error² = (F − 1)/F · Σ_f (θ_f − mean θ)², interval θ ± t_{F−1} · error (Shao & Tu 1995, The Jackknife and
    Bootstrap, §5.1; Kott 2001). A bootstrap will not do here: a row that is drawn twice is its own nearest
    neighbour, and puts entries of the kernel's diagonal among the pairs that unbiased HSIC takes for independent.
    """
    folds = len(parts)
    error = math.sqrt((folds - 1) / folds * float(((parts - parts.mean()) ** 2).sum()))
    reach = float(stdtrit(folds - 1, (1 + level) / 2)) * error
    return Interval(whole - reach, whole + reach, error)
