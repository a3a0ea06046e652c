"""What spaces do at fewer dimensions as rows of results: means with intervals, costs, paired differences."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from jam.evaluation.contrasts import contrast_rows, observations
from jam.evaluation.scores import Key, Outcome, summarise
from jam.widths.curve import Questions
from jam.widths.shortlist import multiply_adds

METHODS = ("matryoshka", "separate", "truncation", "principal", "random")
"""Ways to few dimensions; the first is held against each other."""
Cell = tuple[str, int, int | None]
"""A method, a number of dimensions and, of adaptive retrieval, the length of the shortlist."""
Runs = Mapping[Cell, Mapping[int, Mapping[Key, Outcome]]]
"""By cell and seed what was found."""


def curve_tables(runs: Runs, asked: Questions, full: int, resamples: int, units: np.ndarray) -> Iterator[pd.DataFrame]:
    """Means over seeds with intervals, a table a cell; of shortlists the multiply-adds that a query costs, too.

    Args:
        runs: all.
        asked: what they were asked.
        full: width by which shortlists are put in order.
        resamples: of the bootstrap.
        units: of items that are no independent draws, see `jam.evaluation.scores.summarise`.
    """
    gallery = dict(zip(("y_to_x", "x_to_y"), asked.right.shape, strict=True))
    for (method, dims, shortlist), found in runs.items():
        table = summarise(found, len(asked.items), resamples, units=units)
        means = table[table["seed"].isna()].drop(columns="seed")
        if shortlist is not None:
            costs = [multiply_adds(gallery[way], full, dims, shortlist) for way in means["direction"]]
            told = means[["x", "y", "direction", "seeds"]].assign(metric="multiply_adds", value=costs)
            means = pd.concat([means, told.assign(n=told["direction"].map(gallery))])
        yield means.assign(method=method, dims=dims, shortlist=shortlist)


def difference_tables(runs: Runs, dims: Sequence[int], resamples: int, units: np.ndarray) -> Iterator[pd.DataFrame]:
    """The first of `METHODS` minus each other, paired on items, a table a number of dimensions."""
    for d in dims:
        observed = {method: observations(runs[method, d, None]) for method in METHODS}
        told = pd.DataFrame(contrast_rows(observed, [(METHODS[0], other) for other in METHODS[1:]], units, resamples))
        yield told.assign(method=told["subject"], dims=d)
