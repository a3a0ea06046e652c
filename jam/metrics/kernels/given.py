"""Kernels that are given as n × n matrices: U-centred, and compared by CKA.

All in double precision, which neither TF32 nor autocast touches.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import Array, as_rows, require_finite
from jam.metrics.kernels.cka import alignment, check_unbiased
from jam.metrics.kernels.gram import centre
from jam.metrics.kernels.nulls import RowOrders
from jam.metrics.kernels.permuted import matrix_bands, shift_products

_CONSTANT = 1e-12  # entries that differ by less than this, relatively, differ by rounding alone
_UNEVEN = 1e-6  # a matrix whose transpose differs by more than this, relatively, is not symmetric


def as_gram(values: Array, name: str, n: int | None = None, minimum: int = 4) -> Tensor:
    """A symmetric (n, n) matrix in double precision; it need not be positive semidefinite.

    Raises:
        ValueError: not square, of another size than asked for or too small; not symmetric.
        InputError: an entry is not finite.
    """
    gram = as_rows(values, name)
    require_finite(gram, name)
    if gram.shape[0] != gram.shape[1] or len(gram) < minimum or n not in (None, len(gram)):
        expected = f"({n}, {n})" if n is not None else f"(n, n), n at least {minimum}"
        raise ValueError(f"{name}: got shape {tuple(gram.shape)}, expected {expected}")
    gram = gram.double()
    if not torch.allclose(gram, gram.T, rtol=0, atol=_UNEVEN * float(gram.abs().max())):
        raise ValueError(f"{name}: got a matrix that is not symmetric, expected inner products of rows")
    return (gram + gram.T) / 2


def gram_of(x: Array, name: str, minimum: int = 4) -> Tensor:
    """Inner products of the centred rows of x in double precision, (n, n), in the units of x.

    Raises:
        ValueError: not two-dimensional, or too few rows.
        InputError: a row is not finite, or all rows are the same.
    """
    features = as_rows(x, name)
    if len(features) < minimum:
        raise ValueError(f"{name}: got {len(features)} rows, expected at least {minimum}")
    centred = centre(features, name, unit=False, dtype=torch.float64)
    unit = float(centred.scales[0]) * centred.stretch
    return (centred.rows @ centred.rows.T).div_(unit**2)


def u_centred(gram: Tensor, name: str) -> Tensor:
    """The U-centred matrix of a symmetric (n, n) one: 0 on the diagonal, rows sum to zero.

    Ũ_ij = K_ij − Σ_l K_il/(n−2) − Σ_k K_kj/(n−2) + Σ K_kl/((n−1)(n−2)) with sums off the diagonal. U-centred matrices
    are a vector space and Σ Ũ_ij·Ṽ_ij an inner product on it, n(n − 3) times the unbiased HSIC of Song et al. 2012
    (Székely & Rizzo 2014, Partial distance correlation, eq. 2.1-2.3 and Theorem 2).

    Raises:
        InputError: all entries off the diagonal are equal, but for rounding.
    """
    n = len(gram)
    off = doubly_centred(gram, name)
    size = torch.linalg.vector_norm(off)
    off.fill_diagonal_(0)
    sums = off.sum(0) / (n - 2)
    off.sub_(sums).sub_(sums[:, None]).add_(sums.sum() / (n - 1)).fill_diagonal_(0)
    check_unbiased(torch.linalg.vector_norm(off).square()[None], size[None], (name,))
    return off


def doubly_centred(gram: Tensor, name: str) -> Tensor:
    """A symmetric (n, n) matrix minus its row and column means.

    Raises:
        InputError: nothing but rounding is left.
    """
    means = gram.mean(0)
    centred = gram - means - means[:, None] + means.mean()
    if torch.linalg.vector_norm(centred) <= _CONSTANT * torch.linalg.vector_norm(gram):
        raise InputError(f"{name}: all entries are equal once centred, expected a kernel that varies")
    return centred


def inner_products(kernels: Sequence[Tensor]) -> Tensor:
    """Σ_ij of the products of entries of all pairs of some (n, n) matrices, (k, k)."""
    flat = torch.stack([kernel.flatten() for kernel in kernels])
    return flat @ flat.T


def permuted_products(x: Tensor, ys: Sequence[Tensor], orders: RowOrders) -> Tensor:
    """Σ_ij of the products of a U-centred (n, n) matrix with others, by order of their rows; (orders, others)."""
    return shift_products(orders, [x], ys, matrix_bands, x.device)[:, 0]


@torch.no_grad()
def cka_of_grams(k: Array, l: Array, unbiased: bool = True) -> float:  # noqa: E741
    """Centred kernel alignment of two kernels that are given as matrices, in double precision; see `cka`.

    The kernels are centred here. They may have negative eigenvalues, as one of pointwise mutual information has.

    Args:
        k: (n, n) symmetric.
        l: (n, n) symmetric, of the same rows.
        unbiased: HSIC of Song et al. 2012 in the numerator and in both denominators; needs n ≥ 4.

    Raises:
        ValueError: not square, not symmetric, sizes that differ, too few rows.
        InputError: an entry is not finite, or a kernel that is constant (unbiased: but for its diagonal).
    """
    minimum = 4 if unbiased else 2
    a = as_gram(k, "k", minimum=minimum)
    b = as_gram(l, "l", len(a), minimum)
    centred = u_centred if unbiased else doubly_centred
    products = inner_products((centred(a, "k"), centred(b, "l")))
    return float(alignment(products[:1, 1:], products[0, :1], products[1, 1:])[0, 0])
