"""Nearest neighbours by cosine, exact although the similarities come in single precision, and their overlap."""

import math

import numpy as np
import torch
from torch import Tensor

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


def nearest(features: Tensor, centred: Centred, block: slice, similarities: Tensor, k: int) -> Tensor:
    """The set of the k nearest neighbours of each row of a block by cosine, ties to the lower index.

    Ranking by the cosine u_i·u_j of unit rows is ranking by −|u_i − u_j|²/2, and thus within row i by
    c_i·c_j − |c_j|²/2 with c the centred unit rows: one centred product serves the kernel and the neighbours. Where
    single precision leaves open which rows are the k nearest, the similarities in question are taken again in double
    precision; those that are equal to within rounding there are ties.

    Args:
        features: (n, d) as given.
        centred: the same, as unit rows centred.
        block: rows in question.
        similarities: (rows, n) c_i·c_j − |c_j|²/2; −inf where j cannot be a neighbour of i. At least k are finite.
        k: neighbours, less than n.

    Returns:
        (rows, k) indices.
    """
    top = similarities.topk(k + 1, dim=1)
    found = top.indices[:, :k].contiguous()
    # Every value is off by at most `error`, hence so is the k-th largest: within 2·error of it anything may be.
    error = resolution(centred, block, similarities.dtype)
    open_rows = (top.values[:, k - 1 : k] - top.values[:, k:] <= 2 * error).squeeze(1).nonzero().squeeze(1)
    if len(open_rows) == 0:
        return found
    margin = similarities[open_rows] - top.values[open_rows, k - 1 : k]
    near = margin.abs() <= 2 * error[open_rows]
    above = margin.gt_(0).bool().logical_and_(~near)
    columns = (near | above).any(dim=0).nonzero().squeeze(1)
    near, above = near[:, columns], above[:, columns]
    rows = open_rows + block.start
    left, right = centred.exact(features, rows), centred.exact(features, columns)
    exact = (left @ right.T).sub_(torch.linalg.vecdot(right, right), alpha=0.5)
    exact.masked_fill_(~near, -math.inf).masked_fill_(above, math.inf)
    boundary = exact.topk(k, dim=1).values[:, k - 1 :]
    exact = torch.where((exact - boundary).abs() <= 2 * resolution(centred, rows, exact.dtype), boundary, exact)
    order = torch.sort(exact, dim=1, descending=True, stable=True).indices[:, :k]
    found[open_rows] = columns[order]
    return found


def overlaps(
    x: Tensor,
    y: Tensor,
    orders: Tensor | None = None,
    x_weights: Tensor | None = None,
    y_weights: Tensor | None = None,
) -> Tensor:
    """Σ_i Σ_{j in both lists of i} w(i, j)·v(i, j), for every layer pair and every order of the rows of y.

    Args:
        x: (layers, n, k) neighbours by the layers of one encoder.
        y: (layers, n, k) neighbours by the layers of the other.
        orders: (P, n) rows of y to pair with the rows of x; None for the one order that they have.
        x_weights: (layers, n, k) w of each neighbour in ``x``; 1 if None.
        y_weights: (layers, n, k) v of each neighbour in ``y``; 1 if None.

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
    table = torch.empty(step * n, xs, dtype=torch.float32, device=device)
    for start in range(0, n, step):
        stop = min(start + step, n)
        size = stop - start
        # A table of the pairs (i, j) that x lists, one column for each layer. Few of the pairs that y lists are in it,
        # and a table of bits, small enough for the cache, tells which.
        base = torch.arange(size, device=device)[None, :, None] * n
        keys = base + x[:, start:stop]
        listed.zero_()[keys] = True
        table.zero_()
        ones = torch.ones(xs, size, k, dtype=torch.float32, device=device)
        entries = ones if x_weights is None else x_weights[:, start:stop]
        table[keys, torch.arange(xs, device=device)[:, None, None]] = entries
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
