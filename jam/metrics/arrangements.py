"""Tests by rearranging a few units, and the intervals of effects that these tests do not refuse.

A statistic T(y) = Σ c·y, scaled so that an effect β adds β to it, is compared with what it is when labels are
rearranged: T_π(y) = A_π, and T_π of the effect itself = B_π, with |B_π| ≤ 1. An effect β is refused if few
arrangements give |A_π − β·B_π| ≥ |A − β|. For one arrangement the β that it does not refuse are an interval around A,
so that the confidence interval is read from the ends of all; it excludes 0 exactly where p ≤ .05.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_SAME = 1e-9


@dataclass(frozen=True)
class Effect:
    """An effect with its test.

    Attributes:
        value: the estimate.
        low: lower end of the interval; −inf where no effect can be refused.
        high: upper end.
        p: two-sided, that the effect is none.
        smallest_p: the smallest that this design can give, whatever the numbers.
        n: units.
    """

    value: float
    low: float
    high: float
    p: float
    smallest_p: float
    n: int


def stratified_slope(
    y: Sequence[float],
    treatment: Sequence[float],
    strata: Sequence[object],
    most: int = 10000,
    seed: int = 0,
    level: float = 0.05,
) -> Effect:
    """How much y grows by a unit of the treatment, within strata; treatments are rearranged within each.

    Least squares with a constant for each stratum. All arrangements are taken if there are at most ``most``, else so
    many draws and the one observed.

    Args:
        y: (n,) one number a unit.
        treatment: (n,) what it was given.
        strata: (n,) units that could as well have had one another's treatment.
        most: arrangements.
        seed: of draws.
        level: 1 − coverage of the interval.

    Raises:
        ValueError: lengths differ, or the treatment does not vary within any stratum.
    """
    values, given = np.asarray(y, dtype=np.float64), np.asarray(treatment, dtype=np.float64)
    if not len(values) == len(given) == len(strata):
        raise ValueError(f"y, treatment, strata: got {len(values)}, {len(given)} and {len(strata)}")
    groups = [np.flatnonzero([one == name for one in strata]) for name in dict.fromkeys(strata)]
    centred = given.copy()
    for group in groups:
        centred[group] -= given[group].mean()
    size = centred @ centred
    if size <= _SAME * max(1.0, float(given @ given)):
        raise ValueError("treatment: got one that does not vary within any stratum")
    arranged = np.array(list(_within(centred, groups, most, seed)))
    return _inverted(arranged @ values / size, arranged @ centred / size, len(values), level)


def sign_flips(differences: Sequence[float], most: int = 14, seed: int = 0, level: float = 0.05) -> Effect:
    """The mean of paired differences; under the null each could as well have had the other sign.

    Args:
        differences: (n,).
        most: of n that all 2ⁿ signs are taken for; else 10,000 draws.
        seed: of draws.
        level: 1 − coverage of the interval.

    Raises:
        ValueError: there is none.
    """
    d = np.asarray(differences, dtype=np.float64)
    if not len(d):
        raise ValueError("differences: got none")
    if len(d) <= most:
        signs = np.array(list(product((1.0, -1.0), repeat=len(d))))
    else:
        drawn = np.random.default_rng(seed).choice([1.0, -1.0], size=(10000, len(d)))
        signs = np.concatenate([np.ones((1, len(d))), drawn])
    return _inverted(signs @ d / len(d), signs.mean(axis=1), len(d), level)


def _within(values: Floats, groups: Sequence[npt.NDArray[np.int64]], most: int, seed: int) -> Iterator[Floats]:
    """Arrangements of values within groups, the one observed first."""
    count = 1
    for group in groups:
        _, same = np.unique(values[group], return_counts=True)
        count *= factorial(len(group)) // int(np.prod([factorial(int(n)) for n in same]))
    if count <= most:
        orders = [list(dict.fromkeys(permutations(values[group].tolist()))) for group in groups]
        for choice in product(*orders):
            arranged = np.empty_like(values)
            for group, order in zip(groups, choice, strict=True):
                arranged[group] = order
            yield arranged
        return
    rng = np.random.default_rng(seed)
    yield values
    for _ in range(most):
        arranged = values.copy()
        for group in groups:
            arranged[group] = rng.permutation(values[group])
        yield arranged


def _inverted(a: Floats, b: Floats, n: int, level: float) -> Effect:
    """From A_π and B_π, the observed arrangement first, to the effect.

    |A_π − β·B_π| ≥ |A − β| holds between the β of its two equalities, which lie on either side of A; where |B_π| = 1
    the arrangement is the observed one or its opposite, and it holds for all β.
    """
    value, bounded = float(a[0]), np.abs(b) < 1 - _SAME
    roots = np.array([(value - sign * a) / np.where(bounded, 1 - sign * b, 1) for sign in (1.0, -1.0)])
    roots[np.abs(roots) < _SAME * np.abs(a).max()] = 0  # rounding must not part the test from the interval
    lower, upper = np.where(bounded, roots.min(axis=0), -np.inf), np.where(bounded, roots.max(axis=0), np.inf)
    p = float(np.mean((lower <= 0) & (upper >= 0)))
    few = int(np.floor(level * len(a) + _SAME))  # arrangements that do not refuse an effect which is refused
    low, high = np.sort(lower)[few], np.sort(upper)[::-1][few]
    return Effect(value, float(low), float(high), p, float(np.mean(~bounded)), n)
