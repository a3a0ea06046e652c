"""Sums of products of two kernels with the rows of one permuted, by the correlation theorem."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from jam.metrics.kernels.inputs import Centred
from jam.metrics.kernels.nulls import RowOrders

Kernel = TypeVar("Kernel", Centred, Tensor)

Bands = Callable[[int, int], Tensor]
"""Called with (first, last): bands first ≤ δ < last of the kernel of every layer, (layers, n, last − first)."""

_BUDGET = 2**25  # numbers in a block of bands: 128 MiB in single precision, and as much again for the transforms


def shift_products(
    orders: RowOrders,
    x: Sequence[Kernel],
    y: Sequence[Kernel],
    bands: Callable[[Sequence[Kernel], Tensor], Bands],
    device: torch.device,
) -> Tensor:
    """Σ_{i≠j} K[i, j]·L[π(i), π(j)] for every permutation π and every pair of kernels K of x and L of y.

    In the layout of a round, π shifts places: with the bands K'[p, δ] = K[p, p + δ], indices modulo n, the sum is
    Σ_δ Σ_p K'[p, δ]·L'[p + s, δ], for each δ a circular correlation over p, so that its Fourier transform is a product.
    Kernels are symmetric, hence bands δ and n − δ give the same sum and half of the bands suffice. All n − 1 shifts
    together cost about as much as computing the kernels, and memory is one block of bands, whatever n.

    Args:
        orders: the permutations.
        x, y: one kernel for each layer of an encoder, in the form that ``bands`` takes.
        bands: `feature_bands` or `matrix_bands`; called with kernels and the layout of their rows.
        device: of the kernels.

    Returns:
        (permutations, layers of x, layers of y) sums in double precision.
    """
    sums = []
    for layout, shifts in zip(orders.layouts, orders.shifts, strict=True):
        places = torch.from_numpy(layout).to(device)
        by_shift = _all_shifts(bands(x, places), bands(y, places), len(layout), len(x) + len(y))
        sums.append(by_shift[torch.from_numpy(shifts).to(device)])
    return torch.cat(sums)


def feature_bands(features: Sequence[Centred], layout: Tensor) -> Bands:
    """Bands of the U-centred Gram matrices of features, whose rows are laid out in the given order."""
    n = len(layout)
    places = torch.cat((layout, layout[: n // 2]))
    wrapped = [(layer.rows.index_select(0, places), layer.offsets()[places]) for layer in features]

    def bands(first: int, last: int) -> Tensor:
        out = torch.empty(len(features), n, last - first, dtype=wrapped[0][0].dtype, device=layout.device)
        tile = max(64, (last - first) // 4)  # a tile computes (tile + bands) columns for the sake of bands
        for layer, (rows, offsets) in enumerate(wrapped):
            for start in range(0, n, tile):
                stop = min(start + tile, n)
                columns = slice(start + first, stop + last - 1)
                gram = (rows[start:stop] @ rows[columns].T).add_(offsets[columns]).add_(offsets[start:stop, None])
                out[layer, start:stop] = _skew(gram, last - first)
        return out

    return bands


def matrix_bands(matrices: Sequence[Tensor], layout: Tensor) -> Bands:
    """Bands of symmetric matrices (n, n), whose rows and columns are laid out in the given order."""
    n = len(layout)
    columns = torch.cat((layout, layout[: n // 2]))
    wrapped = torch.stack([matrix[layout][:, columns] for matrix in matrices])

    def bands(first: int, last: int) -> Tensor:
        return torch.stack([_skew(matrix[:, first : n + last - 1].contiguous(), last - first) for matrix in wrapped])

    return bands


def _skew(matrix: Tensor, width: int) -> Tensor:
    """Entry (p, δ) is matrix[p, p + δ]; the matrix (rows, rows + width − 1) must be contiguous."""
    return matrix.as_strided((len(matrix), width), (matrix.shape[1] + 1, 1))


def _all_shifts(x: Bands, y: Bands, n: int, layers: int) -> Tensor:
    """Σ_{p≠q} K[p, q]·L[p + s, q + s] by shift s, (n, layers of x, layers of y)."""
    half = n // 2
    step = max(1, min(half, _BUDGET // (layers * n)))
    spectrum: Tensor | None = None
    for first in range(1, half + 1, step):
        last = min(first + step, half + 1)
        fx, fy = torch.fft.rfft(x(first, last), dim=1), torch.fft.rfft(y(first, last), dim=1)
        if last > half and n % 2 == 0:
            fx[:, :, -1] *= 0.5  # band n/2 is its own mirror image
        block = torch.bmm(fx.conj().transpose(0, 1), fy.permute(1, 2, 0)).to(torch.complex128)
        spectrum = block if spectrum is None else spectrum.add_(block)
    assert spectrum is not None
    return 2 * torch.fft.irfft(spectrum, n=n, dim=0)
