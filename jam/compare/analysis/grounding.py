"""Measures held against what is known of the models: would a measure of similarity find what was put there?

After Klabunde et al. 2024, ReSi: a comprehensive benchmark for representational similarity measures (arXiv 2408.00531):
models are made that differ in a known way (labels that were shuffled in part, layers of one network, seeds of one
recipe), and a measure is as good as its similarities order them. Every number here is a rank statistic of a matrix of
similarities, with a null that permutes the models.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grounded:
    """How well similarities are ordered as they should be.

    Attributes:
        name: auprc, conformity, rank_correlation.
        value: 1 is a perfect order.
        null: 95 % of permutations of the models.
        null_mean: the mean of permutations, what a measure that knows nothing gives.
        p: one-sided, of permutations; all of them where they are few.
        smallest_p: that a perfect order would have.
        n: comparisons behind it: pairs of models, or pairs of such pairs.
        models: how many.
    """

    name: str
    value: float
    null: float
    null_mean: float
    p: float
    smallest_p: float
    n: int
    models: int


def separation(
    similarity: npt.ArrayLike, groups: Sequence[Hashable], permutations: int = 2000, seed: int = 0
) -> list[Grounded]:
    """Are models of one group more alike than models of two? Groups: a share of wrong labels, a recipe over seeds.

    ``auprc``: average precision with which the similarity finds pairs of one group among all pairs. ``conformity``: the
    share of (pair within a group, pair between that group and another) that are ordered rightly, ties half.

    Args:
        similarity: (n, n), symmetric.
        groups: (n,) labels, one of which at least has two models.
        permutations: of the models.
        seed: of these.

    Raises:
        ValueError: shapes do not match, similarities that are not finite; no pair within, or none between groups.
    """
    matrix, codes = _checked(similarity, len(groups)), _numbered(groups)
    pairs = np.triu_indices(len(codes), 1)
    values, within = matrix[pairs], codes[pairs[0]] == codes[pairs[1]]
    if not within.any() or within.all():
        raise ValueError(f"groups: got {list(groups)}, expected a pair of models within one and a pair between two")
    ends = np.stack([codes[pairs[0]], codes[pairs[1]]])
    compared = sum(int((within & (ends[0] == g)).sum() * (~within & (ends == g).any(axis=0)).sum()) for g in set(codes))

    def auprc(now: Floats) -> float:
        return _average_precision(now[pairs], within)

    def conformity(whole: Floats) -> float:
        now, right = whole[pairs], 0.0
        for group in np.unique(codes):
            inside, across = now[within & (ends[0] == group)], now[~within & (ends == group).any(axis=0)]
            right += float(_above(inside[:, None], across[None]).sum())
        return right / compared

    perfect = (codes[:, None] == codes).astype(np.float64)
    tested = [("auprc", auprc, len(values)), ("conformity", conformity, compared)]
    return [_tested(name, of, n, matrix, perfect, permutations, seed) for name, of, n in tested]


def graded(
    similarity: npt.ArrayLike, levels: Sequence[float], permutations: int = 2000, seed: int = 0
) -> list[Grounded]:
    """The further apart two models on a scale, the less alike? Spearman's ρ of −|difference| with similarity (Mantel).

    For one model a level (a share of wrong captions, pairs seen), where `separation` has no pair within a group.

    Raises:
        ValueError: as `separation`; levels that are all the same.
    """
    matrix, places = _checked(similarity, len(levels)), np.asarray(levels, dtype=np.float64)
    if not np.isfinite(places).all():
        raise ValueError(f"levels: got {list(levels)}, expected finite numbers")
    pairs = np.triu_indices(len(places), 1)
    perfect = -np.abs(places[:, None] - places)
    near = perfect[pairs]
    if np.ptp(near) == 0:
        raise ValueError(f"levels: got {list(levels)}, expected pairs that are not all equally far apart")
    ranks = _standard(rankdata(near))

    def correlation(now: Floats) -> float:
        return float(ranks @ _standard(rankdata(now[pairs])))

    return [_tested("rank_correlation", correlation, len(near), matrix, perfect, permutations, seed)]


def layer_order(similarity: npt.ArrayLike, permutations: int = 2000, seed: int = 0) -> list[Grounded]:
    """Within a network, are nearer layers more alike?

    ``conformity``: of layers i < j < k, the share of sim(i, j) ≥ sim(i, k) and sim(j, k) ≥ sim(i, k) that hold, ties
    half. ``rank_correlation``: `graded` by the number of the layer.

    Args:
        similarity: (layers, layers) in the order of the network, at least 3.
        permutations: of the layers.
        seed: of these.

    Raises:
        ValueError: as `graded`, or fewer than 3 layers.
    """
    matrix = _checked(similarity, len(np.asarray(similarity)))
    n = len(matrix)
    if n < 3:
        raise ValueError(f"similarity: got {n} layers, expected at least 3")
    triples = np.array([(i, j, k) for i in range(n) for j in range(i + 1, n) for k in range(j + 1, n)]).T

    def conformity(now: Floats) -> float:
        i, j, k = triples
        return float(np.mean([_above(now[i, j], now[i, k]), _above(now[j, k], now[i, k])]))

    perfect = -np.abs(np.arange(n)[:, None] - np.arange(n)).astype(np.float64)
    first = _tested("conformity", conformity, 2 * triples.shape[1], matrix, perfect, permutations, seed)
    return [first, *graded(matrix, list(range(n)), permutations, seed)]


def _above(a: Floats, b: Floats) -> Floats:
    found: Floats = (a > b) + 0.5 * (a == b)
    return found


def _average_precision(scores: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Σ (recall_i − recall_{i−1})·precision_i over the distinct scores from above, as scikit-learn has it."""
    order = np.argsort(-scores, kind="stable")
    hits, ends = np.cumsum(right[order]), np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    recall = hits[ends] / right.sum()
    return float((np.diff(recall, prepend=0) * hits[ends] / (ends + 1)).sum())


def _standard(values: Floats) -> Floats:
    centred = values - values.mean()
    found: Floats = centred / max(float(np.linalg.norm(centred)), 1e-300)
    return found


def _numbered(groups: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    place = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    return np.array([place[group] for group in groups])


def _checked(similarity: npt.ArrayLike, n: int) -> Floats:
    matrix = np.asarray(similarity, dtype=np.float64)
    if matrix.shape == (n, n) and not np.allclose(matrix, matrix.T, equal_nan=True):
        raise ValueError("similarity: got a matrix that is not symmetric, expected one value a pair")
    if matrix.shape != (n, n) or not np.isfinite(matrix[~np.eye(n, dtype=bool)]).all():
        raise ValueError(f"similarity: got shape {matrix.shape}, expected ({n}, {n}), finite off the diagonal")
    return matrix


def _tested(
    name: str, of: Callable[[Floats], float], n: int, matrix: Floats, perfect: Floats, most: int, seed: int
) -> Grounded:
    """A statistic of a matrix, held against that of the matrix with its models in other orders."""
    models = len(matrix)
    if most < 1:
        raise ValueError(f"permutations: got {most}, expected at least 1")
    orders = [np.array(order) for order in permutations(range(models))] if factorial(models) <= most else None
    if orders is None:
        rng = np.random.default_rng(seed)
        orders = [np.arange(models), *(rng.permutation(models) for _ in range(most))]
    drawn, best = (  # what is equal but for rounding is equal
        np.array([of(some[np.ix_(order, order)]) for order in orders]).round(12) for some in (matrix, perfect)
    )
    value, level = float(drawn[0]), float(np.quantile(drawn, 0.95, method="higher"))
    p, smallest = (float((chance >= chance[0]).mean()) for chance in (drawn, best))
    return Grounded(name, value, level, float(drawn.mean().round(12)), p, smallest, n, models)
