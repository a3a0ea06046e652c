"""Families of metrics, each prepared once for all pairs of layers, then read off under any order of the rows of y."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics.kernels.cca import mean_correlation, principal_basis
from jam.metrics.kernels.cka import alignment, biased_from_unbiased, check_unbiased
from jam.metrics.kernels.gram import Layer, gram_pass
from jam.metrics.kernels.inputs import centre
from jam.metrics.kernels.neighbours import check_k, overlaps
from jam.metrics.kernels.nulls import RowOrders
from jam.metrics.kernels.platonic import MaskedKernel, standardised_basis
from jam.metrics.kernels.rsa import dissimilarities
from jam.metrics.kernels.shifts import feature_bands, matrix_bands, shift_products

GRAM_METRICS = ("mutual_knn", "cka", "unbiased_cka", "cknna")
METRICS = (*GRAM_METRICS, "svcca", "cca", "rsa")
VARIANTS = ("cknna_platonic", "svcca_platonic")  # as in the code of Huh et al. 2024, see `platonic`
WITH_K = ("mutual_knn", "cknna", "cknna_platonic")  # those that have neighbours

BASES: dict[str, Callable[[Tensor, str, bool], Tensor]] = {
    "svcca": partial(principal_basis, keep=0.99),
    "cca": partial(principal_basis, keep=50),
    "svcca_platonic": standardised_basis,
}

Prepared = TypeVar("Prepared")

Named = Sequence[tuple[Tensor, str]]
"""The layers of both encoders, those of the first before the others, each with what messages call it."""

Scores = dict[str, Tensor]
"""By metric, (P, layers of x, layers of y) scores in double precision, for P orders of the rows of y."""


def check_metrics(metrics: Sequence[str], k: int, n: int, codes: Tensor | None) -> None:
    """Raise ValueError unless every metric is known, and k fits if one of them has neighbours."""
    if not metrics or set(metrics) - {*METRICS, *VARIANTS}:
        raise ValueError(f"metrics: got {list(metrics)}, expected some of {', '.join((*METRICS, *VARIANTS))}")
    if set(metrics) & set(WITH_K):
        check_k(k, n, codes)


class Comparison(Protocol):
    """All layer pairs, ready to be scored under one family of metrics."""

    def scores(self, orders: RowOrders | None = None) -> Scores:
        """Scores under each of the orders; under the one order that the rows have if None."""


def prepare(
    xs: Sequence[Tensor],
    ys: Sequence[Tensor],
    names: Sequence[str],
    metrics: Sequence[str],
    k: int,
    codes: Tensor | None,
    normalize: bool,
) -> list[Comparison]:
    """Do for each layer what can be done once, for all the metrics named.

    Args:
        xs, ys: (n, d) features of each layer of the one and of the other encoder.
        names: of all layers, those of ``xs`` first, for messages.
        metrics: some of `METRICS` and `VARIANTS`.
        k: neighbours.
        codes: (n,) group of each row, or None.
        normalize: divide rows by their lengths first.
    """
    comparisons: list[Comparison] = []
    layers, count = list(zip((*xs, *ys), names, strict=True)), len(xs)
    from_gram = [metric for metric in metrics if metric in GRAM_METRICS]
    if from_gram:
        comparisons.append(GramComparison(layers, count, from_gram, k, codes, normalize))
    for metric in metrics:
        if metric == "rsa":
            matrices = [dissimilarities(x, name, "spearman") for x, name in layers]
            comparisons.append(RsaComparison(matrices[:count], matrices[count:]))
        elif metric == "cknna_platonic":
            masked = [MaskedKernel.of(x, name, normalize, k, codes) for x, name in layers]
            comparisons.append(PairComparison(metric, MaskedKernel.alignment, MaskedKernel.permuted, masked, count))
        elif metric in BASES:
            bases = [BASES[metric](x, name, normalize) for x, name in layers]
            comparisons.append(PairComparison(metric, mean_correlation, Tensor.__getitem__, bases, count))
    return comparisons


class GramComparison:
    """Mutual kNN, CKA, unbiased CKA and CKNNA, from one pass over the Gram matrices of all layers."""

    def __init__(
        self, named: Named, count: int, metrics: Sequence[str], k: int, codes: Tensor | None, normalize: bool
    ) -> None:
        self.metrics, self.names, self.k = metrics, [name for _, name in named], k
        self.x, self.y = slice(count), slice(count, None)
        lists = "mutual_knn" in metrics or "cknna" in metrics
        products = "cka" in metrics or "unbiased_cka" in metrics
        layers = []
        for x, name in named:
            kernel = centre(x, name, normalize) if products or "cknna" in metrics else None
            cosine = (kernel if normalize and kernel else centre(x, name, unit=True)) if lists else None
            layers.append(Layer(x, kernel, cosine))
        self.kernels = [layer.kernel for layer in layers if layer.kernel]
        self.found = gram_pass(layers, k, codes, weights="cknna" in metrics, products=products)

    def scores(self, orders: RowOrders | None = None) -> Scores:
        """Scores under each of the orders; under the one order that the rows have if None."""
        lists, kernels, products = self.found.neighbours, self.found.kernels, self.found.products
        scores: Scores = {}
        if lists is not None:
            index = torch.stack([one.index for one in lists])
            shares = (
                None if lists[0].share is None else torch.stack([one.share for one in lists if one.share is not None])
            )
            matrix = None if orders is None else torch.from_numpy(orders.matrix()).to(index.device)

            def shared(weights: Tensor | None) -> Tensor:
                left, right = (None, None) if weights is None else (weights[self.x], weights[self.y])
                return overlaps(index[self.x], index[self.y], matrix, left, right)

            if "mutual_knn" in self.metrics:
                scores["mutual_knn"] = shared(shares) / (index.shape[1] * self.k)
            if kernels is not None:
                weights = kernels if shares is None else kernels * shares
                selves = weights.double().square().sum((1, 2))
                for name, zero in zip(self.names, (selves == 0).tolist(), strict=True):
                    if zero:
                        raise InputError(f"{name}: the kernel is zero at all neighbours, so CKNNA is not defined")
                scores["cknna"] = alignment(shared(weights), selves[self.x], selves[self.y])
        if products is not None:
            scores |= self._cka(products, orders)
        return scores

    def _cka(self, products: Tensor, orders: RowOrders | None) -> Scores:
        x, y, kernels = self.x, self.y, self.kernels
        squares = torch.stack([kernel.squares for kernel in kernels])
        if orders is None:
            cross = products[None, x, y]
            diagonals = (squares[x] @ squares[y].T)[None]
        else:
            cross = shift_products(orders, kernels[x], kernels[y], feature_bands, squares.device)
            matrix = torch.from_numpy(orders.matrix()).to(squares.device)
            diagonals = torch.stack([squares[x] @ squares[y][:, order].T for order in matrix])
        n, traces, selves = squares.shape[1], squares.sum(1), products.diagonal()
        scores = {}
        if "unbiased_cka" in self.metrics:
            check_unbiased(selves, traces, self.names)
            scores["unbiased_cka"] = alignment(cross, selves[x], selves[y])
        if "cka" in self.metrics:
            selves = biased_from_unbiased(selves, squares.square().sum(1), traces.square(), n)
            cross = biased_from_unbiased(cross, diagonals, torch.outer(traces[x], traces[y]), n)
            scores["cka"] = alignment(cross, selves[x], selves[y])
        return scores


class PairComparison(Generic[Prepared]):
    """A metric of one pair of prepared layers at a time, under each order: SVCCA, CCA, CKNNA of Huh et al.'s code."""

    def __init__(
        self,
        metric: str,
        score: Callable[[Prepared, Prepared], float],
        permuted: Callable[[Prepared, Tensor], Prepared],
        layers: Sequence[Prepared],
        count: int,
    ) -> None:
        self.metric, self.score, self.permuted = metric, score, permuted
        self.xs, self.ys = layers[:count], layers[count:]

    def scores(self, orders: RowOrders | None = None) -> Scores:
        """Scores under each of the orders."""
        rows = [None] if orders is None else list(torch.from_numpy(orders.matrix()))
        values = [
            [[self.score(x, y if order is None else self.permuted(y, order)) for y in self.ys] for x in self.xs]
            for order in rows
        ]
        return {self.metric: torch.tensor(values, dtype=torch.float64)}


class RsaComparison:
    """RSA by Spearman correlation, from the standardised ranks of the dissimilarities of each layer."""

    def __init__(self, xs: Sequence[Tensor], ys: Sequence[Tensor]) -> None:
        self.xs, self.ys = xs, ys

    def scores(self, orders: RowOrders | None = None) -> Scores:
        """Scores under each of the orders."""
        if orders is None:
            sums = torch.stack([torch.stack([(x * y).sum() for y in self.ys]) for x in self.xs])[None]
        else:
            sums = shift_products(orders, self.xs, self.ys, matrix_bands, self.xs[0].device)
        return {"rsa": (sums / 2).clamp_(max=1)}
