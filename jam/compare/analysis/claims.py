"""Numbers that are stated of models, beside those that were measured, with a rule for what holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

Outcome = Literal["holds", "does not hold", "undecided", "not measured yet"]

TOLERANCE = 0.05  # of a claim that is one number: it is taken to mean so much more or less


@dataclass(frozen=True)
class Claim:
    """A number that is stated.

    Attributes:
        name: by which it is called in results.
        text: as it is stated.
        low, high: from where to where it would hold; infinite where no bound is stated.
        kind: which measurements speak of it.
        modalities: of the towers that it is on.
    """

    name: str
    text: str
    low: float
    high: float
    kind: Literal["similarity", "depth", "brain", "stitch", "merge"]
    modalities: tuple[str, ...] = ("image", "text")


@dataclass(frozen=True)
class Measured:
    """A value with its 95 % interval and the items behind it."""

    value: float
    low: float
    high: float
    n: int


def _about(value: float) -> tuple[float, float]:
    return value - TOLERANCE, value + TOLERANCE


CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for claim in (
        Claim("clip_align", "CLIP and ALIGN: CKA 0.87 (final layer)", *_about(0.87), "similarity"),
        Claim("clip_align_example", "CLIP and ALIGN: CKA 0.85", *_about(0.85), "similarity"),
        Claim("clip_blip", "CLIP and BLIP: CKA 0.82 (final layer)", *_about(0.82), "similarity"),
        Claim("cnn_cnn", "within the CNN family: CKA > 0.90", 0.90, inf, "similarity", ("image",)),
        Claim("cnn_vit", "CNN and ViT: CKA 0.75 to 0.80", 0.75, 0.80, "similarity", ("image",)),
        Claim("final_layers", "final layers: CKA > 0.85", 0.85, inf, "depth"),
        Claim("middle_layers", "middle layers: CKA about 0.7", *_about(0.7), "depth"),
        Claim("early_layers", "early layers: CKA 0.4 to 0.6", 0.4, 0.6, "depth"),
        Claim("brain_cnn", "brain (IT) and CNN: CKA 0.65 to 0.75", 0.65, 0.75, "brain"),
        Claim("stitching", "stitching loses 2 to 8 %", 0.02, 0.08, "stitch"),
        Claim("stitching_less", "stitching loses < 5 %", -inf, 0.05, "stitch"),
        Claim("merging", "merging keeps 90 to 95 %", 0.90, 0.95, "merge"),
    )
}
"""Of brain and models the stated 0.6 to 0.8 elsewhere is wider, and not listed twice."""


def judge(claim: Claim, measured: Measured | None) -> Outcome:
    """Whether a claim holds of what was measured.

    *holds*: the whole interval lies within what is claimed. *does not hold*: the interval and what is claimed do not
    meet. *undecided*: they overlap, so that these items do not tell. *not measured yet*: there is nothing.

    Raises:
        ValueError: an interval that is not finite, or whose ends are the wrong way round.
    """
    if measured is None:
        return "not measured yet"
    if not np.isfinite([measured.low, measured.high]).all() or measured.low > measured.high:
        ends = f"[{measured.low}, {measured.high}]"
        raise ValueError(f"{claim.name}: got an interval {ends}, expected two numbers in order")
    if claim.low <= measured.low and measured.high <= claim.high:
        return "holds"
    if measured.high < claim.low or claim.high < measured.low:
        return "does not hold"
    return "undecided"


def pooled(some: Sequence[Measured]) -> Measured | None:
    """The mean of measurements on the same items, its interval from the means of their ends; None of none.

    That is the interval of a mean whose parts err together, the widest that it can be: pairs of models that are scored
    on the same items do, and how much is not known.
    """
    if not some:
        return None
    value, low, high = (float(np.mean([getattr(one, end) for one in some])) for end in ("value", "low", "high"))
    return Measured(value, low, high, min(one.n for one in some))
