"""What becomes of variants as rows of results: means with intervals, paired differences, monitors and their bands."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from jam.evaluation.contrasts import contrast_rows, observations
from jam.evaluation.scores import Key, Outcome, summarise
from jam.params.resampler import Band
from jam.resampler.monitors import Monitor

Runs = Mapping[str, Mapping[int, Mapping[Key, Outcome]]]
"""By variant and seed what was found."""


def score_rows(runs: Runs, resamples: int, units: np.ndarray) -> pd.DataFrame:
    """Means over seeds and items with intervals, of each variant."""
    return pd.concat(
        [summarise(found, len(units), resamples, units=units).assign(subject=name) for name, found in runs.items()],
        ignore_index=True,
    )


def difference_rows(runs: Runs, resamples: int, units: np.ndarray) -> pd.DataFrame:
    """The first variant minus each other, paired on items."""
    observed = {name: observations(found) for name, found in runs.items()}
    first, *others = observed
    return pd.DataFrame(contrast_rows(observed, [(first, other) for other in others], units, resamples))


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
