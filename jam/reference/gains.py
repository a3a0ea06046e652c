"""Gains in kernel alignment with references, over controls, with intervals over seeds and items."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from jam.metrics.intervals import Estimate
from jam.metrics.kernels import layer_alignment
from jam.metrics.kernels.engine import WITH_K
from jam.metrics.kernels.nulls import jackknife_interval
from jam.reference.controls import FROZEN

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]
INTERVAL = "jackknife over items, with the variance over seeds"


def alignments(
    xs: Sequence[np.ndarray], references: Sequence[np.ndarray], metrics: Sequence[str], k: int, fold: npt.ArrayLike = ()
) -> Floats:
    """Kernel alignment of every x with every reference by every metric, of all rows and without each fold of them.

    Args:
        xs: (n, d) each, rows as they are.
        references: (n, d) each, of the same rows.
        metrics: as `jam.metrics.kernels.layer_alignment` takes them.
        k: neighbours, for the metrics that have them.
        fold: (n,) the fold of each row, numbers from 0; empty for no folds.

    Returns:
        (xs, metrics, references, 1 + folds).
    """
    folds = np.asarray(fold)
    parts = [np.arange(len(references[0])), *(np.flatnonzero(folds != f) for f in np.unique(folds))]
    found = []
    for rows in parts:
        here, there = ([each[rows] for each in side] for side in (xs, references))
        scores = layer_alignment(here, there, metrics, k, normalize=False).scores
        found.append(np.stack([scores[metric] for metric in metrics], axis=1))
    return np.stack(found, axis=-1)


def over_seeds_and_folds(values: Floats) -> Estimate:
    """Mean over seeds of a score, with an interval over seeds and items.

    A kernel metric is no mean over rows, so items are not drawn: its variance over items is that of the delete-a-fold
    jackknife (`jam.metrics.kernels.nulls.jackknife_interval`) of the mean over seeds, to which that of the mean of so
    many seeds is added, s²/S. Student's quantile has the degrees of freedom of such a sum (Welch 1947; Satterthwaite
    1946). What is a difference here was taken within each seed and each fold, so it is paired on both.

    Args:
        values: (seeds, 1 + folds) the score of all rows, and without each fold of them.
    """
    seeds, folds = len(values), values.shape[1] - 1
    mean = values.mean(axis=0)
    items = jackknife_interval(mean[0], mean[1:]).error ** 2
    drawn = float(values[:, 0].var(ddof=1)) / seeds if seeds > 1 else 0.0
    both = items + drawn
    if both == 0:
        return Estimate(float(mean[0]), float(mean[0]), float(mean[0]))
    freedom = both**2 / (items**2 / (folds - 1) + (drawn**2 / (seeds - 1) if seeds > 1 else 0.0))
    reach = float(stdtrit(freedom, 0.975)) * math.sqrt(both)
    return Estimate(float(mean[0]), float(mean[0]) - reach, float(mean[0]) + reach)


@dataclass(frozen=True)
class Aligned:
    """One side of a space beside its controls, as `alignments` gives it.

    Attributes:
        told: what it is, in columns of results.
        test: by name, the space's own under "" and each control, (seeds, metrics, references, 1 + folds); one seed of
            what has nothing random.
        val: the same of validation rows, (seeds, metrics, references, 1).
    """

    told: Mapping[str, Any]
    test: Mapping[str, Floats]
    val: Mapping[str, Floats]


def gain_rows(
    of: Aligned, metrics: Sequence[str], references: Sequence[str], k: int, seeds: Sequence[int], n: int
) -> Iterator[Row]:
    """Rows of results of every metric and reference, by condition.

    frozen, aligned     alignment with the reference before and after
    gain                aligned − frozen; of each seed too
    control             the same of a control, which ``against`` names
    beyond              gain − that of a control
    beyond_best         the same of the control that is best on validation rows; with nothing done it is 0 there

    All controls start from the same features, so a gain beyond one is the difference of the two alignments.
    """
    controls = [name for name in of.test if name]
    for (i, metric), (j, reference) in ((a, b) for a in enumerate(metrics) for b in enumerate(references)):
        own, *others = (of.test[name][:, i, j] for name in ("", *controls))
        by_name = dict(zip(controls, others, strict=True))
        best = max(controls, key=lambda name: of.val[name][:, i, j, 0].mean())
        shared = {
            **of.told, "split": "test", "metric": metric, "reference": reference, "k": k if metric in WITH_K else None,
            "n": n,
        }  # fmt: skip

        def row(condition: str, values: Floats, against: str | None = None) -> Row:
            told = {"condition": condition, "against": against, "seeds": len(values), "interval": INTERVAL}
            return {**shared, **told, **over_seeds_and_folds(values)._asdict()}  # noqa: B023

        frozen = by_name[FROZEN]
        yield row("frozen", frozen)
        yield row("aligned", own)
        yield row("gain", own - frozen)
        for seed, value in zip(seeds, (own - frozen)[:, 0], strict=True):
            yield {**shared, "condition": "gain", "seed": seed, "value": value}
        for name, values in by_name.items():
            if name != FROZEN:
                yield row("control", values - frozen, name)
                yield row("beyond", own - values, name)
        yield row("beyond_best", own - by_name[best], best)
