"""Nearest neighbours by cosine, exact although similarities come in single precision, and their overlap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from jam.metrics.kernels.inputs import Centred

_BUDGET = 2**22  # numbers in a table of `overlaps`: 16 MiB, which stays in cache


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


def resolution(centred: Centred, rows: slice | Tensor, dtype: torch.dtype) -> Tensor:
    """Bound on the rounding error of similarities c_i·c_j − |c_j|²/2 computed in ``dtype``, for each row i; (rows, 1).

    A product of d terms errs by at most λ√d·u·|c_i||c_j|, but for a probability of 2·exp(−λ²/2) (Higham & Mary 2019,
    A new approach to probabilistic rounding error analysis, Theorem 3.1); λ = 6, u the unit roundoff, |c_j| ≤ 1. The
    rest is for rounding c, |c_j|²/2 and the sum in ``dtype``, and the unit rows in double precision.
    """
    lengths = centred.squares[rows, None].sqrt()
    products = torch.finfo(dtype).eps / 2 * (6 * math.sqrt(centred.rows.shape[1]) * lengths + 4)
    return (products + 4 * torch.finfo(torch.float64).eps * centred.stretch).to(dtype)


@dataclass(frozen=True)
class Neighbours:
    """The k nearest neighbours of each row; those that tie for the last places share them.

    Attributes:
        index: (n, width) rows; width is k, or more where there are ties. Places that are not needed hold the row
            itself.
        share: (n, width) how much each counts: 1, of tied ones the share of them for which there is a place, 0 where
            not needed; the sum of a row is k. None if all are 1.
    """

    index: Tensor
    share: Tensor | None = None


def nearest(features: Tensor, centred: Centred, block: slice, similarities: Tensor, k: int) -> Neighbours:
    """The k nearest neighbours of each row of a block by cosine.

    Ranking by the cosine u_i·u_j of unit rows is ranking by −|u_i − u_j|²/2, and thus within row i by
    c_i·c_j − |c_j|²/2 with c the centred unit rows: one centred product serves the kernel and the neighbours. Where
    single precision leaves open which rows are the k nearest, the similarities in question are taken again in double
    precision; those that are equal to within rounding there are ties. So the neighbours do not depend on the order of
    the rows.

    Args:
        features: (n, d) as given.
        centred: the same, as unit rows centred.
        block: rows in question.
        similarities: (rows, n) c_i·c_j − |c_j|²/2; −inf where j cannot be a neighbour of i. At least k are finite.
        k: neighbours, less than n.
    """
    top = similarities.topk(k + 1, dim=1)
    found = top.indices[:, :k].contiguous()
    # Every value is off by at most `error`, hence so is the k-th largest: within 2·error of it anything may be.
    error = resolution(centred, block, similarities.dtype)
    open_rows = (top.values[:, k - 1 : k] - top.values[:, k:] <= 2 * error).squeeze(1).nonzero().squeeze(1)
    if len(open_rows) == 0:
        return Neighbours(found)
    margin = similarities[open_rows] - top.values[open_rows, k - 1 : k]
    near = margin.abs() <= 2 * error[open_rows]
    above = margin.gt_(0).bool().logical_and_(~near)
    columns = (near | above).any(dim=0).nonzero().squeeze(1)
    near, above = near[:, columns], above[:, columns]
    rows = open_rows + block.start
    left, right = centred.exact(features, rows), centred.exact(features, columns)
    exact = (left @ right.T).sub_(torch.linalg.vecdot(right, right), alpha=0.5)
    exact.masked_fill_(~near, -math.inf).masked_fill_(above, math.inf)
    last = exact.topk(k, dim=1).values[:, k - 1 :]
    tied = (exact - last).abs() <= 2 * resolution(centred, rows, exact.dtype)
    nearer = (exact > last) & ~tied
    share = nearer + tied * ((k - nearer.sum(1, dtype=exact.dtype)) / tied.sum(1))[:, None]
    width = int((share > 0).sum(1).max())
    heaviest = share.topk(width, dim=1)
    if width == k:  # nothing ties for the last place
        found[open_rows] = columns[heaviest.indices]
        return Neighbours(found)
    index = torch.arange(block.start, block.stop, device=found.device)[:, None].repeat(1, width)
    index[:, :k] = found
    shares = torch.zeros(len(found), width, dtype=exact.dtype, device=found.device)
    shares[:, :k] = 1
    index[open_rows] = torch.where(heaviest.values > 0, columns[heaviest.indices], rows[:, None])
    shares[open_rows] = heaviest.values
    return Neighbours(index, shares)


def joined(layers: Sequence[Sequence[Neighbours]]) -> list[Neighbours]:
    """The neighbours of each layer from those of its blocks of rows, all layers brought to one width."""
    width = max(part.index.shape[1] for parts in layers for part in parts)
    ties = any(part.share is not None for parts in layers for part in parts)
    found = []
    for parts in layers:
        index, start = [], 0
        for part in parts:
            rows = torch.arange(start, start + len(part.index), device=part.index.device)[:, None]
            index.append(torch.cat([part.index, rows.expand(-1, width - part.index.shape[1])], dim=1))
            start += len(part.index)
        shares = None
        if ties:
            given = [
                torch.ones_like(part.index, dtype=torch.float64) if part.share is None else part.share for part in parts
            ]
            shares = torch.cat([pad(share, (0, width - share.shape[1])) for share in given])
        found.append(Neighbours(torch.cat(index), shares))
    return found


def overlaps(
    x: Tensor,
    y: Tensor,
    orders: Tensor | None = None,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
) -> Tensor:
    """Σ_i Σ_{j in both lists of i} w(i, j)·v(i, j), for every layer pair and every order of the rows of y.

    A row that is listed as its own neighbour, as a filler, must have weight 0.

    Args:
        x, y: (layers, n, width) neighbours by the layers of each encoder.
        orders: (P, n) rows of y to pair with the rows of x; None for the one order that they have.
        x_weights, y_weights: (layers, n, width) w and v of these neighbours; 1 if None.

    Returns:
        (P, layers of x, layers of y) sums in double precision; P = 1 if ``orders`` is None.
    """
    (xs, n, k), ys, device = x.shape, len(y), x.device
    if orders is None:
        orders = torch.arange(n, device=device)[None]
    # Where each row of y has come to lie: neighbour j in y is row places[j] of x.
    places = torch.empty_like(orders).scatter_(1, orders, torch.arange(n, device=device).expand_as(orders))
    sums = torch.zeros(len(orders), xs, ys, dtype=torch.float64, device=device)
    indicators = torch.eye(ys, dtype=torch.float64, device=device)
    step = max(1, min(n, _BUDGET // (n * xs)))
    listed = torch.empty(step * n, dtype=torch.bool, device=device)
    ones = torch.ones(xs, n, k, dtype=torch.float32, device=device) if x_weights is None else x_weights
    table = torch.empty(step * n, xs, dtype=ones.dtype, device=device)
    for start in range(0, n, step):
        stop = min(start + step, n)
        size = stop - start
        # A table of the pairs (i, j) that x lists, one column for each layer. Few of the pairs that y lists are in it,
        # and a table of bits, small enough for the cache, tells which.
        base = torch.arange(size, device=device)[None, :, None] * n
        keys = base + x[:, start:stop]
        listed.zero_()[keys] = True
        table.zero_()
        table[keys, torch.arange(xs, device=device)[:, None, None]] = ones[:, start:stop]
        base = base.expand(ys, size, k).flatten()
        for p, order in enumerate(orders):
            rows = order[start:stop]
            pairs = places[p].index_select(0, y.index_select(1, rows).flatten()).add_(base)
            hits = listed.index_select(0, pairs).nonzero().squeeze(1)
            columns = indicators.index_select(0, hits.div(size * k, rounding_mode="floor"))
            if y_weights is not None:
                columns *= y_weights.index_select(1, rows).flatten()[hits, None]
            sums[p] += table.index_select(0, pairs[hits]).double().T @ columns
    return sums
