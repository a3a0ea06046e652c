"""The kernel of reality: Σ_a w_a·K_a over the factors of a known state, fitted to a representation and scored by CKA.

Kernels are U-centred (`jam.metrics.kernels.given`): there unbiased HSIC is an inner product, so that fitting weights is
a projection and unbiased CKA a cosine. The biased product holds the diagonals, which agree between any two kernels, and
a representation of private noise in many dimensions would be told to contain every factor. Memory is a few n × n
matrices in double precision, 8 MB each at n = 1,000: rows of validation and test sets, not of train sets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from jam.metrics._rows import Array, Groups, as_rows, require_finite
from jam.metrics.kernels.cka import alignment
from jam.metrics.kernels.given import as_gram, gram_of, inner_products, permuted_products, u_centred
from jam.metrics.kernels.nulls import calibrate, draw_orders, p_value
from jam.metrics.readout import Floats

_DEPENDENT = 1e-10  # combinations of kernels whose square is below this share of theirs are rounding alone


@dataclass(frozen=True)
class KernelScore:
    """Unbiased CKA of a representation with a kernel, and what it is worth.

    Attributes:
        value: the score.
        p_value: under permutations of the rows, (1 + #{null ≥ value}) / (1 + permutations).
        calibrated: the score above chance, see `calibrate`.
        threshold: what the score has to exceed to count as above chance at level .05.
        null_mean: mean over the permutations.
        n: rows.
    """

    value: float
    p_value: float
    calibrated: float
    threshold: float
    null_mean: float
    n: int


@dataclass(frozen=True)
class RealityScore(KernelScore):
    """As `KernelScore`, of the kernel of reality.

    Attributes:
        by_factor: unbiased CKA with the kernel of each factor alone.
        reliability: unbiased CKA of two views of the same items; None without a second view.
        ceiling: √reliability, what the best kernel of the state could reach, see `kernel_ceiling`.
    """

    by_factor: dict[str, float]
    reliability: float | None
    ceiling: float | None


@dataclass(frozen=True)
class Kernels:
    """Kernels of the same rows by name, made once to be held against many representations: plain and U-centred."""

    grams: dict[str, Tensor]
    centred: dict[str, Tensor]

    @classmethod
    def of(cls, factors: Mapping[str, Array], given: Mapping[str, Array] | None = None) -> "Kernels":
        """Those of factors, (n, c) columns, and such as are given, (n, n) symmetric.

        Raises:
            ValueError: none at all, fewer than 4 rows, or other numbers of rows; a matrix that is not symmetric.
            InputError: a number is not finite; one does not vary.
        """
        grams = {name: gram_of(columns, name) for name, columns in factors.items()}
        grams |= {name: as_gram(gram, name) for name, gram in (given or {}).items()}
        if len({len(gram) for gram in grams.values()}) != 1:
            raise ValueError(f"factors: got rows {[len(gram) for gram in grams.values()]}, expected as many in all")
        return cls(grams, {name: u_centred(gram, name) for name, gram in grams.items()})

    def some(self, names: Iterable[str]) -> "Kernels":
        """Those of the names."""
        names = list(names)
        return Kernels(*({name: of[name] for name in names} for of in (self.grams, self.centred)))


@torch.no_grad()
def fit_kernel(x: Array, factors: Mapping[str, Array] | Kernels) -> dict[str, float]:
    """The weights w ≥ 0 of factors that bring Σ_a w_a·K_a nearest to the kernel of a representation.

    They minimise ‖K̃ − Σ_a w_a·K̃_a‖ over U-centred kernels: non-negative least squares on the matrix of unbiased HSICs.
    The projection onto a cone is the point of it that has the least angle, so that no other weights have a larger
    unbiased CKA on these rows. Fit them on validation rows and score them on test rows (`score_kernel`).

    Args:
        x: (n, d) features; rows are taken as given, columns are centred here.
        factors: name → (n, c) columns of the state of the same rows, or their kernels.

    Returns:
        By factor its weight in the units of x: of x = [√w_1·F_1, √w_2·F_2, …] these are w. All 0 if no kernel of the
        state is any nearer than none.

    Raises:
        ValueError: no factors, fewer than 4 rows, or other numbers of rows.
        InputError: a number is not finite; x or a factor does not vary.
    """
    kernel, states = _kernels(x, factors)
    products = inner_products([kernel, *states.values()]).cpu().numpy()
    lengths = np.sqrt(products.diagonal())
    cosines = products / lengths / lengths[:, None]
    values, vectors = np.linalg.eigh(cosines[1:, 1:])
    kept = values > _DEPENDENT * values[-1]
    root = np.sqrt(values[kept])[:, None] * vectors[:, kept].T  # rootᵀ·root = cosines
    target = (vectors[:, kept].T @ cosines[1:, 0]) / np.sqrt(values[kept])
    weights = nnls(root, target)[0] * lengths[0] / lengths[1:]
    return dict(zip(states, weights.tolist(), strict=True))


@torch.no_grad()
def score_kernel(
    x: Array,
    factors: Mapping[str, Array] | Kernels,
    weights: Mapping[str, float],
    second: Array | None = None,
    groups: Groups = None,
    permutations: int = 200,
    seed: int = 0,
) -> RealityScore:
    """Unbiased CKA of a representation with Σ_a w_a·K_a, on rows that the weights were not fitted on.

    Args:
        x: (n, d) features; rows are taken as given, columns are centred here.
        factors: name → (n, c) columns of the state of the same rows, or their kernels.
        weights: by factor, as `fit_kernel` gives them. If all are 0 the score is 0 and its p-value 1.
        second: (n, d2) features of a second view of each row's item: another rendering or caption of the same scene.
        groups: (n,) labels; rows with the same label are permuted together.
        permutations: size of the null, at least 1.
        seed: of the permutations.

    Raises:
        ValueError: no factors, fewer than 4 rows, other numbers of rows; weights of other factors, or below 0.
        InputError: a number is not finite; x or a factor does not vary.
    """
    kernel, states = _kernels(x, factors)
    if set(weights) != set(states) or not all(0 <= weight < np.inf for weight in weights.values()):
        raise ValueError(f"weights: got {dict(weights)}, expected numbers from 0 on for {', '.join(states)}")
    reality = torch.zeros_like(kernel)
    for name, state in states.items():
        reality += weights[name] * state
    reliability, ceiling = None, None
    if second is not None:
        reliability, ceiling = kernel_ceiling(x, second)
    [score] = _scores(kernel, [reality], groups, permutations, seed)
    by_factor = {name: _cosine(kernel, state) for name, state in states.items()}
    return RealityScore(**vars(score), by_factor=by_factor, reliability=reliability, ceiling=ceiling)


@torch.no_grad()
def kernel_ceiling(x: Array, second: Array) -> tuple[float, float]:
    """The unbiased CKA of two views of the same items, and its root: what the best kernel of the state could reach.

    Let K̃ = S + E be the kernel of a view, S its mean over all that is private to a view, given the states, and E the
    rest; S is a kernel of the state. Let the second view be drawn like the first, its private part independently, so
    that K̃' = S + E'. Then E, E' and S are orthogonal in expectation, and for many rows

        CKA(K̃, K̃') = |S|² / (|S|² + |E|²),    CKA(K̃, S) = |S|² / (|S|·√(|S|² + |E|²)) = √CKA(K̃, K̃').

    No other kernel of the state has a larger CKA with K̃, as its product with E is 0 too. This is the attenuation by
    unreliability of Spearman 1904. What both views share beside the state (a private trait that belongs to the item
    and not to the view) counts as state, and makes the ceiling too high. √ of a reliability below 0 is 0.

    Args:
        x: (n, d) features.
        second: (n, d2) features, by the same encoder, of another view of each row's item.

    Returns:
        Reliability and ceiling.

    Raises:
        ValueError: fewer than 4 rows, or other numbers of rows.
        InputError: a number is not finite; one of the two does not vary.
    """
    first, other = gram_of(x, "x"), gram_of(second, "second")
    if len(first) != len(other):
        raise ValueError(f"x, second: got {len(first)} and {len(other)} rows, expected as many in both")
    reliability = _cosine(u_centred(first, "x"), u_centred(other, "second"))
    return reliability, float(np.sqrt(max(0.0, reliability)))


@torch.no_grad()
def pmi_kernel_score(
    x: Array, gram: Array, groups: Groups = None, permutations: int = 200, seed: int = 0
) -> KernelScore:
    """Unbiased CKA of a representation with a kernel that is given, such as the world's pointwise mutual information.

    Args:
        x: (n, d) features; rows are taken as given, columns are centred here.
        gram: (n, n) symmetric, of the same rows; may have negative eigenvalues.
        groups: (n,) labels; rows with the same label are permuted together.
        permutations: size of the null, at least 1.
        seed: of the permutations.

    Raises:
        ValueError: fewer than 4 rows; a matrix of another shape, or not symmetric.
        InputError: a number is not finite; x or the kernel does not vary.
    """
    given = as_gram(gram, "gram", len(as_rows(x, "x")))
    return kernel_scores(x, Kernels.of({}, {"gram": given}), groups, permutations, seed)["gram"]


@torch.no_grad()
def kernel_scores(
    x: Array, kernels: Kernels, groups: Groups = None, permutations: int = 200, seed: int = 0
) -> dict[str, KernelScore]:
    """Unbiased CKA of a representation with each of several kernels, under the same permutations.

    Args:
        x: (n, d) features; rows are taken as given, columns are centred here.
        kernels: of the same rows.
        groups: (n,) labels; rows with the same label are permuted together.
        permutations: size of the null, at least 1.
        seed: of the permutations.

    Raises:
        ValueError: fewer than 4 rows, or other numbers of rows.
        InputError: a number is not finite; x does not vary.
    """
    kernel, states = _kernels(x, kernels)
    return dict(zip(states, _scores(kernel, list(states.values()), groups, permutations, seed), strict=True))


def partial_out(x: Array, z: Array) -> Floats:
    """Features minus their linear regression on covariates, with an intercept, on the same rows.

    For CKA or kNN with something trivial held constant. How many things a scene has and how long a caption is drive
    the kernels of both sides: CKA of untrained encoders is .22 even in a world where nothing co-occurs. Give both
    representations the same covariates (one-hot counts, and lengths of captions) and show the score beside the plain
    one. What depends on the covariates nonlinearly or only in its spread is left. Residuals of n rows have n − c
    degrees of freedom; keep c ≪ n, so that permuting their rows remains a fair null.

    Args:
        x: (n, d) features.
        z: (n, c) covariates; may be collinear.

    Returns:
        (n, d) residuals in double precision, with column means of 0.

    Raises:
        ValueError: shapes do not match.
        InputError: a number is not finite.
    """
    rows, covariates = (as_rows(values, name) for values, name in ((x, "x"), (z, "z")))
    if len(rows) != len(covariates):
        raise ValueError(f"x, z: got {len(rows)} and {len(covariates)} rows, expected as many in both")
    for values, name in ((rows, "x"), (covariates, "z")):
        require_finite(values, name)
    features, given = (values.double().cpu().numpy() for values in (rows, covariates))
    design = np.concatenate([np.ones((len(given), 1)), given - given.mean(axis=0)], axis=1)
    found: Floats = features - design @ np.linalg.lstsq(design, features, rcond=None)[0]
    return found


def _kernels(x: Array, factors: Mapping[str, Array] | Kernels) -> tuple[Tensor, dict[str, Tensor]]:
    """U-centred kernels of a representation and of each factor."""
    if not isinstance(factors, Kernels):
        if not factors:
            raise ValueError("factors: got none, expected at least one")
        factors = Kernels.of(factors)
    kernel = u_centred(gram_of(x, "x"), "x")
    for name, state in factors.centred.items():
        if len(state) != len(kernel):
            raise ValueError(f"x, {name}: got {len(kernel)} and {len(state)} rows, expected as many in both")
    return kernel, {name: state.to(kernel.device) for name, state in factors.centred.items()}


def _scores(x: Tensor, ys: Sequence[Tensor], groups: Groups, permutations: int, seed: int) -> list[KernelScore]:
    """Of U-centred kernels; 0 with one of zeros."""
    n, orders = len(x), draw_orders(len(x), permutations, seed, groups)
    products = permuted_products(x, ys, orders).cpu().numpy()
    scores = []
    for y, null in zip(ys, products.T, strict=True):
        length = float(torch.linalg.vector_norm(x) * torch.linalg.vector_norm(y))
        if not length > 0:
            scores.append(KernelScore(0.0, 1.0, 0.0, 0.0, 0.0, n))
            continue
        value, chance = _cosine(x, y), null / length
        calibrated, threshold = calibrate(value, chance)
        scores.append(KernelScore(value, p_value(value, chance), calibrated, threshold, float(chance.mean()), n))
    return scores


def _cosine(x: Tensor, y: Tensor) -> float:
    products = inner_products([x, y])
    return float(alignment(products[:1, 1:], products[0, :1], products[1, 1:])[0, 0])
