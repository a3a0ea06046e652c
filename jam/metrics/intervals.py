"""Confidence intervals over seeds and of proportions."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit  # quantiles; scipy.stats takes half a second more to import

from jam.errors import InputError

Interval = tuple[float, float]


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


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, expected a number in (0, 1)")
