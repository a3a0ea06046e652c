"""Hypotheses judged by rules: effects that must all be above a bound, and a correction for several hypotheses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr

Outcome = Literal["supported", "refuted", "undecided"]
REACH = 1.959963984540054  # of a 95 % interval of a normal distribution, in standard errors


@dataclass(frozen=True)
class Effect:
    """An estimate that a hypothesis asks to be above a bound: 0 of a gain, −margin where it must not be much worse.

    Attributes:
        name: what is estimated.
        value: the estimate.
        low, high: ends of its interval of 95 %.
        above: the bound.
        n: items, or units of them.
        seeds: how many.
    """

    name: str
    value: float
    low: float
    high: float
    above: float
    n: int
    seeds: int

    @property
    def p(self) -> float:
        """One-sided p value of "not above the bound", of a normal distribution as wide as the interval."""
        error = (self.high - self.low) / (2 * REACH)
        if error <= 0:
            return 0.0 if self.value > self.above else 1.0
        return float(ndtr((self.above - self.value) / error))

    @property
    def contradicts(self) -> bool:
        """Whether the whole interval lies on the wrong side of the bound."""
        return self.high < self.above


@dataclass(frozen=True)
class Verdict:
    """What became of a hypothesis.

    Attributes:
        p: intersection-union p value: the largest of its effects, as all must be above their bounds (Berger 1982).
        p_holm: the same, corrected for the number of hypotheses.
        outcome: *supported* where ``p_holm`` is at most the level; else *refuted* where the whole interval of some
            effect lies beyond its bound; else *undecided*.
    """

    p: float
    p_holm: float
    outcome: Outcome


def judge(hypotheses: Sequence[Sequence[Effect]], level: float) -> list[Verdict]:
    """Judge hypotheses together, each by its effects.

    Args:
        hypotheses: of each at least one effect.
        level: of all together: the chance that any is called supported that is not true is at most so large.

    Raises:
        ValueError: a hypothesis without effects, or an effect that is not finite.
    """
    for effects in hypotheses:
        numbers = [number for one in effects for number in (one.value, one.low, one.high)]
        if not effects or not np.isfinite(numbers).all():
            raise ValueError(f"hypotheses: got {list(effects)}, expected at least one effect, all of them finite")
    p = [max(one.p for one in effects) for effects in hypotheses]
    found = []
    for effects, own, corrected in zip(hypotheses, p, holm(p), strict=True):
        contradicted = any(one.contradicts for one in effects)
        outcome: Outcome = "supported" if corrected <= level else "refuted" if contradicted else "undecided"
        found.append(Verdict(own, corrected, outcome))
    return found


def holm(p: Iterable[float]) -> list[float]:
    """Adjusted p values (Holm 1979), in the order given."""
    values = np.array(list(p))
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    found = np.empty(len(values))
    found[order] = np.minimum(steps, 1)
    return [float(value) for value in found]
