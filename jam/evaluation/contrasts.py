"""Is one space better than another? Paired on the items that both were scored on, over the seeds of either."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jam.evaluation.scores import Key, Outcome, PerRow
from jam.metrics.verdicts import holm

OBSERVED = ("item", "seed", "total", "count")
COMPARED = (
    "recall", "true_recall", "average_precision", "fine_recall", "hard_negatives", "preservation", "private",
    "exact_scene", "cider_d", "answer",
)  # fmt: skip


def observations(runs: Mapping[int, Mapping[Key, Outcome]]) -> pd.DataFrame:
    """What each item adds to the metrics that are compared, by seed.

    Returns:
        The columns of `jam.evaluation.scores.Key`, ``seed``, ``item``, the ``total`` of its observations and ``count``.
    """
    parts = []
    for seed, outcomes in runs.items():
        for key, outcome in outcomes.items():
            if isinstance(outcome, PerRow) and _is_compared(key):
                item, place = np.unique(outcome.item, return_inverse=True)
                total = np.bincount(place, weights=outcome.values)
                told = {"seed": seed, "item": item, "total": total, "count": np.bincount(place)}
                parts.append(pd.DataFrame({**told, **asdict(key)}))
    if not parts:
        return pd.DataFrame(columns=[*Key.__dataclass_fields__, *OBSERVED])
    return pd.concat(parts, ignore_index=True)[[*Key.__dataclass_fields__, *OBSERVED]]


def _is_compared(key: Key) -> bool:
    own = key.condition is None and key.against is None  # else of the features that the space was made of
    return own and key.metric in COMPARED and (key.metric != "recall" or key.k == 1)


def contrast_rows(
    spaces: Mapping[str, pd.DataFrame],
    pairs: Sequence[tuple[str, str]],
    units: npt.NDArray[np.int64],
    resamples: int,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Differences between spaces, both directions of retrieval and both sides together, in columns of results.

    The bootstrap draws items of one unit together, the same for all spaces, and seeds, for each space its own. The p
    values are two-sided, of a normal distribution with the draws' deviation (so many comparisons ask for smaller ones
    than shares of the draws can be), and corrected for the number of pairs (Holm 1979) metric by metric.

    Args:
        spaces: by name what `observations` gave.
        pairs: (space, against).
        units: (n,) for each item the number of what is drawn, from 0.
        resamples: draws.
        seed: of the draws.

    Returns:
        ``value`` is the difference of the means over seeds, of each metric and, of hard negatives, of each kind too.
    """
    rng = np.random.default_rng(seed)
    count = int(units.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    sampled = {name: _sampled(table, units, drawn, rng) for name, table in spaces.items()}
    rows = []
    for what in dict.fromkeys(what for found in sampled.values() for what in found):
        here = [(a, b) for a, b in pairs if what in sampled[a] and what in sampled[b]]
        found = []
        for a, b in here:
            difference = sampled[a][what][1] - sampled[b][what][1]
            low, high = np.quantile(difference, [0.025, 0.975])
            value, deviation = sampled[a][what][0] - sampled[b][what][0], float(difference.std())
            p = math.erfc(abs(value) / deviation / 2**0.5) if deviation > 0 else float(value == 0)
            told = dict(zip(("metric", "tier", "kind", "label", "k"), what, strict=True))
            told |= {"subject": a, "against": b, "value": value, "low": low}
            told |= {"high": high, "p": p, "interval": "paired bootstrap over seeds and items", "null_mean": 0.0}
            found.append(told | {"n": len(np.unique(units)), "seeds": spaces[a]["seed"].nunique(), "split": "test"})
        for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
            rows.append(row | {"p": p})
    return rows


Sampled = dict[tuple[Any, ...], tuple[float, npt.NDArray[np.float64]]]


def _sampled(
    table: pd.DataFrame, units: npt.NDArray[np.int64], drawn: npt.NDArray[np.int64], rng: np.random.Generator
) -> Sampled:
    """By metric, tier, kind, label and k the mean over seeds, directions and sides, and the same in every draw."""
    seeds = sorted(table["seed"].unique())
    weights = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=len(drawn)) / len(seeds)
    found: Sampled = {}
    for what, mine in table.groupby(["metric", "tier", "kind", "label", "k"], sort=False, dropna=False):
        means, values = [], []
        for _, one in mine.groupby(["x", "y", "direction"], sort=False, dropna=False):
            sums = np.stack([
                np.bincount(units[of["item"]], weights=of["total"], minlength=drawn.shape[1])
                for _, of in one.groupby("seed", sort=True)
            ])  # fmt: skip
            first = one[one["seed"] == seeds[0]]
            counts = np.bincount(units[first["item"]], weights=first["count"], minlength=drawn.shape[1])
            held = np.maximum(drawn @ counts, 1e-12)
            values.append(((weights @ sums) * drawn).sum(axis=1) / held)
            means.append(float(sums.mean(axis=0).sum() / counts.sum()))
        found[tuple(None if pd.isna(each) else each for each in what)] = (
            float(np.mean(means)),
            np.mean(values, axis=0),
        )
    return found
