"""Hard negatives: does an image prefer its caption to a sentence that is almost the same, and false?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jam.metrics._rows import (
    Array,
    as_index,
    as_rows,
    cosine_resolution,
    pair_cosines,
    require_one_space,
    row_norms,
)

TIERS = ("easy", "medium", "hard")


def hard_negative_correct(
    images: Array, positives: Array, negatives: Array, image_of_negative: Array, positive_of_negative: Array
) -> npt.NDArray[np.bool_]:
    """Whether cos(image, caption) > cos(image, negative), for every negative (Hsieh et al. 2023, SugarCrepe).

    The comparison is strict and made in double precision; scores that rounding cannot tell apart are ties, and a tie
    is wrong: collapsed embeddings score 0.

    Args:
        images: (n, d) embeddings; rows are L2-normalised here, as are the others.
        positives: (m, d) embeddings of true captions.
        negatives: (q, d) embeddings of false sentences.
        image_of_negative: (q,) row of ``images`` that each negative is false of.
        positive_of_negative: (q,) row of ``positives`` that it competes with.

    Returns:
        (q,) booleans.

    Raises:
        ValueError: shapes, devices or indices do not fit together.
        InputError: a row is zero or not finite.
    """
    a, p, q = as_rows(images, "images"), as_rows(positives, "positives"), as_rows(negatives, "negatives")
    require_one_space(images=a, positives=p, negatives=q)
    image = as_index(image_of_negative, "image_of_negative", len(q), len(a), a.device)
    positive = as_index(positive_of_negative, "positive_of_negative", len(q), len(p), a.device)
    a_norms, p_norms, q_norms = row_norms(a, "images"), row_norms(p, "positives"), row_norms(q, "negatives")
    every = torch.arange(len(q), device=q.device)
    right = pair_cosines(a, a_norms, image, p, p_norms, positive)
    wrong = pair_cosines(a, a_norms, image, q, q_norms, every)
    correct: npt.NDArray[np.bool_] = (right - wrong > 2 * cosine_resolution(a.shape[1], right.dtype)).cpu().numpy()
    return correct


def hard_negative_accuracy(
    correct: npt.ArrayLike, kinds: Sequence[str], tiers: Sequence[str]
) -> dict[str, float | int | dict[str, dict[str, float | int]]]:
    """Accuracy over all negatives, by kind and by tier, each with its count.

    Args:
        correct: (q,) booleans of :func:`hard_negative_correct`.
        kinds: (q,) what was changed, as SugarCrepe names it: ``replace_object``, ``replace_attribute``,
            ``replace_relation``, ``swap_object``, ``swap_attribute``, ``add_object``, ``add_attribute``; others are
            kept under their own name.
        tiers: (q,) ``easy`` (another image's caption), ``medium`` (one of the same context) or ``hard`` (one change).

    Returns:
        ``{"accuracy", "n", "by_kind": {kind: {"accuracy", "n"}}, "by_tier": {tier: {"accuracy", "n"}}}``; only kinds
        and tiers that occur.

    Raises:
        ValueError: lengths differ, nothing was given, or a tier is unknown.
    """
    hits = np.asarray(correct)
    if hits.dtype != np.bool_ or hits.ndim != 1 or not len(hits) == len(kinds) == len(tiers) or len(hits) == 0:
        raise ValueError(
            f"correct, kinds, tiers: got {hits.dtype} of shape {hits.shape}, {len(kinds)} kinds and {len(tiers)} "
            "tiers, expected booleans and as many strings, at least 1"
        )
    unknown = sorted(set(tiers) - set(TIERS))
    if unknown:
        raise ValueError(f"tiers: got {unknown[0]!r}, expected one of {', '.join(TIERS)}")
    return {**_accuracy(hits), "by_kind": _accuracy_by(hits, kinds), "by_tier": _accuracy_by(hits, tiers)}


def _accuracy(hits: npt.NDArray[np.bool_]) -> dict[str, Any]:
    return {"accuracy": float(hits.mean()), "n": len(hits)}


def _accuracy_by(hits: npt.NDArray[np.bool_], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    labels = np.asarray(names)
    return {str(name): _accuracy(hits[labels == name]) for name in np.unique(labels)}
