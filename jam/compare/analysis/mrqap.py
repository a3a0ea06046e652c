"""Which of the factors that two models share explain how alike they are? Regression of a matrix on matrices.

Pairs of models are no independent observations: all pairs of an odd model are odd. So p is that of a permutation of
*models*, rows and columns together.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from math import factorial

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from jam.errors import InputError

Floats = npt.NDArray[np.float64]

_FLAT = 1e-10  # of a predictor the share of its variation that the others leave
_SAME = 1e-9
_CHUNK = 1024  # permutations at a time


@dataclass(frozen=True)
class Factor:
    """What a shared factor adds to the similarity of two models, the other factors held constant.

    Attributes:
        name: of the factor.
        value: the slope: added similarity where two models share it (a raw effect size).
        low, high: of it 95 %, jackknife over models; infinite where leaving out a model leaves a factor without
            variation.
        standardised: the slope in deviations of similarity a deviation of the factor.
        p: two-sided, of double semi-partialing.
        smallest_p: the smallest that so many models and such a factor can give, whatever the similarities.
        null: of |slope|, 95 % of permutations.
        explained: R² of the whole regression.
        n: models.
    """

    name: str
    value: float
    low: float
    high: float
    standardised: float
    p: float
    smallest_p: float
    null: float
    explained: float
    n: int


def same(labels: Sequence[Hashable]) -> Floats:
    """(n, n): 1 where two models have the same label, 0 elsewhere."""
    found: Floats = np.array([[float(a == b) for b in labels] for a in labels])
    return found


def mrqap(
    similarity: npt.ArrayLike, factors: Mapping[str, npt.ArrayLike], permutations: int = 2000, seed: int = 0
) -> list[Factor]:
    """Regression of similarities on factors over pairs of models, tested by double semi-partialing.

    For each factor the part of it that the others leave, ε, is permuted: models are exchanged, rows and columns
    together; similarity is regressed on ε and the other factors, and the t statistic of ε, which is pivotal, is
    compared with those under permutation. All permutations are taken where there are at most so many.

    Args:
        similarity: (n, n) symmetric; its diagonal is not read.
        factors: name → (n, n) symmetric.
        permutations: at least 19.
        seed: of permutations that are drawn.

    Raises:
        ValueError: matrices that are not square, symmetric and of one size; fewer than 4 models or 19 permutations.
        InputError: a similarity that is not finite; a factor that does not vary, or that the others tell in full; not
            more pairs than factors.

    References:
        Dekker, Krackhardt & Snijders 2007, Sensitivity of MRQAP tests to collinearity and autocorrelation conditions,
        Psychometrika 72, §2.2 (DSP).
    """
    y, xs = _square(similarity, "similarity"), {name: _square(of, name) for name, of in factors.items()}
    n = len(y)
    if n < 4 or permutations < 19 or not xs or {len(x) for x in xs.values()} != {n}:
        sizes = {name: len(x) for name, x in xs.items()}
        raise ValueError(
            f"mrqap: got {n} models, factors of {sizes} models and {permutations} permutations, expected at least 4 "
            "models, factors of the same, and at least 19 permutations"
        )
    pairs = np.triu_indices(n, 1)
    if not np.isfinite(y[pairs]).all():
        raise InputError(f"similarity: {int((~np.isfinite(y[pairs])).sum())} pairs of models are not finite")
    if len(pairs[0]) <= len(xs) + 1:
        raise InputError(f"mrqap: got {len(pairs[0])} pairs of {n} models and {len(xs)} factors, expected more pairs")
    slopes = _slopes(y, xs, np.arange(n))
    assert slopes is not None
    without = [_slopes(y, xs, np.delete(np.arange(n), i)) for i in range(n)]
    found = []
    for place, name in enumerate(xs):
        null, ts, unchanged = _permuted(y, xs, name, permutations, seed)
        value = float(slopes[place])
        low, high = _jackknife(value, [None if one is None else float(one[place]) for one in without])
        deviations = xs[name][pairs].std() / max(float(y[pairs].std()), 1e-300)
        p = float((np.abs(ts) >= abs(ts[0]) - _SAME * max(1.0, abs(ts[0]))).mean())
        level = float(np.quantile(np.abs(null), 0.95, method="higher"))
        explained = _explained(y, xs)
        found.append(Factor(name, value, low, high, value * deviations, p, unchanged, level, explained, n))
    return found


def _square(values: npt.ArrayLike, name: str) -> Floats:
    matrix: Floats = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name}: got shape {matrix.shape}, expected a square matrix, a row and a column a model")
    off = ~np.eye(len(matrix), dtype=bool)
    if not np.allclose(matrix[off], matrix.T[off], equal_nan=True):
        raise ValueError(f"{name}: got a matrix that is not symmetric, expected one number for each pair of models")
    return matrix


def _design(xs: Mapping[str, Floats], models: npt.NDArray[np.int64], without: str | None = None) -> Floats:
    """A constant and the factors, a row a pair of models."""
    pairs = np.triu_indices(len(models), 1)
    columns = [x[np.ix_(models, models)][pairs] for name, x in xs.items() if name != without]
    found: Floats = np.stack([np.ones(len(pairs[0])), *columns], axis=1)
    return found


def _slopes(y: Floats, xs: Mapping[str, Floats], models: npt.NDArray[np.int64]) -> Floats | None:
    """Of the factors among some models; None where one of them does not vary there."""
    design = _design(xs, models)
    centred = design[:, 1:] - design[:, 1:].mean(axis=0)
    if np.linalg.matrix_rank(centred, tol=_FLAT**0.5 * max(1.0, float(np.linalg.norm(centred)))) < len(xs):
        if len(models) == len(y):
            _refuse(xs)
        return None
    target = y[np.ix_(models, models)][np.triu_indices(len(models), 1)]
    return np.asarray(np.linalg.lstsq(design, target, rcond=None)[0][1:], dtype=np.float64)


def _refuse(xs: Mapping[str, Floats]) -> None:
    for name, x in xs.items():
        values = x[np.triu_indices(len(x), 1)]
        design = _design(xs, np.arange(len(x)), name)
        left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        if left @ left <= _FLAT * max(1.0, float(values @ values)):
            why = "does not vary" if np.ptp(values) == 0 else "is told in full by the others"
            raise InputError(f"factor {name}: it {why} over pairs of models, so that no effect of it can be told")
    raise InputError(f"factors: got {list(xs)}, which together have less variation than there are factors")


def _permuted(y: Floats, xs: Mapping[str, Floats], name: str, most: int, seed: int) -> tuple[Floats, Floats, float]:
    """Slopes and t of the residual of a factor, models as they are first; the share of orders that leave it unchanged.

    By Frisch, Waugh and Lovell the slope of ε among the others Z is that of ε without what Z tells of it.
    """
    n, pairs = len(y), np.triu_indices(len(y), 1)
    others = np.linalg.qr(_design(xs, np.arange(n), name))[0]
    values = xs[name][pairs]
    residual = values - others @ (others.T @ values)
    matrix = np.zeros_like(y)
    matrix[pairs] = residual
    matrix += matrix.T
    target = y[pairs] - others @ (others.T @ y[pairs])
    free = len(target) - others.shape[1] - 1
    slopes, ts, unchanged, count = [], [], 0, 0
    orders = _orders(n, most, seed)
    while chunk := list(islice(orders, _CHUNK)):
        order = np.array(chunk)
        moved = matrix[order[:, pairs[0]], order[:, pairs[1]]]
        unchanged += int((np.abs(moved - residual).max(axis=1) < _SAME).sum())
        count += len(order)
        moved = moved - (moved @ others) @ others.T
        size = np.maximum(np.einsum("ij,ij->i", moved, moved), 1e-300)
        slope = moved @ target / size
        left = np.maximum(target @ target - slope**2 * size, 1e-300)
        slopes.append(slope)
        ts.append(slope * np.sqrt(size * free / left))
    return np.concatenate(slopes), np.concatenate(ts), unchanged / count


def _orders(n: int, most: int, seed: int) -> Iterator[Sequence[int]]:
    """All orders of n models where they are at most so many, else that which they have and draws."""
    if factorial(n) <= most:
        yield from permutations(range(n))
        return
    rng = np.random.default_rng(seed)
    yield range(n)
    for _ in range(most):
        yield rng.permutation(n).tolist()


def _jackknife(value: float, parts: Sequence[float | None]) -> tuple[float, float]:
    known = np.array([part for part in parts if part is not None])
    if len(known) < len(parts):
        return -np.inf, np.inf
    n = len(known)
    reach = stdtrit(n - 1, 0.975) * np.sqrt((n - 1) / n * ((known - known.mean()) ** 2).sum())
    return float(value - reach), float(value + reach)


def _explained(y: Floats, xs: Mapping[str, Floats]) -> float:
    design, target = _design(xs, np.arange(len(y))), y[np.triu_indices(len(y), 1)]
    left = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    return 1 - float(left @ left) / max(float(((target - target.mean()) ** 2).sum()), 1e-300)
