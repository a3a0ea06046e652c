"""Features on their way into a kernel metric: checked, upcast, centred, and scaled so that nothing can overflow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import Array, as_rows, chunks, matching_pair

Groups = Array | Sequence[object] | None

_CONSTANT = 1e-12  # rows that differ by less than this, relatively, differ by rounding alone


@dataclass(frozen=True)
class Centred:
    """Features minus their column means, scaled by a power of two so that the longest row has length in [½, 1).

    All metrics of this package ignore an isotropic scale, and scaling by a power of two rounds nothing.

    Attributes:
        rows: (n, d) centred rows, (scale · features − mean) · stretch, rounded to the type asked for.
        squares: (n,) their squared lengths in double precision: the diagonal of the Gram matrix.
        scales: (n,) what each row was multiplied with before centring, in double precision.
        mean: (d,) the mean that was subtracted, in double precision.
        stretch: the power of two.
    """

    rows: Tensor
    squares: Tensor
    scales: Tensor
    mean: Tensor
    stretch: float

    def offsets(self) -> Tensor:
        """r with which the Gram matrix K becomes U-centred, Ũ = K + r1ᵀ + 1rᵀ off the diagonal, 0 on it; (n,).

        Then all rows of Ũ sum to zero, and Σ Ũ[i, j]·Ṽ[i, j] is n(n − 3) times unbiased HSIC (Székely & Rizzo 2014,
        Partial distance correlation, eq. 2.1-2.3). Needs n ≥ 3.
        """
        n = len(self.squares)
        return ((self.squares - self.squares.sum() / (2 * (n - 1))) / (n - 2)).to(self.rows.dtype)

    def exact(self, features: Tensor, index: Tensor) -> Tensor:
        """The rows named by ``index``, made again from the features, in double precision."""
        return scaled_rows(features[index], self.scales[index]).sub_(self.mean).mul_(self.stretch)


def matching_rows(xs: Sequence[Array], ys: Sequence[Array], minimum: int = 2) -> tuple[list[Tensor], list[Tensor]]:
    """Two lists of feature matrices whose rows belong together, as floating-point tensors on one device.

    Raises:
        ValueError: a list is empty; a matrix is not two-dimensional; numbers of rows or devices differ; fewer than
            ``minimum`` rows.
    """
    sides = {"xs": xs, "ys": ys}
    for name, side in sides.items():
        if isinstance(side, np.ndarray | Tensor) and side.ndim < 3:
            raise ValueError(f"{name}: got one array of shape {tuple(side.shape)}, expected a list of layers")
        if not len(side):
            raise ValueError(f"{name}: got no layer, expected at least one")
    first = as_rows(xs[0], "xs[0]")
    left, right = (
        [matching_pair(first, layer, minimum, ("xs[0]", f"{name}[{i}]"))[1] for i, layer in enumerate(side)]
        for name, side in sides.items()
    )
    return left, right


def group_codes(groups: Groups, n: int, device: torch.device) -> Tensor | None:
    """Group labels of any kind as (n,) integers, equal where the labels are equal; None stays None.

    A label that is missing (NaN or None) is a group of its own: of such rows nobody said that they belong together.

    Raises:
        ValueError: not one label for each row.
    """
    if groups is None:
        return None
    return torch.from_numpy(numbered(groups, n)).to(device)


def numbered(groups: Array | Sequence[object], n: int) -> NDArray[np.int64]:
    """Group labels of any kind as (n,) integers from 0, see `group_codes`.

    Raises:
        ValueError: not one label for each row.
    """
    labels = (
        groups.cpu().numpy()
        if isinstance(groups, Tensor)
        else np.asarray(groups, None if hasattr(groups, "dtype") else object)
    )
    if labels.shape != (n,):
        raise ValueError(f"groups: got shape {labels.shape}, expected ({n},), one label for each row")
    codes, uniques = pd.factorize(labels)
    missing = codes == -1
    codes[missing] = len(uniques) + np.arange(missing.sum())
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def scaled_rows(x: Tensor, scales: Tensor) -> Tensor:
    """Rows times their scales, in double precision."""
    return x.double() * scales[:, None]


def centre(x: Tensor, name: str, unit: bool, dtype: torch.dtype = torch.float32) -> Centred:
    """Centre the columns of x in double precision, then round once to ``dtype``.

    Centring first keeps what distinguishes the rows: of features with a mean cosine of .9999, a product of raw rows
    spends four of the seven digits of single precision on what all rows have in common.

    Args:
        x: (n, d) features of any floating-point type.
        name: how messages call them.
        unit: divide each row by its Euclidean length first.
        dtype: of the rows returned.

    Raises:
        InputError: a row holds NaN or infinity or, if ``unit``, is zero; all rows are the same.
    """
    n, d = x.shape
    scales = row_scales(x, name, unit)
    mean = torch.zeros(d, dtype=torch.float64, device=x.device)
    for rows, block in chunks(x):
        mean += scales[rows] @ block
    mean /= n
    centred = torch.empty(n, d, dtype=dtype, device=x.device)
    squares = torch.empty(n, dtype=torch.float64, device=x.device)
    for rows, block in chunks(x):
        centred[rows] = block.mul_(scales[rows, None]).sub_(mean)
        squares[rows] = torch.linalg.vector_norm(block, dim=1).square_()
    longest = math.sqrt(float(squares.max()))
    if longest <= _CONSTANT * math.sqrt(d):
        what = "all rows point the same way" if unit else "all rows are the same"
        raise InputError(f"{name}: {what}, expected features that vary ({n} rows, {d} dimensions)")
    stretch = math.ldexp(1.0, -math.frexp(longest)[1])
    return Centred(centred.mul_(stretch), squares.mul_(stretch**2), scales, mean, stretch)


def row_scales(x: Tensor, name: str, unit: bool) -> Tensor:
    """What to multiply each row with: 1 / its length if ``unit``, else 1 / the largest number in x; (n,).

    Raises:
        InputError: a row holds NaN or infinity or, if ``unit``, is zero.
    """
    sizes = torch.empty(len(x), dtype=torch.float64, device=x.device)
    for rows, block in chunks(x):
        sizes[rows] = torch.linalg.vector_norm(block, ord=2 if unit else math.inf, dim=1)
    odd = (~((sizes > 1e-140) & (sizes < 1e140))).nonzero().squeeze(1)
    if len(odd):
        block = x[odd].double()
        tops = block.abs().amax(1)
        if not tops.isfinite().all():
            row = int(odd[~tops.isfinite()][0])
            raise InputError(f"{name}: row {row} holds NaN or infinity, expected finite numbers")
        if unit:  # zero, or its squares under- or overflow
            if float(tops.min()) < 1e-300:
                raise InputError(f"{name}: row {int(odd[tops.argmin()])} is all zeros, expected rows with a direction")
            sizes[odd] = tops * torch.linalg.vector_norm(block / tops[:, None], dim=1)
    if unit:
        return sizes.reciprocal_()
    top = float(sizes.max())
    return sizes.fill_(1 / top if top > 1e-300 else 1)
