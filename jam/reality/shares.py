"""Recall, binding and precision of representations, beside chance, ceilings and the same net before its training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jam.metrics.intervals import paired_difference
from jam.metrics.reality import Share, recall_of_reality
from jam.reality.representations import Representation
from jam.reality.truth import EXPECTED, Truth

CELLS = ("presence", "digit", "colour", "size", "count")
"""Factors that the mean recall is the mean of."""
BAG = ("digits", "colours", "count")
BINDING = {"linear": ("products", BAG), "strict": ("products", (*BAG, EXPECTED))}
"""What is told of digit × colour beyond linear functions of the bag, and beyond every function of it."""
RECALL, BOUND, PRECISION = "reality_recall", "binding", "precision"
GAINED = ((RECALL, "mean"), *((RECALL, name) for name in CELLS), (BOUND, "strict"), (PRECISION, None))
CHANCE = 200  # resamples where only an end of an interval is asked for

Name = tuple[str, str | None]
"""A metric and its label: a factor, or a kind of binding."""


@dataclass(frozen=True)
class Scored:
    """Scores of one representation.

    Attributes:
        told: what it is, in columns of results.
        modality: of its views.
        shares: by name.
        chance: by name the upper end of the interval of the same rows in random order.
        explicable: the share of variance that two views of an item have in common, None where there is one view.
        kernels: rows of results about its kernel.
    """

    told: Mapping[str, Any]
    modality: str
    shares: Mapping[Name, Share]
    chance: Mapping[Name, float]
    explicable: float | None
    kernels: Sequence[Mapping[str, Any]] = ()


def score_shares(of: Representation, truth: Truth, resamples: int, seed: int) -> Scored:
    """Recall by factor and its mean, both kinds of binding, precision, each also of the rows in a random order."""
    rng = np.random.default_rng(seed)
    mixed = {split: rows[rng.permutation(len(rows))] for split, rows in of.features.items()}
    chance = {name: share.high for name, share in _shares(mixed, truth, CHANCE, seed).items()}
    shares = _shares(of.features, truth, resamples, seed)
    common = None if of.second is None else common_share(of.features["test"], of.second)
    return Scored(of.told, of.modality, shares, chance, common)


def _shares(x: Mapping[str, np.ndarray], truth: Truth, resamples: int, seed: int) -> dict[Name, Share]:
    told = recall_of_reality(x, truth.factors, CELLS, BINDING, resamples=resamples, seed=seed)
    found: dict[Name, Share] = {
        (BOUND if name in BINDING else RECALL, name): share for name, share in told.items() if name != EXPECTED
    }
    return found | {(PRECISION, None): truth.readout.precision(x, resamples=resamples, seed=seed)}


def common_share(x: np.ndarray, second: np.ndarray) -> float:
    """Share of the variance of two views of the same items, (n, d) each, that they have in common.

    Σ cov(x_j, x'_j) / ½ Σ (var x_j + var x'_j): what can be told of a view by all that is known of its item, and the
    most that its state can explain where views have nothing else in common.
    """
    a, b = (rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64) for rows in (x, second))
    return float(2 * (a * b).sum() / (np.square(a).sum() + np.square(b).sum()))


def share_rows(
    scored: Sequence[Scored], ceilings: Mapping[str, Scored], untrained: Mapping[Any, Scored], resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Rows of results of all shares, and of gains over the same net at init.

    Args:
        scored: of all representations.
        ceilings: modality → the control that tells all that can be told.
        untrained: by `net` of those that have been trained, the same before.
        resamples: of the bootstrap of gains.
        seed: of the bootstrap of gains.
    """
    rows = []
    for one in scored:
        most = ceilings.get(one.modality)
        for (metric, label), share in one.shares.items():
            ceiling = one.explicable if metric == PRECISION else most.shares[metric, label].value if most else None
            rows.append(
                {
                    **_row(one, metric, label), "value": share.value, "low": share.low, "high": share.high,
                    "interval": "bootstrap over rows", "null": one.chance[metric, label], "ceiling": ceiling,
                }
            )  # fmt: skip
        before = untrained.get(net(one))
        if before is None or before is one:
            continue
        for metric, label in GAINED:
            found = paired_difference(
                one.shares[metric, label].rows, before.shares[metric, label].rows, resamples, seed
            )
            told = {**_row(one, metric, label), "against": "init", **found._asdict()}
            rows.append({**told, "interval": "paired bootstrap over rows"})
    return rows


def net(of: Scored) -> tuple[Any, Any] | None:
    """An encoder and its layer, where these are features of the encoder as it was trained or will be."""
    own = of.told.get("seed") is None and of.told.get("subject") is None and of.told.get("condition") != "whitened"
    return (of.told["x"], of.told["x_layer"]) if own else None


def _row(of: Scored, metric: str, label: str | None) -> dict[str, Any]:
    n = len(of.shares[metric, label].rows)
    return {**of.told, "split": "test", "metric": metric, "label": label, "n": n}
