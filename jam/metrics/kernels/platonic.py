"""CKNNA and SVCCA as the public code of Huh et al. 2024 computes them, so that numbers compare with published ones.

They differ from `jam.metrics.cknna` and `jam.metrics.svcca`, and so have names of their own. Like that code
(platonic-rep) they divide rows by their lengths first; before that it clips outliers: `clip_outliers`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import Array, Groups, as_rows, full_precision, pair_cosines, paired_rows, row_norms
from jam.metrics.kernels.gram import centre
from jam.metrics.kernels.linear import mean_correlation, principal_basis
from jam.metrics.kernels.neighbours import Neighbours, check_k, common, group_codes, nearest

_COMPONENTS = 10


def clip_outliers(x: Array, q: float = 0.95) -> np.ndarray:
    """Features with every number brought into [−t, t], t the q-quantile of their absolute values; (n, d) float64.

    Args:
        x: (n, d) features; of a model with one threshold for all its layers, the layers side by side.
        q: share of the numbers that stay as they are, in (0, 1]; published numbers have .95.

    Raises:
        ValueError: q out of range, or x of another shape.
    """
    if not 0 < q <= 1:
        raise ValueError(f"q: got {q}, expected a share in (0, 1]")
    rows = as_rows(x, "x").double().cpu().numpy()
    sizes = np.sort(np.abs(rows), axis=None)
    limit = sizes[min(int(q * sizes.size), sizes.size - 1)]
    return np.clip(rows, -limit, limit)


@torch.no_grad()
def cknna_platonic(x: Array, y: Array, k: int = 10, groups: Groups = None) -> float:
    """CKNNA of Huh et al.'s code: unbiased HSIC of the kernels of unit rows, masked by the neighbours common to both.

    `jam.metrics.cknna` follows the text of the paper: kernels are centred, and products summed over common neighbours.
    Here HSIC takes the masked kernels, which are neither centred nor symmetric, as whole ones, and x and y can't be
    exchanged. Their 10⁻⁶ in the denominator, which lowers small scores, is kept. Neighbours that tie count by their
    share; that code takes any of them.

    Args:
        x: (n, d1) features.
        y: (n, d2) features of the same rows.
        k: neighbours, less than n.
        groups: as in `mutual_knn`.

    Raises:
        ValueError: shapes do not match, fewer than 4 rows, k out of range.
        InputError: features with NaN or infinity, zero rows, rows that all point the same way.
    """
    a, b = paired_rows(x, y, minimum=4)
    codes = group_codes(groups, len(a), a.device)
    check_k(k, len(a), codes)
    with full_precision(a.device):
        return MaskedKernel.of(a, "x", k, codes).alignment(MaskedKernel.of(b, "y", k, codes))


@torch.no_grad()
def svcca_platonic(x: Array, y: Array) -> float:
    """SVCCA of Huh et al.'s code: unit rows, columns to unit variance, 10 components, mean canonical correlation.

    `jam.metrics.svcca` does not scale columns and keeps 99 % of the variance. That code takes a randomised SVD and an
    iterative CCA, and adds noise; here both are exact, which is what it approximates.

    Args:
        x: (n, d1) features.
        y: (n, d2) features of the same rows.

    Raises:
        ValueError: shapes do not match.
        InputError: features with NaN or infinity, zero rows, rows that all point the same way.
    """
    a, b = paired_rows(x, y, minimum=2)
    with full_precision(a.device):
        return mean_correlation(standardised_basis(a, "x"), standardised_basis(b, "y"))


def standardised_basis(x: Tensor, name: str) -> Tensor:
    """Orthonormal basis (n, r) of the 10 leading principal components of unit rows, columns at unit variance."""
    rows = centre(x, name, unit=True, dtype=torch.float64).rows
    deviations = rows.std(dim=0)
    return principal_basis(rows / torch.where(deviations > 1e-8 * deviations.max(), deviations, torch.inf), _COMPONENTS)


@dataclass(frozen=True)
class MaskedKernel:
    """The neighbours of each row, their cosines, and HSIC of the kernel that has these alone with itself."""

    neighbours: Neighbours
    cosines: Tensor
    own: float

    @classmethod
    def of(cls, x: Tensor, name: str, k: int, codes: Tensor | None) -> "MaskedKernel":
        """Of (n, d) features; rows of one code are never neighbours."""
        found, norms = nearest(centre(x, name, unit=True), k, codes), row_norms(x, name)
        cosines = pair_cosines(x, norms, found.rows, x, norms, found.columns)
        own = _hsic(found.rows, found.columns, found.shares**2 * cosines, found.shares**2 * cosines, len(x))
        if not own > 0:
            raise InputError(f"{name}: got {own:.3g} for the masked kernel with itself, expected more than 0")
        return cls(found, cosines, own)

    def alignment(self, other: "MaskedKernel", order: Tensor | None = None) -> float:
        """CKNNA with another kernel, its rows in another order if one is given."""
        mine, its = self.neighbours, other.neighbours
        i, j = common(mine, its, order)
        mask = mine.shares[i].double() * its.shares[j]
        n = int(mine.rows[-1]) + 1
        cross = _hsic(mine.rows[i], mine.columns[i], mask * self.cosines[i], mask * other.cosines[j], n)
        return cross / ((self.own * other.own) ** 0.5 + 1e-6)


def _hsic(rows: Tensor, columns: Tensor, a: Tensor, b: Tensor, n: int) -> float:
    """Unbiased HSIC (Song et al. 2012, eq. 5) of two (n, n) matrices, a and b at some places and 0 elsewhere."""
    keys, order = (rows * n + columns).sort()
    mirrored = columns * n + rows
    at = torch.searchsorted(keys, mirrored).clamp_(max=max(0, len(keys) - 1))
    both = keys[at] == mirrored if len(keys) else torch.zeros(0, dtype=torch.bool)
    product = (a[both] * b[order[at[both]]]).sum()
    a_sums, b_sums = (torch.zeros(n, dtype=torch.float64, device=a.device) for _ in range(2))
    a_sums.index_add_(0, columns, a)
    b_sums.index_add_(0, rows, b)
    total = product + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (a_sums @ b_sums)
    return float(total) / (n * (n - 3))
