"""Sums over pairs of rows, those of one side permuted: of neighbours by tables, of kernels by Fourier transform."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from jam.metrics.kernels.cka import u_offsets
from jam.metrics.kernels.gram import Centred
from jam.metrics.kernels.neighbours import Neighbours
from jam.metrics.kernels.nulls import RowOrders

Kernel = TypeVar("Kernel", Centred, Tensor)

Bands = Callable[[int, int], Tensor]
"""Called with (first, last): bands first ≤ δ < last of the kernel of every layer, (layers, n, last − first)."""

_TABLE = 2**22  # numbers in a table of `overlaps`: 16 MiB, which stays in cache
_BANDS = 2**25  # numbers in a block of bands: 128 MiB in single precision, and as much again for the transforms


def overlaps(
    layers: Sequence[Neighbours], weights: Sequence[Tensor], split: int, orders: RowOrders | None = None
) -> Tensor:
    """Σ_ij w_ij·v_ij over the entries (i, j) that two layers have in common, for all pairs and orders of the rows of y.

    ``split`` layers are of x, the others of y; ``weights`` are the (entries,) w or v of each. Gives (P, layers of x,
    layers of y) sums in double precision, P = 1 for the one order that the rows have if ``orders`` is None.
    """
    x, y = layers[:split], layers[split:]
    n, device = int(x[0].rows[-1]) + 1, x[0].rows.device
    order_of = torch.arange(n)[None] if orders is None else torch.from_numpy(orders.matrix())
    # Where each row of y has come to lie: neighbour j in y is row places[j] of x.
    order_of = order_of.to(device)
    places = torch.empty_like(order_of).scatter_(1, order_of, torch.arange(n, device=device).expand_as(order_of))
    sums = torch.zeros(len(places), len(x), len(y), dtype=torch.float64, device=device)
    indicators = torch.eye(len(y), dtype=torch.float64, device=device)
    taken = _RowsOfLayers(y, weights[split:], n)
    step = max(1, min(n, _TABLE // (n * len(x))))
    listed = torch.empty(step * n, dtype=torch.bool, device=device)
    dtype = torch.float64 if any(shares.dtype == torch.float64 for shares in weights) else torch.float32
    table = torch.empty(step * n, len(x), dtype=dtype, device=device)
    bounds = torch.arange(0, n + step, step, device=device).clamp_(max=n)
    ends = [torch.searchsorted(layer.rows, bounds).tolist() for layer in x]
    for block, start in enumerate(range(0, n, step)):
        # A table of the pairs (i, j) that x lists, one column for each layer. Few of the pairs that y lists are in it,
        # and a table of bits, small enough for the cache, tells which.
        listed.zero_()
        table.zero_()
        for i, (layer, shares) in enumerate(zip(x, weights, strict=False)):
            entries = slice(ends[i][block], ends[i][block + 1])
            keys = (layer.rows[entries] - start) * n + layer.columns[entries]
            listed[keys] = True
            table[keys, i] = shares[entries].to(dtype)
        for p, order in enumerate(order_of):
            (layer_of, row_of), columns, values = taken(order[start : start + step])
            pairs = places[p].index_select(0, columns).add_(row_of, alpha=n)
            hits = listed.index_select(0, pairs).nonzero().squeeze(1)
            found = indicators.index_select(0, layer_of[hits]) * values[hits, None]
            sums[p] += table.index_select(0, pairs[hits]).double().T @ found
    return sums


class _RowsOfLayers:
    """The entries of some rows in all layers at once, quickly where every row has as many."""

    def __init__(self, layers: Sequence[Neighbours], weights: Sequence[Tensor], n: int) -> None:
        self.columns, self.weights = torch.cat([layer.columns for layer in layers]), torch.cat(list(weights))
        self.sizes = torch.stack([torch.bincount(layer.rows, minlength=n) for layer in layers])
        self.first = (self.sizes.flatten().cumsum(0) - self.sizes.flatten()).view_as(self.sizes)
        self.even = bool((self.sizes == self.sizes[0, 0]).all())
        self.origin = self.sizes.new_empty(2, 0)

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each entry: its layer and the place of its row among the rows, (2, entries), its column, its weight."""
        if not self.even:
            sizes = self.sizes[:, rows].flatten()
            shift = self.first[:, rows].flatten() - (sizes.cumsum(0) - sizes)
            entries = torch.arange(int(sizes.sum()), device=rows.device) + shift.repeat_interleave(sizes)
            lists = torch.arange(len(sizes), device=rows.device).repeat_interleave(sizes)
            return self._origin(lists, len(rows)), self.columns[entries], self.weights[entries]
        shape = (*self.sizes.shape, int(self.sizes[0, 0]))
        columns, weights = (end.view(shape).index_select(1, rows).flatten() for end in (self.columns, self.weights))
        if self.origin.shape[1] != len(columns):
            self.origin = self._origin(torch.arange(len(columns), device=rows.device) // shape[2], len(rows))
        return self.origin, columns, weights

    def _origin(self, lists: Tensor, rows: int) -> Tensor:
        return torch.stack((lists // rows, lists % rows))


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

    ``bands``, `feature_bands` or `matrix_bands`, is called with the kernels of a side, one a layer, and the layout of
    their rows. Gives (permutations, layers of x, layers of y) sums in double precision.
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
    wrapped = [(layer.rows.index_select(0, places), u_offsets(layer)[places]) for layer in features]

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
    step = max(1, min(half, _BANDS // (layers * n)))
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
