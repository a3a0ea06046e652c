"""Centred kernel alignment, biased and unbiased, from sums of products of centred kernels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import Array, full_precision, matching_pair
from jam.metrics.kernels.inputs import centre

_FLAT = 1e-10  # an unbiased HSIC below this share of (tr K)² is what rounding left of zero
_SAME = 1e-14  # squared distances below this share of the squared lengths are rounding too


def unbiased_from_plain(products: Tensor, diagonals: Tensor, traces: Tensor, n: int) -> Tensor:
    """Unbiased HSIC of centred kernels times n(n − 3) (Song et al. 2012, eq. 5), from sums in terms of K and L.

    It is tr(K̃L̃) + 1ᵀK̃1·1ᵀL̃1/((n−1)(n−2)) − 2/(n−2)·1ᵀK̃L̃1, with the tilde for a zero diagonal, and does not change
    when K is centred first. Then rows of K sum to zero and rows of K̃ to −K_ii: 1ᵀK̃1 = −tr K, 1ᵀK̃L̃1 = Σ K_ii·L_ii.

    Args:
        products: Σ_{i≠j} K[i, j]·L[i, j], of any shape.
        diagonals: Σ_i K[i, i]·L[i, i], of the same shape.
        traces: tr K · tr L, of the same shape.
        n: rows.
    """
    return products + traces / ((n - 1) * (n - 2)) - diagonals * (2 / (n - 2))


def biased_from_unbiased(unbiased: Tensor, diagonals: Tensor, traces: Tensor, n: int) -> Tensor:
    """Biased HSIC tr(KL) of centred kernels (Gretton et al. 2005) from what `unbiased_from_plain` gives."""
    return unbiased - traces / ((n - 1) * (n - 2)) + diagonals * (n / (n - 2))


def check_unbiased(selves: Tensor, traces: Tensor, names: Sequence[str]) -> None:
    """Unbiased HSIC of each kernel with itself, (layers,), has to be above zero; ``traces`` (layers,) are tr K.

    Raises:
        InputError: it is zero, because all entries of a kernel off its diagonal are equal.
    """
    for name, flat in zip(names, (selves <= _FLAT * traces.square()).tolist(), strict=True):
        if flat:
            raise InputError(f"{name}: all rows are equally far apart, which leaves unbiased CKA undefined")


def alignment(cross: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Cross terms (…, a, b) over the roots of the self terms (a,) and (b,), at most 1 whatever the rounding."""
    return (cross / xs.sqrt()[:, None] / ys.sqrt()).clamp_(max=1)


@torch.no_grad()
def cka(x: Array, y: Array, kernel: str = "linear", unbiased: bool = True) -> float:
    """Centred kernel alignment of two sets of features, in double precision.

    CKA = HSIC(K, L) / √(HSIC(K, K)·HSIC(L, L)). The biased estimate grows with d/n and reads .68 for independent noise
    at n = 256; the unbiased one stays near 0 and may fall below it.

    Args:
        x, y: (n, d1) and (n, d2) features of the same rows, as given; columns are centred here.
        kernel: "linear", or "rbf": exp(−|x_i − x_j|²/(2σ²)) with σ the median distance of two rows. The latter
            holds a few n × n matrices.
        unbiased: HSIC of Song et al. in the numerator and in both denominators; needs n ≥ 4.

    Raises:
        ValueError: shapes do not match, too few rows, unknown kernel.
        InputError: features with NaN or infinity; constant features; rows all equally far apart (unbiased).

    References:
        Kornblith et al. 2019, Similarity of neural network representations revisited; Song et al. 2012, Feature
        selection via dependence maximization, eq. 5.
    """
    if kernel not in ("linear", "rbf"):
        raise ValueError(f"kernel: got {kernel!r}, expected 'linear' or 'rbf'")
    a, b = matching_pair(x, y, minimum=4 if unbiased else 2)
    n = len(a)
    with full_precision(a.device):
        p = centre(a, "x", unit=False, dtype=torch.float64)
        q = centre(b, "y", unit=False, dtype=torch.float64)
        if kernel == "linear":
            squares = torch.stack((p.squares, q.squares))
            inner = torch.stack([_features_inner(*pair) for pair in _pairs(p.rows, q.rows)])
        else:
            k, m = rbf_kernel(p.rows, "x"), rbf_kernel(q.rows, "y")
            squares = torch.stack((k.diagonal(), m.diagonal()))
            inner = torch.stack([_inner(*pair) for pair in _pairs(k, m)])
        if unbiased:
            diagonals = torch.stack([_inner(*pair) for pair in _pairs(*squares)])
            traces = squares.sum(1)
            both = torch.stack([one * other for one, other in _pairs(*traces)])
            inner = unbiased_from_plain(inner - diagonals, diagonals, both, n)
            check_unbiased(inner[:2], traces, ("x", "y"))
        return float(alignment(inner[2:], inner[:1], inner[1:2]))


def rbf_kernel(rows: Tensor, name: str) -> Tensor:
    """Gaussian kernel of rows, its width the median distance of two of them, centred in rows and columns; (n, n).

    Raises:
        InputError: half of all pairs of rows are equal.
    """
    gram = rows @ rows.T
    lengths = gram.diagonal()[:, None] + gram.diagonal()
    squared = (lengths - 2 * gram).masked_fill_(lengths - 2 * gram <= _SAME * lengths, 0).fill_diagonal_(0)
    above = squared[torch.ones_like(squared, dtype=torch.bool).triu_(1)].sqrt_()
    middle = (len(above) + 1) // 2, len(above) // 2 + 1  # one place or the two around the middle
    median = sum(float(above.kthvalue(place).values) for place in middle) / 2
    if median == 0:
        raise InputError(f"{name}: half of all pairs of rows are equal, so their median distance is 0")
    kernel = torch.exp(squared / (-2 * median**2))
    means = kernel.mean(0)
    return kernel - means - means[:, None] + means.mean()


def _pairs(x: Tensor, y: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    return (x, x), (y, y), (x, y)


def _inner(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.vecdot(x.flatten(), y.flatten())


def _features_inner(x: Tensor, y: Tensor) -> Tensor:
    """tr(XXᵀYYᵀ), by whichever matrix is smaller."""
    if x.shape[1] * y.shape[1] <= len(x) ** 2:
        return (x.T @ y).square().sum()
    return _inner(x @ x.T, y @ y.T)
