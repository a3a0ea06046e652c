"""Confidence intervals over seeds, of proportions, and of means over rows."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit  # quantiles; scipy.stats takes half a second more to import

from jam.errors import InputError

Interval = tuple[float, float]

_DRAWS = 2**20  # rows drawn at a time: 8 MB


class Estimate(NamedTuple):
    """A value and the two ends of its confidence interval."""

    value: float
    low: float
    high: float


def t_interval(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean over seeds: mean ± t·s/√n with n − 1 degrees of freedom.

    Args:
        values: (n,) one score a seed, n ≥ 2.
        confidence: coverage aimed at, in (0, 1).

    Raises:
        ValueError: fewer than two values, or a confidence out of range.
        InputError: a value is not finite.
    """
    scores = np.asarray(values, dtype=np.float64)
    _check_confidence(confidence)
    if scores.ndim != 1 or len(scores) < 2:
        raise ValueError(f"values: got shape {scores.shape}, expected at least 2 in a row for an interval over seeds")
    if not np.isfinite(scores).all():
        raise InputError(f"values: {int((~np.isfinite(scores)).sum())} of {scores.size} are NaN or infinite")
    half = stdtrit(len(scores) - 1, (1 + confidence) / 2) * scores.std(ddof=1) / np.sqrt(len(scores))
    return float(scores.mean() - half), float(scores.mean() + half)


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of a proportion of independent trials, sound near 0 and 1 too (Wilson 1927).

    Args:
        successes: 0 to n.
        n: trials, at least 1.
        confidence: coverage aimed at, in (0, 1).

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


def bootstrap_mean(rows: npt.ArrayLike, resamples: int = 1000, seed: int = 0, confidence: float = 0.95) -> Estimate:
    """Mean over rows with the percentiles of its bootstrap (Efron & Tibshirani 1993, §13.3).

    Args:
        rows: (n,) what each row contributes, n ≥ 2.
        resamples: of the rows, with replacement, at least 1; equal seeds draw equal rows, whatever the values.
        seed: of the resamples.
        confidence: coverage aimed at, in (0, 1).

    Raises:
        ValueError: fewer than two rows, no resamples, or a confidence out of range.
        InputError: a value is not finite.
    """
    values = np.asarray(rows, dtype=np.float64)
    _check_confidence(confidence)
    if values.ndim != 1 or len(values) < 2 or resamples < 1:
        raise ValueError(f"rows, resamples: got shape {values.shape} and {resamples}, expected (n ≥ 2,) and at least 1")
    if not np.isfinite(values).all():
        raise InputError(f"rows: {int((~np.isfinite(values)).sum())} of {values.size} are NaN or infinite")
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _DRAWS // len(values))
    for start in range(0, resamples, step):
        size = (min(step, resamples - start), len(values))
        means[start : start + step] = values[generator.integers(len(values), size=size)].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


def paired_difference(
    rows_a: npt.ArrayLike, rows_b: npt.ArrayLike, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Estimate:
    """Mean of a minus mean of b over the same rows, which are resampled together: what a row adds to both cancels.

    Args:
        rows_a: (n,) what each row contributes to one score, such as the recall of a trained net.
        rows_b: (n,) what the same rows contribute to another, such as that of the net at init.
        resamples: as in `bootstrap_mean`.
        seed: of the resamples.
        confidence: coverage aimed at, in (0, 1).

    Raises:
        ValueError: shapes differ, or as `bootstrap_mean`.
        InputError: a value is not finite.
    """
    a, b = np.asarray(rows_a, dtype=np.float64), np.asarray(rows_b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"rows_a, rows_b: got shapes {a.shape} and {b.shape}, expected the same rows in both")
    return bootstrap_mean(a - b, resamples, seed, confidence)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, expected a number in (0, 1)")
