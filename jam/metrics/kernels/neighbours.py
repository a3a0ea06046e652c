"""Mutual kNN: nearest neighbours by cosine, exact although similarities come in single precision, and their overlap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jam.metrics._rows import Array, Groups, full_precision, numbered, paired_rows
from jam.metrics.kernels.gram import Centred, block_rows, centre, gram_blocks

_BITS = 2**24  # entries of a table of pairs of rows: 16 MiB
_EXACT = 2**24  # similarities taken again in double precision at a time: 128 MiB


def mutual_knn(x: Array, y: Array, k: int = 10, groups: Groups = None) -> float:
    """Mean share of the k nearest neighbours of a row that x and y agree on; k/(n − 1) by chance.

    Neighbours are by cosine of the rows as they are, not centred; a row is not its own neighbour, by its index. Those
    that tie for the last places (equal cosines, to within rounding in double precision) each count by the share of
    them that there is room for, in x and in y: what ties broken at random would give on average. The score does not
    depend on the order of rows, and where x has ties it is below 1 even with itself.

    Args:
        x: (n, d1) features.
        y: (n, d2) features of the same rows.
        k: neighbours, less than n.
        groups: (n,) labels; rows with the same label, such as captions of one image, are not neighbours.

    Raises:
        ValueError: shapes do not match; k less than 1, or more than the rows that some row may have for neighbours.
        InputError: features with NaN or infinity, zero rows, rows that all point the same way.

    References:
        Huh et al. 2024, The Platonic representation hypothesis, eq. 11.
    """
    return float(mutual_knn_rows(x, y, k, groups).mean())


@torch.no_grad()
def mutual_knn_rows(
    x: Array, y: Array, k: int = 10, groups: Groups = None, names: tuple[str, str] = ("x", "y")
) -> npt.NDArray[np.float64]:
    """Each row's share of `mutual_knn`, (n,): Σ_j w_ij·v_ij / k with w and v what j counts among the k nearest of i."""
    a, b = paired_rows(x, y, names, minimum=2)
    codes = group_codes(groups, len(a), a.device)
    check_k(k, len(a), codes)
    with full_precision(a.device):
        in_x, in_y = (
            nearest(centre(rows, name, unit=True), k, codes) for rows, name in zip((a, b), names, strict=True)
        )
    i, j = common(in_x, in_y)
    shares = torch.zeros(len(a), dtype=torch.float64, device=a.device)
    shares.index_add_(0, in_x.rows[i], in_x.shares[i].double() * in_y.shares[j])
    found: npt.NDArray[np.float64] = (shares / k).cpu().numpy()
    return found


def group_codes(groups: Groups, n: int, device: torch.device) -> Tensor | None:
    """(n,) number of each row's group, see `numbered`; None, for rows that are all their own, stays None."""
    return None if groups is None else torch.from_numpy(numbered(groups, n)).to(device)


def check_k(k: int, n: int, codes: Tensor | None) -> None:
    """Every row needs k others that may be its neighbours.

    Raises:
        ValueError: k is not an integer of at least 1, or some row has fewer than k rows outside of its group.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k: got {k!r}, expected an integer of at least 1")
    largest = 1 if codes is None else int(torch.bincount(codes).max())
    if k > n - largest:
        rest = "other rows" if codes is None else "rows outside of the largest group"
        raise ValueError(f"k: got {k}, expected at most {n - largest}, the number of {rest} among {n}")


@dataclass(frozen=True)
class Neighbours:
    """The k nearest neighbours of n rows, one entry for each, row after row; more where some tie for the last places.

    Attributes:
        rows: (entries,) whose neighbour it is.
        columns: (entries,) the neighbour.
        shares: (entries,) how much it counts: 1, or of tied ones the share of them for which there is a place; those
            of a row sum to k. In single precision where all are 1, else in double.
    """

    rows: Tensor
    columns: Tensor
    shares: Tensor


def nearest(units: Centred, k: int, codes: Tensor | None) -> Neighbours:
    """The k nearest neighbours of each of some centred unit rows; none of the same group, ``codes`` (n,), if given."""
    search = Search([units], k, codes)
    for _, block, gram in gram_blocks([units]):
        search.take(0, block, gram)
    return search.found()[0]


def common(x: Neighbours, y: Neighbours, order: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Where in x and where in y the entries are that both have, if row i of x is paired with row order[i] of y."""
    n = int(x.rows[-1]) + 1
    ends = y.rows, y.columns
    if order is not None:
        order = order.to(y.rows.device)
        places = torch.empty_like(order).scatter_(0, order, torch.arange(n, device=order.device))
        ends = places[y.rows], places[y.columns]
    keys, wanted = x.rows * n + x.columns, ends[0] * n + ends[1]
    both = torch.arange(len(wanted), device=wanted.device)
    if n * n <= _BITS:  # few are in both where rows are permuted, and a table of bits tells which: four times as fast
        listed = torch.zeros(n * n, dtype=torch.bool, device=keys.device)
        listed[keys] = True
        both = listed[wanted].nonzero().squeeze(1)
    keys, sorting = keys.sort()
    at = torch.searchsorted(keys, wanted[both]).clamp_(max=len(keys) - 1)
    found = keys[at] == wanted[both]
    return sorting[at[found]], both[found]


class Search:
    """The search for the neighbours in several layers, each given a block of rows of its Gram matrix after the other.

    Ranking by the cosine u_i·u_j of unit rows is ranking by −|u_i − u_j|²/2, and thus within row i by
    c_i·c_j − |c_j|²/2 with c the centred unit rows: one centred product serves the kernel and the neighbours. Where
    single precision leaves open which rows are the k nearest, the similarities in question are taken again in double
    precision; those that are equal to within rounding there are ties. So the neighbours do not depend on the order of
    the rows. Memory is a block, and what is found.
    """

    def __init__(self, layers: Sequence[Centred], k: int, codes: Tensor | None) -> None:
        self.layers, self.k, self.codes = layers, k, codes
        self.lengths = [layer.squares.float() for layer in layers]
        self.parts: list[list[Neighbours]] = [[] for _ in layers]
        n, device = len(layers[0].rows), layers[0].rows.device
        self.memory = torch.empty(block_rows(layers), n, dtype=torch.float32, device=device)

    def take(self, layer: int, block: slice, gram: Tensor) -> Neighbours:
        """The neighbours of a block of rows, from their (rows, n) inner products in the layer."""
        ranking = torch.sub(gram, self.lengths[layer], alpha=0.5, out=self.memory[: len(gram)])
        ranking[:, block].fill_diagonal_(-math.inf)
        if self.codes is not None:
            ranking.masked_fill_(self.codes[block, None] == self.codes, -math.inf)
        self.parts[layer].append(_nearest_in_block(self.layers[layer], block, ranking, self.k))
        return self.parts[layer][-1]

    def at_neighbours(self, layer: int, block: slice, gram: Tensor) -> Tensor:
        """Of a block (rows, n) of any matrix the entries at the neighbours that were found there."""
        found = self.parts[layer][block.start // len(self.memory)]
        return gram.flatten().index_select(0, (found.rows - block.start) * gram.shape[1] + found.columns)

    def found(self) -> list[Neighbours]:
        """The neighbours of all rows, by layer."""
        return [
            Neighbours(*(torch.cat(ends) for ends in zip(*((p.rows, p.columns, p.shares) for p in parts), strict=True)))
            for parts in self.parts
        ]


def resolution(centred: Centred, rows: slice | Tensor, dtype: torch.dtype) -> Tensor:
    """Bound on the rounding error of similarities c_i·c_j − |c_j|²/2 computed in ``dtype``, for each row i; (rows, 1).

    A product of d terms errs by at most λ√d·u·|c_i||c_j|, but for a probability of 2·exp(−λ²/2) (Higham & Mary 2019,
    A new approach to probabilistic rounding error analysis, Theorem 3.1); λ = 6, u the unit roundoff, |c_j| ≤ 1. The
    rest is for rounding c, |c_j|²/2 and the sum in ``dtype``, and the unit rows in double precision.
    """
    lengths = centred.squares[rows, None].sqrt()
    products = torch.finfo(dtype).eps / 2 * (6 * math.sqrt(centred.rows.shape[1]) * lengths + 4)
    return (products + 4 * torch.finfo(torch.float64).eps * centred.stretch).to(dtype)


def _nearest_in_block(units: Centred, block: slice, ranking: Tensor, k: int) -> Neighbours:
    """The neighbours of a block from similarities (rows, n), −inf where j cannot be one of i; at least k are finite."""
    top = ranking.topk(k + 1, dim=1)
    found = top.indices[:, :k].contiguous()
    # Every value is off by at most `error`, hence so is the k-th largest: within 2·error of it anything may be.
    error = resolution(units, block, ranking.dtype)
    open_rows = (top.values[:, k - 1 : k] - top.values[:, k:] <= 2 * error).squeeze(1).nonzero().squeeze(1)
    tied = []
    for rows in open_rows.split(max(1, _EXACT // ranking.shape[1])) if len(open_rows) else ():
        margin = ranking[rows] - top.values[rows, k - 1 : k]
        near = margin.abs() <= 2 * error[rows]
        columns, shares = _decided(units, rows + block.start, near, (margin > 0) & ~near, k)
        if (shares > 0).sum() == k * len(rows):  # nothing ties for the last place
            found[rows] = columns[shares.nonzero()[:, 1]].view(-1, k)
        else:
            row, column = shares.nonzero(as_tuple=True)
            tied.append((rows[row], columns[column], shares[row, column]))
            found[rows] = -1
    owner = torch.arange(len(found), device=found.device).repeat_interleave(k)
    if not tied:
        return Neighbours(owner + block.start, found.flatten(), torch.ones(len(owner), device=found.device))
    plain = found.flatten() >= 0
    ones = torch.ones(int(plain.sum()), dtype=torch.float64, device=found.device)
    parts = [(owner[plain], found.flatten()[plain], ones), *tied]
    rows, columns, shares = (torch.cat(ends) for ends in zip(*parts, strict=True))
    order = rows.argsort(stable=True)
    return Neighbours(rows[order] + block.start, columns[order], shares[order])


def _decided(units: Centred, rows: Tensor, near: Tensor, above: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Who is a candidate for the k nearest of (r,) rows, (c,), and how much each counts, (r, c), in double precision.

    ``near`` are (r, n) rows whose similarity single precision cannot tell from the k-th largest, ``above`` those above.
    """
    columns = (near | above).any(dim=0).nonzero().squeeze(1)
    left, right = units.exact(rows), units.exact(columns)
    exact = (left @ right.T).sub_(torch.linalg.vecdot(right, right), alpha=0.5)
    exact.masked_fill_(~near[:, columns], -math.inf).masked_fill_(above[:, columns], math.inf)
    last = exact.topk(k, dim=1).values[:, k - 1 :]
    ties = (exact - last).abs() <= 2 * resolution(units, rows, exact.dtype)
    nearer = (exact > last) & ~ties
    left_over = k - nearer.sum(1, keepdim=True, dtype=exact.dtype)
    return columns, nearer + ties * (left_over / ties.sum(1, keepdim=True))
