"""CKNNA and SVCCA as the public code of Huh et al. 2024 computes them, so that numbers compare with published ones.

They differ from `jam.metrics.cknna` and `jam.metrics.svcca`, and so have names of their own. That code (platonic-rep)
divides rows by their lengths and clips outliers first: `clip_outliers` and the ``normalize`` of `layer_alignment`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import Array, as_rows, full_precision, matching_pair
from jam.metrics.kernels.cca import left_vectors, mean_correlation
from jam.metrics.kernels.inputs import Groups, centre, group_codes, row_scales, scaled_rows
from jam.metrics.kernels.neighbours import check_k

_COMPONENTS = 10


def clip_outliers(x: Array, q: float = 0.95) -> np.ndarray:
    """Features with every number brought into [−t, t], t the q-quantile of their absolute values; (n, d) float64.

    Args:
        x: (n, d) features.
        q: share of the numbers that stay as they are, in (0, 1]; published numbers have .95.

    Raises:
        ValueError: q out of range, or x of another shape.
    """
    if not 0 < q <= 1:
        raise ValueError(f"q: got {q}, expected a share in (0, 1]")
    rows = as_rows(x, "x").double()
    if q == 1:
        return rows.cpu().numpy()
    sizes = rows.abs().flatten().sort().values
    limit = float(sizes[int(q * len(sizes))])
    return rows.clamp(-limit, limit).cpu().numpy()


@dataclass(frozen=True)
class MaskedKernel:
    """A Gram matrix of rows as given, and which of its entries are among the k largest of their row."""

    kernel: Tensor
    mask: Tensor

    @classmethod
    def of(cls, x: Tensor, name: str, unit: bool, k: int, codes: Tensor | None) -> "MaskedKernel":
        """Of (n, d) features: ``unit`` divides rows by their lengths; rows of one code are never neighbours."""
        centre(x, name, unit)  # refuses what does not vary
        rows = scaled_rows(x, row_scales(x, name, unit)) if unit else x.double()
        kernel = rows @ rows.T
        ranking = kernel.clone().fill_diagonal_(-torch.inf)
        if codes is not None:
            ranking.masked_fill_(codes[:, None] == codes, -torch.inf)
        mask = torch.zeros_like(kernel).scatter_(1, ranking.topk(k, dim=1).indices, 1.0)
        return cls(kernel, mask)

    def permuted(self, order: Tensor) -> "MaskedKernel":
        """The same with its rows in another order."""
        return MaskedKernel(self.kernel[order][:, order], self.mask[order][:, order])

    def alignment(self, other: "MaskedKernel") -> float:
        """CKNNA: unbiased HSIC of both kernels under both masks, over the root of that of each with itself."""
        mask = self.mask * other.mask
        cross = _hsic(mask * self.kernel, mask * other.kernel)
        one, two = (_hsic(side.mask * side.kernel, side.mask * side.kernel) for side in (self, other))
        if not one * two > 0:
            raise InputError(f"cknna_platonic: got self terms {one:.3g} and {two:.3g}, expected both above 0")
        return cross / ((one * two) ** 0.5 + 1e-6)  # their term, which lowers small scores


def _hsic(k: Tensor, m: Tensor) -> float:
    """Unbiased HSIC of Song et al. 2012, eq. 5, of matrices with a zero diagonal that need not be symmetric."""
    n = len(k)
    total = (k * m.T).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ m.sum(1))
    return float(total) / (n * (n - 3))


@torch.no_grad()
def cknna_platonic(x: Array, y: Array, k: int = 10, groups: Groups = None) -> float:
    """CKNNA of Huh et al.'s code: unbiased HSIC of uncentred kernels, each masked by the neighbours common to both.

    `jam.metrics.cknna` follows the text of the paper: kernels are centred and products summed over common neighbours.
    Neighbours here are by inner product, of equals those that come first, and (n, n) matrices are held.

    Args:
        x, y: (n, d1) and (n, d2) features of the same rows, as given; that code divides them by their lengths before.
        k: neighbours, from 2 to n − 1.
        groups: as in `mutual_knn`.

    Raises:
        ValueError: shapes do not match, fewer than 4 rows, k out of range.
        InputError: features with NaN or infinity, or that do not vary.
    """
    a, b = matching_pair(x, y, minimum=4)
    codes = group_codes(groups, len(a), a.device)
    check_k(k, len(a), codes)
    with full_precision(a.device):
        one, other = (MaskedKernel.of(z, name, False, k, codes) for z, name in ((a, "x"), (b, "y")))
        return one.alignment(other)


def standardised_basis(x: Tensor, name: str, unit: bool) -> Tensor:
    """Orthonormal basis (n, r) of the 10 leading principal components of columns brought to unit variance."""
    rows = centre(x, name, unit, dtype=torch.float64).rows
    deviations = rows.std(dim=0)
    rows = rows / torch.where(deviations > 1e-8 * deviations.max(), deviations, torch.inf)
    return left_vectors(rows)[0][:, :_COMPONENTS]


@torch.no_grad()
def svcca_platonic(x: Array, y: Array) -> float:
    """SVCCA of Huh et al.'s code: columns to unit variance, 10 principal components, their mean canonical correlation.

    `jam.metrics.svcca` does not scale columns and keeps 99 % of the variance. That code takes a randomised SVD and an
    iterative CCA, and adds noise; here both are exact, which is what it approximates.

    Args:
        x, y: (n, d1) and (n, d2) features of the same rows.

    Raises:
        ValueError: shapes do not match.
        InputError: features with NaN or infinity, or constant.
    """
    a, b = matching_pair(x, y)
    with full_precision(a.device):
        return mean_correlation(standardised_basis(a, "x", False), standardised_basis(b, "y", False))
