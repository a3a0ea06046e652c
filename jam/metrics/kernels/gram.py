"""Gram matrices: features centred so that single precision is enough, and their products, a block of rows at a time."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import double_chunks, require_finite, row_norms

_CONSTANT = 1e-12  # rows that differ by less than this, relatively, differ by rounding alone
_BUDGET = 2**26  # numbers in a block of all Gram matrices: 256 MiB
_ROWS = 512  # rows of each, unless all fit
_TILE = 256  # rows of a triangle that are taken together


@dataclass(frozen=True)
class Centred:
    """Features minus their column means, scaled by a power of two so that the longest row has length in [½, 1).

    All metrics of this package ignore an isotropic scale, and scaling by a power of two rounds nothing.

    Attributes:
        features: (n, d) as given.
        rows: (n, d) centred rows, (scale · features − mean) · stretch, rounded to the type asked for.
        squares: (n,) their squared lengths in double precision: the diagonal of the Gram matrix.
        scales: (n,) what each row was multiplied with before centring, in double precision.
        mean: (d,) the mean that was subtracted, in double precision.
        stretch: the power of two.
    """

    features: Tensor
    rows: Tensor
    squares: Tensor
    scales: Tensor
    mean: Tensor
    stretch: float

    def exact(self, index: Tensor) -> Tensor:
        """The rows named by ``index``, made again from the features, in double precision."""
        return (self.features[index].double() * self.scales[index, None]).sub_(self.mean).mul_(self.stretch)


def centre(x: Tensor, name: str, unit: bool, dtype: torch.dtype = torch.float32) -> Centred:
    """Centre the columns of x in double precision, then round once to ``dtype``.

    Centring first keeps what distinguishes the rows: of features with a mean cosine of .9999, a product of raw rows
    spends four of the seven digits of single precision on what all rows have in common.

    Args:
        x: (n, d) features of any floating-point type.
        name: how messages call them.
        unit: divide each row by its Euclidean length first; else all by the largest number in x.
        dtype: of the rows returned.

    Raises:
        InputError: a row holds NaN or infinity or, if ``unit``, is zero; all rows are the same.
    """
    n, d = x.shape
    if unit:
        scales = row_norms(x, name).reciprocal_()
    else:
        require_finite(x, name)
        top = max(abs(float(end)) for end in torch.aminmax(x))
        scales = torch.full((n,), 1 / top if top > 1e-300 else 1.0, dtype=torch.float64, device=x.device)
    mean = torch.zeros(d, dtype=torch.float64, device=x.device)
    for rows, block in double_chunks(x):
        mean += scales[rows] @ block
    mean /= n
    centred = torch.empty(n, d, dtype=dtype, device=x.device)
    squares = torch.empty(n, dtype=torch.float64, device=x.device)
    for rows, block in double_chunks(x):
        centred[rows] = block.mul_(scales[rows, None]).sub_(mean)
        squares[rows] = torch.linalg.vector_norm(block, dim=1).square_()
    longest = math.sqrt(float(squares.max()))
    if longest <= _CONSTANT * math.sqrt(d):
        what = "all rows point the same way" if unit else "all rows are the same"
        raise InputError(f"{name}: {what}, expected features that vary ({n} rows, {d} dimensions)")
    stretch = math.ldexp(1.0, -math.frexp(longest)[1])
    return Centred(x, centred.mul_(stretch), squares.mul_(stretch**2), scales, mean, stretch)


def gram_blocks(layers: Sequence[Centred]) -> Iterator[tuple[int, slice, Tensor]]:
    """The Gram matrices of some layers in single precision, a block of rows at a time, of all layers in turn.

    Memory is one block of one layer, whatever n.

    Yields:
        Which layer, which rows, and their inner products with all rows, (rows, n), good until the next are asked for.
    """
    if not layers:
        return
    n, step = len(layers[0].rows), block_rows(layers)
    memory = torch.empty(step, n, dtype=torch.float32, device=layers[0].rows.device)
    for start in range(0, n, step):
        block = slice(start, min(start + step, n))
        gram = memory[: block.stop - start]
        for i, layer in enumerate(layers):
            _products(layer.rows, block, out=gram)
            yield i, block, gram


def block_rows(layers: Sequence[Centred]) -> int:
    """How many rows of each layer `gram_blocks` takes at a time: all of them where the budget allows."""
    count, n = len(layers), len(layers[0].rows)
    return n if count * n * n <= _BUDGET else max(1, min(_ROWS, _BUDGET // (count * n)))


def tiles(block: slice) -> list[slice]:
    """The rows of a block, a tile at a time."""
    return [slice(start, min(start + _TILE, block.stop)) for start in range(block.start, block.stop, _TILE)]


def _products(rows: Tensor, block: slice, out: Tensor) -> None:
    """Inner products of a block of rows with all rows; if the block is all of them, half are mirrored."""
    if block.stop - block.start < len(rows):
        torch.mm(rows[block], rows.T, out=out)
        return
    for tile in tiles(block):
        torch.mm(rows[tile], rows[tile.start :].T, out=out[tile, tile.start :])
        # Transposed contiguously: twice as fast as a copy across the strides of a large matrix.
        out[tile.stop :, tile] = out[tile, tile.stop :].contiguous().T.contiguous()
