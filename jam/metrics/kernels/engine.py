"""All metrics of all layer pairs: what a metric needs of a layer is made once, and read off under any row order."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics.kernels.cka import HsicSums, alignment, biased_from_unbiased, check_unbiased
from jam.metrics.kernels.gram import Centred, centre, gram_blocks
from jam.metrics.kernels.linear import mean_correlation, principal_basis
from jam.metrics.kernels.neighbours import Neighbours, Search
from jam.metrics.kernels.nulls import RowOrders
from jam.metrics.kernels.permuted import feature_bands, matrix_bands, overlaps, shift_products
from jam.metrics.kernels.platonic import MaskedKernel, standardised_basis
from jam.metrics.kernels.rsa import dissimilarities

GRAM_METRICS = ("mutual_knn", "cknna", "cka", "unbiased_cka")
METRICS = ("mutual_knn", "cka", "unbiased_cka", "cknna", "svcca", "cca", "rsa")
VARIANTS = ("cknna_platonic", "svcca_platonic")  # as in the code of Huh et al. 2024, see `platonic`
WITH_K = ("mutual_knn", "cknna", "cknna_platonic")  # those that have neighbours

Scores = dict[str, Tensor]
"""By metric, (P, layers of x, layers of y) scores in double precision, for P orders of the rows of y."""

Scorer = Callable[[RowOrders | None], Scores]
"""Scores of all layer pairs under each of the orders; under the one order that the rows have if None."""


def check_metrics(metrics: Sequence[str]) -> None:
    """Raise ValueError unless there are metrics, all of them known."""
    if not metrics or set(metrics) - {*METRICS, *VARIANTS}:
        raise ValueError(f"metrics: got {list(metrics)}, expected some of {', '.join((*METRICS, *VARIANTS))}")


def score_pairs(
    xs: Sequence[Tensor],
    ys: Sequence[Tensor],
    names: Sequence[str],
    metrics: Sequence[str],
    k: int,
    codes: Tensor | None,
    normalize: bool,
    orders: RowOrders | None = None,
) -> tuple[Scores, Scores]:
    """Scores of all layer pairs under all the metrics named, P = 1, and under each of the orders, none if None.

    ``xs`` and ``ys`` are (n, d) features of each layer, ``names`` those of all for messages, ``codes`` the (n,) group
    of each row, or None; ``normalize`` divides rows by their lengths first.
    """
    layers = list(zip((*xs, *ys), names, strict=True))
    scorers = _gram_scorers(layers, len(xs), metrics, k, codes, normalize)
    for metric in metrics:
        made: list[Any] = []
        score: Callable[[Any, Any, Tensor | None], float] = _correlation
        if metric in ("svcca", "cca"):
            keep = 0.99 if metric == "svcca" else 50
            made = [principal_basis(centre(x, name, normalize, torch.float64).rows, keep) for x, name in layers]
        elif metric == "svcca_platonic":
            made = [standardised_basis(x, name) for x, name in layers]
        elif metric == "cknna_platonic":
            made, score = [MaskedKernel.of(x, name, k, codes) for x, name in layers], MaskedKernel.alignment
        elif metric == "rsa":
            matrices = [dissimilarities(x, name, "spearman") for x, name in layers]
            scorers.append(partial(_rsa, matrices[: len(xs)], matrices[len(xs) :]))
        if made:
            scorers.append(partial(_one_by_one, metric, score, made[: len(xs)], made[len(xs) :]))
    observed: Scores = {}
    null: Scores = {}
    for scorer in scorers:
        observed |= scorer(None)
        if orders is not None:
            null |= scorer(orders)
    return observed, null


def _gram_scorers(
    layers: Sequence[tuple[Tensor, str]],
    split: int,
    metrics: Sequence[str],
    k: int,
    codes: Tensor | None,
    normalize: bool,
) -> list[Scorer]:
    """Of mutual kNN, CKNNA, CKA and unbiased CKA: one pass over the Gram matrices of all layers serves them all.

    The first ``split`` layers are those of x. Where rows are not normalised, those that rank the neighbours are, and
    take a pass of their own.
    """
    of_neighbours, of_kernels = ([m for m in both if m in metrics] for both in (GRAM_METRICS[:2], GRAM_METRICS[2:]))
    kernels = [centre(x, name, normalize) for x, name in layers] if {*GRAM_METRICS[1:]} & {*metrics} else []
    units = [centre(x, name, unit=True) for x, name in layers] if of_neighbours and not (normalize and kernels) else []
    hsic = HsicSums(kernels) if of_kernels else None
    search = Search(units or kernels, k, codes) if of_neighbours else None
    if search and units:
        for layer, block, gram in gram_blocks(units):
            search.take(layer, block, gram)
    values: list[list[Tensor]] = [[] for _ in layers]
    for layer, block, gram in gram_blocks(kernels):
        if hsic:
            hsic.take(layer, block, gram)
        if search and not units:
            search.take(layer, block, gram)
        if search and "cknna" in metrics:
            values[layer].append(search.at_neighbours(layer, block, gram))
    names, scorers = [name for _, name in layers], list[Scorer]()
    if search:
        neighbours = search.found()
        shares = [one.shares for one in neighbours]
        if "mutual_knn" in metrics:
            scorers.append(partial(_mutual_knn, neighbours, shares, split, k))
        if "cknna" in metrics:
            weights = [torch.cat(parts) * one for parts, one in zip(values, shares, strict=True)]
            scorers.append(partial(_cknna, neighbours, weights, split, names))
    if hsic:
        scorers.append(partial(_cka, kernels, hsic.sums, split, names, of_kernels))
    return scorers


def _mutual_knn(
    neighbours: Sequence[Neighbours], shares: Sequence[Tensor], split: int, k: int, orders: RowOrders | None
) -> Scores:
    n = int(neighbours[0].rows[-1]) + 1
    return {"mutual_knn": overlaps(neighbours, shares, split, orders) / (n * k)}


def _cknna(
    neighbours: Sequence[Neighbours],
    weights: Sequence[Tensor],
    split: int,
    names: Sequence[str],
    orders: RowOrders | None,
) -> Scores:
    selves = torch.stack([weight.double().square().sum() for weight in weights])
    for name, zero in zip(names, (selves == 0).tolist(), strict=True):
        if zero:
            raise InputError(f"{name}: the kernel is zero at all neighbours, so CKNNA is not defined")
    return {"cknna": alignment(overlaps(neighbours, weights, split, orders), selves[:split], selves[split:])}


def _cka(
    kernels: Sequence[Centred],
    products: Tensor,
    split: int,
    names: Sequence[str],
    metrics: Sequence[str],
    orders: RowOrders | None,
) -> Scores:
    squares = torch.stack([kernel.squares for kernel in kernels])
    x, y = squares[:split], squares[split:]
    if orders is None:
        cross, diagonals = products[None, :split, split:], (x @ y.T)[None]
    else:
        cross = shift_products(orders, kernels[:split], kernels[split:], feature_bands, squares.device)
        diagonals = torch.stack([x @ y[:, order].T for order in torch.from_numpy(orders.matrix())])
    n, traces, selves = squares.shape[1], squares.sum(1), products.diagonal()
    scores = {}
    if "unbiased_cka" in metrics:
        check_unbiased(selves, traces, names)
        scores["unbiased_cka"] = alignment(cross, selves[:split], selves[split:])
    if "cka" in metrics:
        selves = biased_from_unbiased(selves, squares.square().sum(1), traces.square(), n)
        cross = biased_from_unbiased(cross, diagonals, torch.outer(traces[:split], traces[split:]), n)
        scores["cka"] = alignment(cross, selves[:split], selves[split:])
    return scores


def _rsa(xs: Sequence[Tensor], ys: Sequence[Tensor], orders: RowOrders | None) -> Scores:
    if orders is None:
        sums = torch.stack([torch.stack([(x * y).sum() for y in ys]) for x in xs])[None]
    else:
        sums = shift_products(orders, xs, ys, matrix_bands, xs[0].device)
    return {"rsa": (sums / 2).clamp_(max=1)}


def _one_by_one(
    metric: str,
    score: Callable[[Any, Any, Tensor | None], float],
    xs: Sequence[Any],
    ys: Sequence[Any],
    orders: RowOrders | None,
) -> Scores:
    """For metrics that have no shortcut: each layer pair under each order of the rows of y."""
    rows = [None] if orders is None else list(torch.from_numpy(orders.matrix()))
    return {
        metric: torch.tensor([[[score(x, y, order) for y in ys] for x in xs] for order in rows], dtype=torch.float64)
    }


def _correlation(x: Tensor, y: Tensor, order: Tensor | None) -> float:
    return mean_correlation(x, y if order is None else y[order])
