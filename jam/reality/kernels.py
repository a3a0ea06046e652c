"""The kernel of a representation held against kernels of the state, plain and with the trivial held constant."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jam.metrics.kernels.given import gram_of
from jam.metrics.kernels.nulls import deal, jackknife_interval
from jam.metrics.readout import Floats
from jam.metrics.reality_kernel import Kernels, KernelScore, fit_kernel, kernel_scores, partial_out, score_kernel
from jam.reality.representations import Representation
from jam.reality.truth import Truth

Row = dict[str, Any]
Name = tuple[str, str | None]
"""A metric and its label."""

REALITY, FACTOR, PMI = "reality_kernel", "factor_cka", "pmi_kernel"


class Known:
    """Kernels of the state, made once for all representations that meet the same: see `jam.reality.truth.Truth`."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.at = cache(self._at)

    def _at(self, split: str, held_for: str | None) -> Kernels:
        """Of the factors, and of test items the PMI; of a modality, what goes with them is held constant."""
        factors, given = self.truth.kernel_factors(split), {}
        if split == "test" and self.truth.pmi is not None:
            given = {PMI: self.truth.pmi}
        if held_for is not None:
            _, z = self.truth.held(split, held_for)
            # What is held constant is no factor any more: nothing of it is left.
            factors = {name: partial_out(f, z) for name, f in factors.items() if name != "count"}
            given = {name: _without(gram, z) for name, gram in given.items()}
        return Kernels.of(factors, given)


def kernel_rows(of: Representation, known: Known, permutations: int, folds: int, seed: int) -> list[Row]:
    """Unbiased CKA with the kernel of reality, with that of each factor alone, and with the world's PMI kernel.

    The first has its weights from val rows; all are of test rows, each with a jackknife interval, the null of permuted
    rows and, where there is a second view, the ceiling that it sets. Then all but the factors again with the number of
    things, and of texts the words of the caption, partialled out of the representation and of the state alike.
    """
    rows = []
    for constant in (False, True):
        rows += _rows(of, known, constant, permutations, folds, seed)
    return rows


def _rows(of: Representation, known: Known, constant: bool, permutations: int, folds: int, seed: int) -> list[Row]:
    held, x, second, truth = None, dict(of.features), of.second, known.truth
    if constant:
        for split in ("val", "test"):
            held, z = truth.held(split, of.modality)
            x[split] = partial_out(x[split], z)
        second = None if second is None else partial_out(second, truth.held("test", of.modality, 1)[1])
    states = {split: known.at(split, of.modality if constant else None) for split in ("val", "test")}
    tested = states["test"]
    weights = fit_kernel(x["val"], states["val"])
    options: Any = {"permutations": permutations, "seed": seed}
    found = score_kernel(x["test"], tested.some(weights), weights, second, **options)
    whole = torch.stack([weights[name] * tested.grams[name] for name in weights]).sum(dim=0)
    scores: dict[Name, KernelScore] = {(REALITY, None): found}
    kernels: dict[Name, Tensor] = {(REALITY, None): whole}
    alone = tested.some([name for name in tested.grams if name == PMI or not constant])
    for name, score in kernel_scores(x["test"], alone, **options).items() if alone.grams else ():
        key: Name = (PMI, None) if name == PMI else (FACTOR, name)
        scores[key], kernels[key] = score, alone.grams[name]
    parts = without_each(gram_of(x["test"], "x"), kernels, deal(found.n, folds, seed))
    rows = []
    for (metric, label), score in scores.items():
        interval = jackknife_interval(score.value, parts[metric, label])
        rows.append(
            {
                **of.told, "split": "test", "metric": metric, "label": label, "held": held, "value": score.value,
                "low": interval.low, "high": interval.high, "interval": "jackknife over rows", "p": score.p_value,
                "null": score.threshold, "null_mean": score.null_mean, "calibrated": score.calibrated,
                "ceiling": found.ceiling, "n": score.n,
            }
        )  # fmt: skip
    return rows


def _without(gram: Floats, z: Floats) -> Floats:
    """A kernel of which the regression on covariates (n, c) is taken out of rows and columns."""
    rest = partial_out(gram, z)
    return partial_out(rest.T, z)


def without_each(x: Tensor, kernels: Mapping[Name, Tensor], fold: npt.NDArray[np.int64]) -> dict[Name, Floats]:
    """Unbiased CKA of one kernel (n, n) with others, without each fold of the rows in turn; 0 with a kernel of zeros.

    HSIC is eq. 5 of Song et al. 2012; its sums over all rows but a fold's come from those over pairs of folds: one pass
    over each kernel serves all folds.
    """
    members = torch.from_numpy(fold[:, None] == np.arange(fold.max() + 1)).double()  # (n, folds)
    own = _Sums(x, members)
    alone, found = own.hsic(own), {}
    for name, kernel in kernels.items():
        other = _Sums(kernel, members)
        found[name] = own.hsic(other) / np.sqrt(alone * other.hsic(other)) if kernel.any() else 0 * alone
    return found


class _Sums:
    """A kernel with a zero diagonal, and of each row the sum over all columns but a fold's, (n, folds)."""

    def __init__(self, kernel: Tensor, members: Tensor) -> None:
        self.kernel, self.members = kernel.clone().fill_diagonal_(0), members
        self.rows = (self.kernel.sum(dim=1, keepdim=True) - self.kernel @ members) * (1 - members)

    def hsic(self, other: "_Sums") -> Floats:
        """n(n − 3) times unbiased HSIC without each fold; (folds,)."""
        pairs = self.members.T @ (self.kernel * other.kernel) @ self.members
        products = pairs.sum() - pairs.sum(dim=0) - pairs.sum(dim=1) + pairs.diagonal()
        n = (1 - self.members).sum(dim=0)
        ends = self.rows.sum(dim=0) * other.rows.sum(dim=0) / ((n - 1) * (n - 2))
        found: Floats = (products + ends - 2 / (n - 2) * (self.rows * other.rows).sum(dim=0)).numpy()
        return found
