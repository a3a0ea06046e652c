"""What becomes of variants as rows of results: means with intervals, paired differences, monitors and their bands."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from jam.evaluation.contrasts import contrast_rows, observations
from jam.evaluation.scores import Key, Outcome, summarise
from jam.params.resampler import Band
from jam.resampler.monitors import Monitor
from jam.widths.curve import BINDING

Runs = Mapping[str, Mapping[int, Mapping[Key, Outcome]]]
"""By variant and seed what was found."""
GUESS = "guess"


def score_rows(runs: Runs, resamples: int, units: np.ndarray) -> pd.DataFrame:
    """Means over seeds and items with intervals, of each variant."""
    return pd.concat(
        [summarise(found, len(units), resamples, units=units).assign(subject=name) for name, found in runs.items()],
        ignore_index=True,
    )


def difference_rows(runs: Runs, resamples: int, units: np.ndarray, pooled: str | None = None) -> pd.DataFrame:
    """Paired on items: the first variant minus each other, the ``pooled`` space minus each, and swaps minus a guess.

    p is corrected for the comparisons of a metric (Holm), by itself among each of the three.
    """
    observed = {name: observations(found) for name, found in runs.items()}
    families = [(name, [other for other in observed if other != name]) for name in (next(iter(observed)), pooled)]
    rows = [
        row
        for name, others in families
        if name is not None
        for row in contrast_rows(observed, [(name, other) for other in others], units, resamples)
    ]
    return pd.DataFrame([*rows, *_beyond_guess(observed, units, resamples)])


def _beyond_guess(observed: Mapping[str, pd.DataFrame], units: np.ndarray, resamples: int) -> list[dict[str, Any]]:
    """The share of swaps that each variant tells, minus one half."""
    swaps = {name: of[(of["metric"] == "hard_negatives") & (of["label"] == BINDING)] for name, of in observed.items()}
    first = next(iter(swaps.values()))
    if first.empty:
        return []
    guess = first[first["seed"] == first["seed"].iloc[0]]
    swaps[GUESS] = guess.assign(total=guess["count"] / 2)
    return contrast_rows(swaps, [(name, GUESS) for name in observed], units, resamples)


def monitor_rows(
    watched: Mapping[tuple[str, int], Mapping[Monitor, float]], bands: Mapping[str, Band], n: int
) -> pd.DataFrame:
    """A row a monitor, variant, seed and side; where it has a band, its ends and whether the value lies within."""
    rows = []
    for (name, seed), found in watched.items():
        for (metric, side), value in found.items():
            row = {"subject": name, "seed": seed, "metric": metric, "x": side, "value": value, "n": n, "seeds": 1}
            if metric in bands:
                least, most = bands[metric]
                within = (-math.inf if least is None else least) <= value <= (math.inf if most is None else most)
                row |= {"least": least, "most": most, "passed": within}
            rows.append(row)
    return pd.DataFrame(rows)
