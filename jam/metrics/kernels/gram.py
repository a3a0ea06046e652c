"""One pass over the Gram matrices of many layers: neighbours, kernel values at the neighbours, and HSIC sums."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jam.metrics.kernels.inputs import Centred
from jam.metrics.kernels.neighbours import nearest

_BUDGET = 2**25  # numbers in a block of all Gram matrices: 128 MiB
_TILE = 256  # rows at a time of a symmetric product
_ROWS = 512  # rows of each, unless all fit


@dataclass(frozen=True)
class Layer:
    """One layer, ready for the pass.

    Attributes:
        features: (n, d) as given.
        kernel: the centred rows whose Gram matrix is the kernel; None if only neighbours are wanted.
        cosine: the centred unit rows that rank the neighbours; None if no neighbours are wanted, and the same object
            as ``kernel`` if rows are normalised: then one product serves both.
    """

    features: Tensor
    kernel: Centred | None
    cosine: Centred | None


@dataclass(frozen=True)
class GramPass:
    """What one pass gives; K is the centred Gram matrix of a layer.

    Attributes:
        neighbours: (layers, n, k) indices of the neighbours of each row, or None.
        weights: (layers, n, k) entries of K at these neighbours in single precision, or None.
        products: (layers, layers) Σ_{i≠j} K[i, j]·L[i, j] in double precision, or None.
    """

    neighbours: Tensor | None
    weights: Tensor | None
    products: Tensor | None


def gram_pass(layers: Sequence[Layer], k: int, codes: Tensor | None, weights: bool, products: bool) -> GramPass:
    """Compute each Gram matrix once, by blocks of rows, and take from a block all that is wanted.

    Products are in single precision. The HSIC sums of a block are one (layers × n)·(n × layers) product for each row,
    added up over the rows in double precision. Memory is one block of every layer, whatever n.

    Args:
        layers: layers of both encoders; either all have neighbours or none, likewise kernels.
        k: neighbours; not used if no layer has ``cosine``.
        codes: (n,) group of each row; rows of one group are never neighbours. None: every row is its own group.
        weights: return kernel values at the neighbours.
        products: return HSIC sums.
    """
    n, device, count = len(layers[0].features), layers[0].features.device, len(layers)
    step = n if count * n * n <= _BUDGET else max(1, min(_ROWS, _BUDGET // (count * n)))
    lists = layers[0].cosine is not None
    found = torch.empty(count, n, k if lists else 0, dtype=torch.int64, device=device)
    values = torch.empty(count, n, k if weights else 0, dtype=torch.float32, device=device)
    sums = torch.zeros(count, count, dtype=torch.float64, device=device)
    grams = torch.empty(count if products else 1, step, n, dtype=torch.float32, device=device)
    scratch = torch.empty(step if lists else 0, n, dtype=torch.float32, device=device)
    if products:
        squares = torch.stack([layer.kernel.squares for layer in layers if layer.kernel])
        traces = squares.sum(1)
        # U-centring (Székely & Rizzo 2014): off its diagonal, each row of K + r1ᵀ + 1rᵀ sums to zero, and the sum of
        # products is unbiased HSIC itself, which thus is no small difference of large sums in single precision.
        offsets = ((squares - traces[:, None] / (2 * (n - 1))) / (n - 2)).float()
    for start in range(0, n, step):
        block = slice(start, min(start + step, n))
        size = block.stop - start
        same_group = None if codes is None else codes[block, None] == codes
        for i, layer in enumerate(layers):
            gram = grams[i if products else 0, :size]
            if layer.kernel is not None:
                _products(layer.kernel.rows, block, out=gram)
            if layer.cosine is not None:
                ranking, lengths = scratch[:size], layer.cosine.squares.float()
                if layer.cosine is not layer.kernel:
                    _products(layer.cosine.rows, block, out=ranking)
                torch.sub(gram if layer.cosine is layer.kernel else ranking, lengths, alpha=0.5, out=ranking)
                ranking[:, block].fill_diagonal_(-torch.inf)
                if same_group is not None:
                    ranking.masked_fill_(same_group, -torch.inf)
                found[i, block] = nearest(layer.features, layer.cosine, block, ranking, k)
                if weights:
                    values[i, block] = gram.gather(1, found[i, block])
            if products:
                gram.add_(offsets[i]).add_(offsets[i, block, None])
                gram[:, block].fill_diagonal_(0)
        if products:
            rows = grams[:, :size].transpose(0, 1)
            sums += torch.bmm(rows, rows.transpose(1, 2)).sum(0, dtype=torch.float64)
    if products:
        sums += 2 / (n - 2) * (squares @ squares.T) - torch.outer(traces, traces) / ((n - 1) * (n - 2))
    return GramPass(found if lists else None, values if weights else None, sums if products else None)


def _products(rows: Tensor, block: slice, out: Tensor) -> None:
    """Inner products of a block of rows with all rows; if the block is all of them, half are mirrored."""
    if block.stop - block.start < len(rows):
        torch.mm(rows[block], rows.T, out=out)
        return
    for start in range(0, len(rows), _TILE):
        stop = start + _TILE
        torch.mm(rows[start:stop], rows[start:].T, out=out[start:stop, start:])
        out[stop:, start:stop] = out[start:stop, stop:].T
