"""What a pair of adapters is worth on rows that it has not seen, with intervals over seeds and images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jam.metrics import (
    alignment,
    hard_negative_correct,
    modality_gap,
    preservation_rows,
    reconstruction_r2,
    retrieval_ranks,
    t_interval,
    uniformity,
)
from jam.models import Adapter
from jam.pairing import Pairs

RECALLS = (1, 5, 10)

# The scores that a method is known by, in the order of a result table: name → (metric, group) of `evaluate`.
SCORES = {
    "i2t_r1": ("i2t_r1", ""),
    "t2i_r1": ("t2i_r1", ""),
    "hard_negatives": ("negatives_by_tier", "hard"),
    "preservation_image": ("preservation", "image"),
    "preservation_text": ("preservation", "text"),
    "r2_image": ("reconstruction_r2", "image"),
    "r2_text": ("reconstruction_r2", "text"),
}


@dataclass(frozen=True)
class PerRow:
    """A metric that is a mean over observations, each of which belongs to an image.

    Attributes:
        values: (m,) one for each observation.
        image: (m,) the image (0 … n−1) that it belongs to; images are what a bootstrap may resample.
    """

    values: np.ndarray
    image: np.ndarray


Outcome = PerRow | float
Key = tuple[str, str]  # metric, and the group of rows that it is about ("" for all)


def evaluate(image: Adapter, text: Adapter, pairs: Pairs, negatives: pd.DataFrame, k: int) -> dict[Key, Outcome]:
    """Score one pair of adapters.

    Args:
        image: adapter of image features.
        text: adapter of text features.
        pairs: the rows to score on.
        negatives: one row for each false caption, as `jam.pairing.negative_rows` gives it.
        k: neighbours, for preservation.

    Returns:
        For each (metric, group) its outcome: retrieval both ways; hard-negative accuracy by kind and by tier, and
        over all of tier ``hard``; reconstruction R² (autoencoders); preservation; alignment, uniformity, modality gap.
    """
    images = np.arange(len(pairs))
    caption_rows, image_of_text = pairs.flat_captions()
    v, t = pairs.images[pairs.image_rows], pairs.texts[caption_rows]
    a, p = image.encode(v), text.encode(t)
    first = np.unique(image_of_text, return_index=True)[1]  # one caption for each image, where rows must match

    outcomes: dict[Key, Outcome] = {}
    for way, ranks, owner in zip(
        ("i2t", "t2i"), retrieval_ranks(a, p, image_of_text), (images, image_of_text), strict=True
    ):
        for recall in RECALLS:
            outcomes[f"{way}_r{recall}", ""] = PerRow(ranks <= recall, owner)
        outcomes[f"{way}_mrr", ""] = PerRow(1 / ranks, owner)
        outcomes[f"{way}_median_rank", ""] = float(np.median(ranks))

    if len(negatives):
        q = text.encode(pairs.texts[negatives["row"].to_numpy()])
        true = text.encode(pairs.texts[negatives["caption_row"].to_numpy()])
        owner = negatives["image"].to_numpy()
        correct = hard_negative_correct(a, true, q, owner, np.arange(len(q)))
        for column in ("kind", "tier"):
            for group in sorted(negatives[column].unique()):
                here = (negatives[column] == group).to_numpy()
                outcomes[f"negatives_by_{column}", group] = PerRow(correct[here], owner[here])

    for side, adapter, features, latents in (("image", image, v, a), ("text", text, t[first], p[first])):
        if adapter.reconstructs:
            outcomes["reconstruction_r2", side] = reconstruction_r2(features, adapter.autoencode(features))
        outcomes["preservation", side] = PerRow(preservation_rows(features, latents, k), images)
        outcomes["uniformity", side] = uniformity(latents)
    outcomes["alignment", ""] = alignment(a, p[first])
    outcomes["modality_gap", ""] = modality_gap(a, p[first])
    return outcomes


def summarise(
    runs: Mapping[int, Mapping[Key, Outcome]], n: int, resamples: int, seed: int = 0, confidence: float = 0.95
) -> pd.DataFrame:
    """One tidy table over seeds: a row for each metric, group and seed, and one for their mean with its interval.

    The interval of a mean over rows is a two-level bootstrap: seeds and images are both drawn with replacement, an
    image with all of its observations (its captions, its negatives). Other metrics have a t-interval over seeds.

    Args:
        runs: outcomes by seed.
        n: number of images.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        confidence: of the interval.

    Returns:
        Columns metric, group, seed (a number, or ``mean``), value, low, high (mean rows only), n, seeds, interval.
    """
    rows = []
    generator = np.random.default_rng(seed)
    image_weights = generator.multinomial(n, np.full(n, 1 / n), size=resamples)
    seed_weights = generator.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=resamples) / len(runs)
    for key in next(iter(runs.values())):
        outcomes = [run[key] for run in runs.values()]
        values = [_value(outcome) for outcome in outcomes]
        low, high, how = np.nan, np.nan, ""
        if all(isinstance(outcome, PerRow) for outcome in outcomes):
            low, high = _bootstrap(outcomes, n, image_weights, seed_weights, confidence)  # type: ignore[arg-type]
            how = "bootstrap over seeds and images" if len(runs) > 1 else "bootstrap over images"
        elif len(runs) > 1:
            low, high = t_interval(values, confidence)
            how = "t over seeds"
        count = len(outcomes[0].values) if isinstance(outcomes[0], PerRow) else n
        shared = {"metric": key[0], "group": key[1], "n": count, "seeds": len(runs)}
        rows += [{**shared, "seed": str(s), "value": value} for s, value in zip(runs, values, strict=True)]
        rows.append({**shared, "seed": "mean", "value": np.mean(values), "low": low, "high": high, "interval": how})
    return pd.DataFrame(rows)[["metric", "group", "seed", "value", "low", "high", "interval", "n", "seeds"]]


def _value(outcome: Outcome) -> float:
    return float(np.mean(outcome.values)) if isinstance(outcome, PerRow) else float(outcome)


def _bootstrap(
    outcomes: Sequence[PerRow], n: int, image_weights: np.ndarray, seed_weights: np.ndarray, confidence: float
) -> tuple[float, float]:
    """Percentiles of the resampled mean: weights (resamples, n) and (resamples, seeds) say what each draw holds."""
    sums = np.stack([np.bincount(outcome.image, weights=outcome.values, minlength=n) for outcome in outcomes])
    counts = np.bincount(outcomes[0].image, minlength=n)
    held = image_weights @ counts
    means = ((seed_weights @ sums) * image_weights).sum(axis=1)[held > 0] / held[held > 0]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
