"""Centred kernel alignment, biased and unbiased, from sums of products of centred kernels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import Array, full_precision, paired_rows
from jam.metrics.kernels.gram import Centred, block_rows, centre, tiles

_FLAT = 1e-10  # an unbiased HSIC below this share of (tr K)² is what rounding left of zero
_SAME = 1e-14  # squared distances below this share of the squared lengths are rounding too


def unbiased_from_plain(products: Tensor, diagonals: Tensor, traces: Tensor, n: int) -> Tensor:
    """Unbiased HSIC of centred kernels times n(n − 3) (Song et al. 2012, eq. 5), from sums in terms of K and L.

    It is tr(K̃L̃) + 1ᵀK̃1·1ᵀL̃1/((n−1)(n−2)) − 2/(n−2)·1ᵀK̃L̃1, with the tilde for a zero diagonal, and does not change
    when K is centred first. Then rows of K sum to zero and rows of K̃ to −K_ii: 1ᵀK̃1 = −tr K, 1ᵀK̃L̃1 = Σ K_ii·L_ii.
    So ``products`` are Σ_{i≠j} K[i, j]·L[i, j], ``diagonals`` Σ_i K[i, i]·L[i, i] and ``traces`` tr K · tr L.
    """
    return products + traces / ((n - 1) * (n - 2)) - diagonals * (2 / (n - 2))


def biased_from_unbiased(unbiased: Tensor, diagonals: Tensor, traces: Tensor, n: int) -> Tensor:
    """Biased HSIC tr(KL) of centred kernels (Gretton et al. 2005) from what `unbiased_from_plain` gives."""
    return unbiased - traces / ((n - 1) * (n - 2)) + diagonals * (n / (n - 2))


def check_unbiased(selves: Tensor, traces: Tensor, names: Sequence[str]) -> None:
    """Unbiased HSIC of each kernel with itself, (layers,), has to be above zero; ``traces`` (layers,) are tr K.

    Raises:
        InputError: it is zero, because all entries of a kernel off its diagonal are equal.
    """
    for name, flat in zip(names, (selves <= _FLAT * traces.square()).tolist(), strict=True):
        if flat:
            raise InputError(f"{name}: all rows are equally far apart, which leaves unbiased CKA undefined")


def alignment(cross: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Cross terms (…, a, b) over the roots of the self terms (a,) and (b,), at most 1 whatever the rounding."""
    return (cross / xs.sqrt()[:, None] / ys.sqrt()).clamp_(max=1)


def u_offsets(kernel: Centred) -> Tensor:
    """r with which the Gram matrix K becomes U-centred, Ũ = K + r1ᵀ + 1rᵀ off the diagonal, 0 on it; (n,).

    Then all rows of Ũ sum to zero, and Σ Ũ[i, j]·Ṽ[i, j] is n(n − 3) times unbiased HSIC (Székely & Rizzo 2014,
    Partial distance correlation, eq. 2.1-2.3). Needs n ≥ 3.
    """
    n = len(kernel.squares)
    return ((kernel.squares - kernel.squares.sum() / (2 * (n - 1))) / (n - 2)).to(kernel.rows.dtype)


class HsicSums:
    """Σ_{i≠j} Ũ[i, j]·Ṽ[i, j] of the U-centred kernels of all layers, of which the upper triangles suffice.

    In terms of K, unbiased HSIC is a small difference of large sums; U-centred first, it is one sum, for which single
    precision is enough. The sums of a tile of rows are one (layers × n)·(n × layers) product for each row, added up
    over the rows in double precision. Memory is the triangles of one block, whatever n.
    """

    def __init__(self, kernels: Sequence[Centred]) -> None:
        self.offsets = torch.stack([u_offsets(kernel) for kernel in kernels])
        count, n = self.offsets.shape
        self.sums = self.offsets.new_zeros(count, count, dtype=torch.float64)
        first = tiles(slice(0, block_rows(kernels)))
        self.memory = [self.offsets.new_empty(count * (tile.stop - tile.start) * (n - tile.start)) for tile in first]

    def take(self, layer: int, block: slice, gram: Tensor) -> None:
        """Take in a block of rows (rows, n) of the Gram matrix of a layer; after the last layer the block is summed."""
        offsets = self.offsets[layer]
        for tile, triangles in self._triangles(block):
            part = gram[tile.start - block.start : tile.stop - block.start, tile.start :]
            torch.add(part, offsets[tile.start :], out=triangles[layer]).add_(offsets[tile, None]).triu_(1)
        if layer < len(self.offsets) - 1:
            return
        for _, triangles in self._triangles(block):
            rows = triangles.transpose(0, 1)
            self.sums += 2 * torch.bmm(rows, rows.transpose(1, 2)).sum(0, dtype=torch.float64)

    def _triangles(self, block: slice) -> list[tuple[slice, Tensor]]:
        """Each tile of a block with its memory, (layers, rows, n − first row)."""
        count, n = self.offsets.shape
        shapes = [(tile, (count, tile.stop - tile.start, n - tile.start)) for tile in tiles(block)]
        pairs = zip(shapes, self.memory, strict=False)  # the last block may be shorter
        return [(tile, memory[: shape[0] * shape[1] * shape[2]].view(shape)) for (tile, shape), memory in pairs]


@torch.no_grad()
def cka(x: Array, y: Array, kernel: str = "linear", unbiased: bool = True) -> float:
    """Centred kernel alignment of two sets of features, in double precision.

    CKA = HSIC(K, L) / √(HSIC(K, K)·HSIC(L, L)). The biased estimate grows with d/n and reads .68 for independent noise
    at n = 256; the unbiased one stays near 0 and may fall below it.

    Args:
        x: (n, d1) features; rows are taken as given, columns are centred here.
        y: (n, d2) features of the same rows.
        kernel: "linear", or "rbf": exp(−|x_i − x_j|²/(2σ²)) with σ the median distance of two rows. The latter
            holds a few n × n matrices.
        unbiased: HSIC of Song et al. in the numerator and in both denominators; needs n ≥ 4.

    Raises:
        ValueError: shapes do not match, too few rows, unknown kernel.
        InputError: features with NaN or infinity; constant features; rows all equally far apart (unbiased).

    References:
        Kornblith et al. 2019, Similarity of neural network representations revisited; Song et al. 2012, Feature
        selection via dependence maximization, eq. 5.
    """
    if kernel not in ("linear", "rbf"):
        raise ValueError(f"kernel: got {kernel!r}, expected 'linear' or 'rbf'")
    a, b = paired_rows(x, y, minimum=4 if unbiased else 2)
    with full_precision(a.device):
        p, q = (centre(rows, name, unit=False, dtype=torch.float64).rows for rows, name in ((a, "x"), (b, "y")))
        if kernel == "rbf":
            p, q = rbf_kernel(p, "x"), rbf_kernel(q, "y")
        pairs = ((p, p), (q, q), (p, q))
        # A linear kernel stays a matrix of features where its Gram matrix would be larger.
        inner = torch.stack([_inner(*pair) if kernel == "rbf" else _features_inner(*pair) for pair in pairs])
        if unbiased:
            squares = torch.stack([rows.diagonal() if kernel == "rbf" else rows.square().sum(1) for rows in (p, q)])
            traces, of_pairs = squares.sum(1), ([0, 1, 0], [0, 1, 1])
            diagonals = (squares @ squares.T)[of_pairs]
            inner = unbiased_from_plain(inner - diagonals, diagonals, torch.outer(traces, traces)[of_pairs], len(a))
            check_unbiased(inner[:2], traces, ("x", "y"))
        return float(alignment(inner[2:], inner[:1], inner[1:2]))


def rbf_kernel(rows: Tensor, name: str) -> Tensor:
    """Gaussian kernel of rows, its width the median distance of two of them, centred in rows and columns; (n, n).

    Raises:
        InputError: half of all pairs of rows are equal.
    """
    gram = rows @ rows.T
    lengths = gram.diagonal()[:, None] + gram.diagonal()
    squared = (lengths - 2 * gram).masked_fill_(lengths - 2 * gram <= _SAME * lengths, 0).fill_diagonal_(0)
    above = squared[torch.ones_like(squared, dtype=torch.bool).triu_(1)].sqrt_()
    middle = (len(above) + 1) // 2, len(above) // 2 + 1  # one place or the two around the middle
    median = sum(float(above.kthvalue(place).values) for place in middle) / 2
    if median == 0:
        raise InputError(f"{name}: half of all pairs of rows are equal, so their median distance is 0")
    kernel = torch.exp(squared / (-2 * median**2))
    means = kernel.mean(0)
    return kernel - means - means[:, None] + means.mean()


def _inner(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.vecdot(x.flatten(), y.flatten())


def _features_inner(x: Tensor, y: Tensor) -> Tensor:
    """tr(XXᵀYYᵀ), by whichever matrix is smaller."""
    if x.shape[1] * y.shape[1] <= len(x) ** 2:
        return (x.T @ y).square().sum()
    return _inner(x @ x.T, y @ y.T)
