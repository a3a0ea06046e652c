"""One pass over the Gram matrices of many layers: neighbours, kernel values at the neighbours, and HSIC sums."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jam.metrics.kernels.hsic import HsicSums, tiles
from jam.metrics.kernels.inputs import Centred
from jam.metrics.kernels.neighbours import nearest

_BUDGET = 2**26  # numbers in a block of all Gram matrices: 256 MiB
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
        products: (layers, layers) Σ_{i≠j} Ũ[i, j]·Ṽ[i, j] of the U-centred kernels in double precision, or None.
    """

    neighbours: Tensor | None
    weights: Tensor | None
    products: Tensor | None


def gram_pass(layers: Sequence[Layer], k: int, codes: Tensor | None, weights: bool, products: bool) -> GramPass:
    """Compute each Gram matrix once, by blocks of rows in single precision, and take from a block all that is wanted.

    Memory is one block of every layer, whatever n.

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
    hsic = HsicSums([layer.kernel for layer in layers if layer.kernel], step) if products else None
    scratch = torch.empty(2, step, n, dtype=torch.float32, device=device)
    for start in range(0, n, step):
        block = slice(start, min(start + step, n))
        gram, ranking = scratch[:, : block.stop - start]
        same_group = None if codes is None else codes[block, None] == codes
        for i, layer in enumerate(layers):
            if layer.kernel is not None:
                _products(layer.kernel.rows, block, out=gram)
            if hsic is not None:
                hsic.take(i, gram, block)
            if layer.cosine is not None:
                if layer.cosine is not layer.kernel:
                    _products(layer.cosine.rows, block, out=ranking)
                lengths = layer.cosine.squares.float()
                torch.sub(gram if layer.cosine is layer.kernel else ranking, lengths, alpha=0.5, out=ranking)
                ranking[:, block].fill_diagonal_(-torch.inf)
                if same_group is not None:
                    ranking.masked_fill_(same_group, -torch.inf)
                found[i, block] = nearest(layer.features, layer.cosine, block, ranking, k)
                if weights:
                    values[i, block] = gram.gather(1, found[i, block])
        if hsic is not None:
            hsic.add(block)
    return GramPass(found if lists else None, values if weights else None, hsic.sums if hsic else None)


def _products(rows: Tensor, block: slice, out: Tensor) -> None:
    """Inner products of a block of rows with all rows; if the block is all of them, half are mirrored."""
    if block.stop - block.start < len(rows):
        torch.mm(rows[block], rows.T, out=out)
        return
    for tile in tiles(block):
        torch.mm(rows[tile], rows[tile.start :].T, out=out[tile, tile.start :])
        # Transposed contiguously: twice as fast as a copy across the strides of a large matrix.
        out[tile.stop :, tile] = out[tile, tile.stop :].contiguous().T.contiguous()
