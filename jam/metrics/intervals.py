"""Confidence intervals over seeds and test rows."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit  # quantiles; scipy.stats takes half a second more to import

from jam.errors import InputError

Interval = tuple[float, float]


def bootstrap_interval(
    values: npt.ArrayLike,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    statistic: Literal["mean", "median"] = "mean",
) -> Interval:
    """Percentile interval of a score over training seeds and test rows, both resampled (Efron & Tibshirani 1993, §13).

    The score is the statistic over rows (mean for recalls, hits or overlaps; median for a median rank), averaged over
    seeds. A resample draws seeds and rows with replacement, the same rows for every seed: seeds share the test rows,
    so their noise does not average out. Rows must be independent: average the captions of one image first. With a
    handful of seeds the percentiles are too narrow in that level by about √((s−1)/s); for the spread over seeds
    alone see :func:`t_interval`.

    Args:
        values: (seeds, rows) value of every test row under every seed; one seed as (1, rows).
        confidence: coverage aimed at, in (0, 1).
        resamples: number of resamples.
        seed: of the resampling.
        statistic: over rows.

    Returns:
        ``(low, high)``.

    Raises:
        ValueError: a shape or a setting is out of range.
        InputError: a value is not finite.
    """
    table = _as_finite(values, 2)
    _check_confidence(confidence)
    if resamples < 1:
        raise ValueError(f"resamples: got {resamples}, expected at least 1")
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic: got {statistic!r}, expected 'mean' or 'median'")
    over_rows = np.mean if statistic == "mean" else np.median
    rng = np.random.default_rng(seed)
    seeds, rows = table.shape
    scores = np.empty(resamples)
    for k in range(resamples):
        per_seed = over_rows(table[:, rng.integers(rows, size=rows)], axis=1)
        scores[k] = per_seed[rng.integers(seeds, size=seeds)].mean()
    low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def t_interval(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean over seeds: mean ± t·s/√n with n − 1 degrees of freedom.

    Args:
        values: (n,) one score a seed, n ≥ 2.
        confidence: coverage aimed at, in (0, 1).

    Returns:
        ``(low, high)``.

    Raises:
        ValueError: fewer than two values, or a confidence out of range.
        InputError: a value is not finite.
    """
    scores = _as_finite(values, 1)
    _check_confidence(confidence)
    if len(scores) < 2:
        raise ValueError(f"values: got {len(scores)}, expected at least 2 for an interval over seeds")
    half = stdtrit(len(scores) - 1, (1 + confidence) / 2) * scores.std(ddof=1) / np.sqrt(len(scores))
    return float(scores.mean() - half), float(scores.mean() + half)


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of a proportion of independent trials, sound near 0 and 1 too (Wilson 1927).

    Args:
        successes: 0 to n.
        n: trials, at least 1.
        confidence: coverage aimed at, in (0, 1).

    Returns:
        ``(low, high)`` within [0, 1].

    Raises:
        ValueError: a count or the confidence is out of range.
    """
    _check_confidence(confidence)
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes, n: got {successes} of {n}, expected 0 ≤ successes ≤ n and n ≥ 1")
    z2 = ndtri((1 + confidence) / 2) ** 2
    centre = (successes + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (successes * (n - successes) / n + z2 / 4)) / (n + z2)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _as_finite(values: npt.ArrayLike, dimensions: int) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions or array.size == 0:
        wanted = "(seeds, rows)" if dimensions == 2 else "(seeds,)"
        raise ValueError(f"values: got shape {array.shape}, expected {wanted}, not empty")
    if not np.isfinite(array).all():
        raise InputError(f"values: {int((~np.isfinite(array)).sum())} of {array.size} are NaN or infinite")
    return array


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, expected a number in (0, 1)")
