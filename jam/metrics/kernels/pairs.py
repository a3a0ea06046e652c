"""Neighbour metrics of a single pair of representations, and any kernel score with its interval and null."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jam.metrics._rows import Array, full_precision
from jam.metrics.kernels.cca import cca, svcca
from jam.metrics.kernels.cka import cka
from jam.metrics.kernels.comparisons import GramComparison
from jam.metrics.kernels.inputs import group_codes, matching_pair
from jam.metrics.kernels.layers import layer_alignment
from jam.metrics.kernels.neighbours import check_k
from jam.metrics.kernels.nulls import Rows, calibrate, jackknife, p_value
from jam.metrics.kernels.rsa import rsa

Groups = Array | Sequence[object] | None


@torch.no_grad()
def mutual_knn(x: Array, y: Array, k: int = 10, groups: Groups = None) -> float:
    """Mean share of the k nearest neighbours of a row that x and y agree on; k/(n − 1) by chance.

    Neighbours are by cosine of the rows as they are, not centred. A row is not its own neighbour, by its index; equal
    cosines rank by the lower index (equal: to within rounding in double precision).

    Args:
        x: (n, d1) features.
        y: (n, d2) features of the same rows.
        k: neighbours, less than n.
        groups: (n,) labels; rows with the same label, such as captions of one image, are not neighbours.

    Raises:
        ValueError: shapes do not match; k less than 1, or more than the rows that some row may have for neighbours.
        InputError: features with NaN or infinity, zero rows, rows that all point the same way.

    References:
        Huh et al. 2024, The Platonic representation hypothesis, eq. 11.
    """
    return _from_gram("mutual_knn", x, y, k, groups)


@torch.no_grad()
def cknna(x: Array, y: Array, k: int = 10, groups: Groups = None) -> float:
    """Centred kernel nearest-neighbour alignment: CKA over pairs that are neighbours in both spaces.

    A(K, L)/√(A(K, K)·A(L, L)) with A(K, L) = Σ K[i, j]·L[i, j] over the j among the k nearest of i in both spaces; K
    and L are the Gram matrices of the centred rows, neighbours those of `mutual_knn`.

    Args:
        x: (n, d1) features; rows are taken as given, columns are centred here.
        y: (n, d2) features of the same rows.
        k: neighbours, less than n.
        groups: as in `mutual_knn`.

    Raises:
        ValueError: as `mutual_knn`.
        InputError: as `mutual_knn`.

    References:
        Huh et al. 2024, The Platonic representation hypothesis, appendix A.
    """
    return _from_gram("cknna", x, y, k, groups)


def _from_gram(metric: str, x: Array, y: Array, k: int, groups: Groups) -> float:
    a, b = matching_pair(x, y)
    codes = group_codes(groups, len(a), a.device)
    check_k(k, len(a), codes)
    with full_precision(a.device):
        comparison = GramComparison([a], [b], ("x", "y"), [metric], k, codes, normalize=False)
        return float(comparison.scores()[metric])


@dataclass(frozen=True)
class KernelScore:
    """One score with all that it takes to read it.

    Attributes:
        metric: its name.
        value: the score.
        n: rows.
        k: neighbours; None where the metric has none.
        low: lower end of the 95 % jackknife interval.
        high: its upper end.
        null_mean: mean over the permutations.
        threshold: what the score has to exceed to be above chance at level .05.
        p_value: of the permutation test.
        calibrated: score above chance, see `calibrate`.
        permutations: how many.
    """

    metric: str
    value: float
    n: int
    k: int | None
    low: float
    high: float
    null_mean: float
    threshold: float
    p_value: float
    calibrated: float
    permutations: int


def kernel_score(
    metric: str,
    x: Array,
    y: Array,
    k: int = 10,
    groups: Groups = None,
    permutations: int = 200,
    folds: int = 20,
    seed: int = 0,
) -> KernelScore:
    """Score one pair of representations, rows as given, with its interval and its null.

    Args:
        metric: as in `layer_alignment`.
        x: (n, d1) features.
        y: (n, d2) features of the same rows.
        k: neighbours, for the metrics that have them.
        groups: (n,) labels of rows that belong together: not neighbours of each other, permuted and deleted together.
        permutations: of the null.
        folds: of the jackknife.
        seed: of the permutations and the folds.

    Raises:
        ValueError: as `layer_alignment` and `jackknife`.
        InputError: as `layer_alignment`.
    """
    if permutations < 1:
        raise ValueError(f"permutations: got {permutations}, expected at least 1")
    a, b = matching_pair(x, y)
    found = layer_alignment([a], [b], (metric,), k, groups, normalize=False, permutations=permutations, seed=seed)
    codes = group_codes(groups, len(a), torch.device("cpu"))
    labels = None if codes is None else codes.numpy()

    def score(rows: Rows) -> float:
        keep = torch.from_numpy(rows).to(a.device)
        return _SINGLE[metric](a[keep], b[keep], k, None if labels is None else labels[rows])

    interval = jackknife(score, len(a), folds, seed=seed, groups=labels)
    value, null = found.best[metric].score, found.null[metric]
    calibrated, threshold = calibrate(value, null)
    return KernelScore(
        metric=metric,
        value=value,
        n=len(a),
        k=k if metric in ("mutual_knn", "cknna") else None,
        low=interval.low,
        high=interval.high,
        null_mean=float(null.mean()),
        threshold=threshold,
        p_value=p_value(value, null),
        calibrated=calibrated,
        permutations=permutations,
    )


_SINGLE: dict[str, Callable[[Tensor, Tensor, int, Groups], float]] = {
    "mutual_knn": mutual_knn,
    "cknna": cknna,
    "cka": lambda x, y, k, groups: cka(x, y, unbiased=False),
    "unbiased_cka": lambda x, y, k, groups: cka(x, y),
    "svcca": lambda x, y, k, groups: svcca(x, y),
    "cca": lambda x, y, k, groups: cca(x, y),
    "rsa": lambda x, y, k, groups: rsa(x, y),
}
