"""Unbiased HSIC of all pairs of kernels, from Gram matrices that come by blocks of rows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jam.metrics.kernels.inputs import Centred

_TILE = 256  # rows of a triangle that are taken together


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
