"""Scores that metrics give to representations, and what these truly tell: the two sides of the audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from jam.metrics import effective_rank
from jam.metrics.kernels.engine import GRAM_METRICS, METRICS, VARIANTS, score_pairs
from jam.metrics.kernels.nulls import RowOrders, calibrate, draw_orders
from jam.metrics.readout import Floats
from jam.metrics.reality import StateReadout, recall_of_reality
from jam.metrics.reality_kernel import partial_out
from jam.reality.audited import Audited, Reference
from jam.reality.representations import Representation
from jam.reality.shares import CELLS, PRECISION, RECALL

AUDITED = (*METRICS, *VARIANTS)
ACROSS, WITHIN, UNLIKE, STATE = "across", "within", "unlike", "state"
REFERENCES = (ACROSS, WITHIN, UNLIKE, STATE)
WIDTH, RANK, DONE = "width", "effective_rank", "checkpoint"
"""What is no comparison at all: dimensions, effective rank, % of the training."""
OUTCOMES = (RECALL, PRECISION)

Scores = dict[str, Floats]
"""By metric."""


@dataclass(frozen=True)
class Alignment:
    """Scores of some representations (r,) with some references (s,) under one metric, each (r, s).

    Attributes:
        raw: the score.
        calibrated: what is above the threshold of the null, see `jam.metrics.kernels.nulls.calibrate`.
        threshold: of level .05 of the null of permuted rows.
        null_mean: mean of the null.
        partial: the score with covariates partialled out of both; NaN but for `GRAM_METRICS`, where it costs little.
    """

    raw: Floats
    calibrated: Floats
    threshold: Floats
    null_mean: Floats
    partial: Floats


def align(
    xs: Sequence[np.ndarray], ys: Sequence[np.ndarray], held: Floats, k: int, permutations: int, seed: int
) -> dict[str, Alignment]:
    """Every x with every y under every metric: raw, calibrated, and with covariates held constant.

    Args:
        xs: representations, each (n, d), rows as given.
        ys: references, each (n, d) of the same rows.
        held: (n, c) covariates.
        k: neighbours.
        permutations: of the null; 19 are the fewest with a threshold of level .05, which is then the largest of them.
        seed: of the permutations, which are the same for all.
    """
    names = [f"representation {i}" for i in range(len(xs))] + [f"reference {j}" for j in range(len(ys))]

    def scored(sides: Sequence[Sequence[np.ndarray]], metrics: Sequence[str], orders: RowOrders | None) -> list[Scores]:
        a, b = ([torch.from_numpy(np.ascontiguousarray(rows)) for rows in side] for side in sides)
        with torch.no_grad():
            found = score_pairs(a, b, names, metrics, k, None, normalize=False, orders=orders)
        return [{name: values.numpy() for name, values in scores.items()} for scores in found]

    observed, null = scored((xs, ys), AUDITED, draw_orders(len(held), permutations, seed))
    partial = scored([[partial_out(rows, held) for rows in side] for side in (xs, ys)], GRAM_METRICS, None)[0]
    found = {}
    for name in AUDITED:
        raw, chance = observed[name][0], null[name]
        both = [[calibrate(raw[i, j], chance[:, i, j]) for j in range(len(ys))] for i in range(len(xs))]
        calibrated, threshold = np.moveaxis(np.array(both), 2, 0)
        rest = partial[name][0] if name in partial else np.full_like(raw, np.nan)
        found[name] = Alignment(raw, calibrated, threshold, chance.mean(axis=0), rest)
    return found


def outcomes(
    of: Representation, factors: Mapping[str, Mapping[str, Floats]], readout: StateReadout
) -> dict[str, float]:
    """Recall (mean R² over `CELLS`) and precision on test rows, and what needs no comparison: width, effective rank."""
    cells = {split: {name: columns[name] for name in CELLS} for split, columns in factors.items()}
    test = of.features["test"]
    return {
        RECALL: recall_of_reality(of.features, cells, CELLS, resamples=1)["mean"].value,
        PRECISION: readout.precision(of.features, resamples=1).value,
        WIDTH: float(test.shape[1]),
        RANK: effective_rank(test),
    }


def compared(of: Audited, references: Sequence[Reference]) -> dict[str, np.ndarray]:
    """Which references count (booleans) for each kind of comparison; the last of them is the state.

    Of the trained encoders those of the other modalities, those of its own, and of these the ones with another
    objective; none that was at work in the representation.
    """
    others = np.array([one.encoder not in of.met for one in references], bool)
    same = np.array([one.modality == of.of.modality for one in references], bool)
    akin = np.array([one.family == of.of.told["family"] for one in references], bool)
    return {
        ACROSS: np.append(others & ~same, False),
        WITHIN: np.append(others & same, False),
        UNLIKE: np.append(others & same & ~akin, False),
        STATE: np.append(np.zeros(len(references), bool), True),
    }
