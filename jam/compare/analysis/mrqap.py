"""Which of the factors that two models share explain how alike they are? Regression of a matrix on matrices.

Pairs of models are no independent observations: all pairs of an odd model are odd. So p is that of a permutation of
*models*, rows and columns together: "double semi-partialing" of Dekker, Krackhardt & Snijders 2007 (Sensitivity of
MRQAP tests to collinearity and autocorrelation conditions, Psychometrika 72:563-581). The part E of a factor that the
others Z leave is permuted, similarity y regressed on it and Z, and the t of E, which is pivotal, compared:
|t_π| ≥ |t|. That is |A_π − β·B_π| ≥ |A − β| at β = 0 of `jam.metrics.arrangements`, with A_π = ⟨ME_π, y⟩/(|ME_π|·|E|),
B_π = ⟨ME_π, E⟩/(|ME_π|·|E|) and M what takes out Z; so the interval of effects that the same test does not refuse
follows, and excludes 0 exactly where p ≤ .05.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations as permutations_of
from math import factorial

import numpy as np
import numpy.typing as npt

from jam.errors import InputError
from jam.metrics.arrangements import _inverted

Floats = npt.NDArray[np.float64]

_FLAT = 1e-9  # of a factor the share that the others have to leave
_LEAST = 19  # permutations with a threshold of level .05


@dataclass(frozen=True)
class Factor:
    """What a shared factor adds to the similarity of two models, the other factors held constant.

    Attributes:
        name: of the factor.
        value: the slope: added similarity where two models share it (a raw effect size).
        low, high: of it 95 %, by inverting the test; infinite where it refuses no effect.
        standardised: the slope in deviations of similarity a deviation of the factor.
        p: two-sided.
        smallest_p: the smallest that so many models and such a factor can give, whatever the similarities.
        null: of |slope|, 95 % of permutations.
        explained: R² of the whole regression.
        exact: whether all orders of the models were taken, or some drawn.
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
    exact: bool
    n: int


def same(labels: Sequence[Hashable]) -> Floats:
    """(n, n): 1 where two models have the same label, 0 elsewhere."""
    found: Floats = np.array([[float(a == b) for b in labels] for a in labels])
    return found


def mrqap(
    similarity: npt.ArrayLike, factors: Mapping[str, npt.ArrayLike], permutations: int = 2000, seed: int = 0
) -> list[Factor]:
    """Regression of similarities on factors over pairs of models, each tested by permuting models.

    Power is low: of seven models in two groups hardly any order is more extreme than another. Effect sizes and the
    smallest p that a design can give stand beside each p.

    Args:
        similarity: (n, n) symmetric; its diagonal is not read.
        factors: name → (n, n) symmetric.
        permutations: at least 19; where there are no more orders of the models than so many, all are taken.
        seed: of orders that are drawn.

    Raises:
        ValueError: matrices that are not square, symmetric and of one size; fewer than 4 models or 19 permutations.
        InputError: a similarity that is not finite or the same for all pairs; a factor that does not vary, or that the
            others tell in full; not more pairs than coefficients.
    """
    y, xs = _square(similarity, "similarity"), {name: _square(of, name) for name, of in factors.items()}
    n = len(y)
    if n < 4 or permutations < _LEAST or not xs or {len(x) for x in xs.values()} != {n}:
        sizes = {name: len(x) for name, x in xs.items()}
        raise ValueError(
            f"mrqap: got {n} models, factors of {sizes} models and {permutations} permutations, expected at least 4 "
            f"models, factors of the same, and at least {_LEAST} permutations"
        )
    above = np.triu_indices(n, 1)
    target = y[above]
    if not np.isfinite(target).all() or np.ptp(target) == 0:
        raise InputError("similarity: got pairs of models that are not finite or all equally alike")
    if len(target) <= len(xs) + 1:
        raise InputError(f"mrqap: got {len(target)} pairs of {n} models for {len(xs)} factors, expected more pairs")
    design = np.column_stack([np.ones(len(target)), *(x[above] for x in xs.values())])
    left = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    explained = 1 - float(left @ left) / float(((target - target.mean()) ** 2).sum())
    exact = factorial(n) <= permutations
    orders = _orders(n, permutations, seed, exact)
    found = []
    for place, name in enumerate(xs):
        values, others = design[:, place + 1], _basis(np.delete(design, place + 1, axis=1))
        residual = values - others @ (others.T @ values)
        size = float(np.linalg.norm(residual))
        if size <= _FLAT * max(1.0, float(np.linalg.norm(values))):
            why = "does not vary" if np.ptp(values) == 0 else "is told in full by the others"
            raise InputError(f"factor {name}: it {why} over pairs of models, so that no effect of it can be told")
        moved = _permuted(residual, orders)
        moved -= (moved @ others) @ others.T
        lengths = np.linalg.norm(moved, axis=1)
        lengths = np.where(lengths > _FLAT * size, lengths, np.inf)  # nothing is left: never extreme
        products = moved @ target
        effect = _inverted(products / (lengths * size), moved @ residual / (lengths * size), n, 0.05)
        null = float(np.quantile(np.abs(products / lengths**2), 0.95, method="higher"))
        told = effect.value, effect.low, effect.high, effect.value * float(values.std() / target.std())
        found.append(Factor(name, *told, effect.p, effect.smallest_p, null, explained, exact, n))
    return found


def _square(values: npt.ArrayLike, name: str) -> Floats:
    matrix: Floats = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{name}: got shape {matrix.shape}, expected a square matrix, a row and a column a model")
    off = ~np.eye(len(matrix), dtype=bool)
    if not np.allclose(matrix[off], matrix.T[off], equal_nan=True):
        raise ValueError(f"{name}: got a matrix that is not symmetric, expected one number for each pair of models")
    return matrix


def _orders(n: int, draws: int, seed: int, exact: bool) -> npt.NDArray[np.int64]:
    """Orders of n models, that which they have first."""
    if exact:
        return np.array(list(permutations_of(range(n))))
    rng = np.random.default_rng(seed)
    return np.stack([np.arange(n), *(rng.permutation(n) for _ in range(draws))])


def _permuted(residual: Floats, orders: npt.NDArray[np.int64]) -> Floats:
    """Residuals of pairs with the models in each of the orders, (orders, pairs)."""
    n = orders.shape[1]
    above = np.triu_indices(n, 1)
    square = np.zeros((n, n))
    square[above] = residual
    square += square.T
    found: Floats = square[orders[:, above[0]], orders[:, above[1]]]
    return found


def _basis(columns: Floats) -> Floats:
    """Orthonormal basis of the span of some columns, which may depend on each other."""
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    found: Floats = left[:, values > _FLAT * values[0]]
    return found
