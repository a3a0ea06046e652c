"""One pass over the Gram matrices of many layers: neighbours, kernel values at the neighbours, and unbiased HSIC."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from jam.metrics.kernels.inputs import Centred
from jam.metrics.kernels.neighbours import Neighbours, joined, nearest

_BUDGET = 2**26  # numbers in a block of all Gram matrices: 256 MiB
_ROWS = 512  # rows of each, unless all fit
_TILE = 256  # rows of a triangle that are taken together


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
        neighbours: of each layer the neighbours of each row, or None; all of one width.
        kernels: (layers, n, width) entries of K at these neighbours in single precision, or None.
        products: (layers, layers) Σ_{i≠j} Ũ[i, j]·Ṽ[i, j] of the U-centred kernels in double precision, or None.
    """

    neighbours: list[Neighbours] | None
    kernels: Tensor | None
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
    # Neighbours alone are found sooner in blocks that are small beside the cache than by halving one large product.
    whole = count * n * n <= _BUDGET and (layers[0].kernel is not None or n <= 2 * _ROWS)
    step = n if whole else max(1, min(_ROWS, _BUDGET // (count * n)))
    lists = layers[0].cosine is not None
    found: list[list[Neighbours]] = [[] for _ in layers]
    values: list[list[Tensor]] = [[] for _ in layers]
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
                found[i].append(nearest(layer.features, layer.cosine, block, ranking, k))
                if weights:
                    values[i].append(gram.gather(1, found[i][-1].index))
        if hsic is not None:
            hsic.add(block)
    neighbours = joined(found) if lists else None
    kernels = None
    if weights:
        width = neighbours[0].index.shape[1] if neighbours else 0
        padded = [[pad(part, (0, width - part.shape[1])) for part in parts] for parts in values]
        kernels = torch.stack([torch.cat(parts) for parts in padded])
    return GramPass(neighbours, kernels, hsic.sums if hsic else None)


def _products(rows: Tensor, block: slice, out: Tensor) -> None:
    """Inner products of a block of rows with all rows; if the block is all of them, half are mirrored."""
    if block.stop - block.start < len(rows):
        torch.mm(rows[block], rows.T, out=out)
        return
    for tile in tiles(block):
        torch.mm(rows[tile], rows[tile.start :].T, out=out[tile, tile.start :])
        # Transposed contiguously: twice as fast as a copy across the strides of a large matrix.
        out[tile.stop :, tile] = out[tile, tile.stop :].contiguous().T.contiguous()


class HsicSums:
    """Σ_{i≠j} Ũ[i, j]·Ṽ[i, j] of the U-centred kernels of all layers, of which the upper triangles suffice.

    In terms of K, unbiased HSIC is a small difference of large sums; U-centred first, it is one sum, for which single
    precision is enough. The sums of a tile of rows are one (layers × n)·(n × layers) product for each row, added up
    over the rows in double precision. Memory is the triangles of one block, whatever n.
    """

    def __init__(self, kernels: Sequence[Centred], step: int) -> None:
        self.offsets = torch.stack([kernel.offsets() for kernel in kernels])
        count, n = self.offsets.shape
        self.sums = self.offsets.new_zeros(count, count, dtype=torch.float64)
        first = tiles(slice(0, step))
        self.memory = [self.offsets.new_empty(count * (tile.stop - tile.start) * (n - tile.start)) for tile in first]

    def take(self, layer: int, gram: Tensor, block: slice) -> None:
        """Take in a block of rows of the Gram matrix of a layer, (rows, n); the block may be no longer than a step."""
        offsets = self.offsets[layer]
        for tile, triangles in self._triangles(block):
            part = gram[tile.start - block.start : tile.stop - block.start, tile.start :]
            torch.add(part, offsets[tile.start :], out=triangles[layer]).add_(offsets[tile, None]).triu_(1)

    def add(self, block: slice) -> None:
        """Add the sums over a block that has been taken in from all layers."""
        for _, triangles in self._triangles(block):
            rows = triangles.transpose(0, 1)
            self.sums += 2 * torch.bmm(rows, rows.transpose(1, 2)).sum(0, dtype=torch.float64)

    def _triangles(self, block: slice) -> list[tuple[slice, Tensor]]:
        """Each tile of a block with its memory, (layers, rows, n − first row)."""
        count, n = self.offsets.shape
        shapes = [(tile, (count, tile.stop - tile.start, n - tile.start)) for tile in tiles(block)]
        pairs = zip(shapes, self.memory, strict=False)  # the last block may be shorter
        return [(tile, memory[: shape[0] * shape[1] * shape[2]].view(shape)) for (tile, shape), memory in pairs]


def tiles(block: slice) -> list[slice]:
    """The rows of a block, a tile at a time."""
    return [slice(start, min(start + _TILE, block.stop)) for start in range(block.start, block.stop, _TILE)]
