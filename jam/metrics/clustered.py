"""Rank correlation of scores of things that come in clusters, and what it is under other draws of the clusters.

Layers, seeds and checkpoints of one network are no independent observations: what a correlation over them is worth
hangs on how many networks there are, and these are what is drawn.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from jam.metrics._rows import numbered

Floats = npt.NDArray[np.float64]


def cluster_draws(clusters: Sequence[Hashable], resamples: int, seed: int = 0) -> Floats:
    """How often each thing is in each resample of as many clusters, drawn with replacement, all of a cluster together.

    Args:
        clusters: (n,) labels.
        resamples: at least 1; equal seeds draw equal clusters.
        seed: of the draws.

    Returns:
        (resamples, n) counts.

    Raises:
        ValueError: no resamples.
    """
    if resamples < 1:
        raise ValueError(f"resamples: got {resamples}, expected at least 1")
    codes = numbered(np.array(clusters), len(clusters))
    count = int(codes.max()) + 1
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    times = np.zeros((resamples, count))
    np.add.at(times, (np.arange(resamples)[:, None], drawn), 1)
    return times[:, codes]


def rank_correlations(x: npt.ArrayLike, y: npt.ArrayLike, counts: npt.ArrayLike) -> Floats:
    """Spearman's ρ of every x with every y, where each thing is there as often as each of the counts says.

    Ties have their mean rank. A thing that is there twice ties with itself, as in a resample that is written out.

    Args:
        x: (p, n) scores; of each row, things that are NaN take no part.
        y: (q, n) finite scores.
        counts: (b, n) how often each thing is there.

    Returns:
        (p, q, b), NaN where one of the two does not vary.

    Raises:
        ValueError: shapes do not match.
    """
    xs, ys, times = (np.asarray(values, dtype=np.float64) for values in (x, y, counts))
    if {values.ndim for values in (xs, ys, times)} != {2} or not xs.shape[1] == ys.shape[1] == times.shape[1]:
        raise ValueError(f"x, y, counts: got shapes {xs.shape}, {ys.shape}, {times.shape}, expected (·, n) each")
    found = np.full((len(xs), len(ys), len(times)), np.nan)
    whole = [_ranks(values, times) for values in ys]
    for i, values in enumerate(xs):
        held = np.isfinite(values)
        if not held.any():
            continue
        mine, often = _ranks(values[held], times[:, held]), times[:, held]
        for j, others in enumerate(whole if held.all() else [_ranks(one[held], often) for one in ys]):
            found[i, j] = _correlation(mine, others, often)
    return found


def _ranks(values: Floats, counts: Floats) -> Floats:
    """Ranks of (n,) values under (b, n) counts, but for a constant: how many are below, and half of those that tie."""
    below = (values[:, None] < values) + 0.5 * (values[:, None] == values)  # (j, i): j is below i
    found: Floats = counts @ below
    return found


def _correlation(x: Floats, y: Floats, counts: Floats) -> Floats:
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    x, y = (ranks - (counts * ranks).sum(axis=1, keepdims=True) / totals for ranks in (x, y))
    scale = np.sqrt((counts * x**2).sum(axis=1) * (counts * y**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(scale > 1e-9, (counts * x * y).sum(axis=1) / scale, np.nan)
    return found
