"""The image tower of one model with the text tower of another: does a map of vectors make them one model?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jam.compare.stitch.maps import fit_map, unit_rows
from jam.metrics import paired_difference, retrieval_ranks
from jam.metrics.intervals import bootstrap_mean

RECALLS = (1, 10)
DIRECTIONS = ("x_to_y", "y_to_x")
OWN, STITCHED, SHUFFLED, UNTRAINED, UNMAPPED = "own", "stitched", "shuffled", "untrained", "unmapped"


@dataclass(frozen=True)
class Towers:
    """The vectors of a model's shared space, rows of the same items in all models.

    Attributes:
        name: of the model.
        image: split → (n, d); ``train`` are the anchors.
        text: (n, d) of the test items.
        untrained: split → (n, d) of the image tower before its training; None where it is not known.
    """

    name: str
    image: Mapping[str, np.ndarray]
    text: np.ndarray
    untrained: Mapping[str, np.ndarray] | None = None


Hits = Mapping[tuple[str, int], np.ndarray]
"""By direction and cut-off which items (n,) are found."""


def hits(images: np.ndarray, texts: np.ndarray) -> Hits:
    """Whether each image finds its own text among all, and each text its image; by cosine.

    Args:
        images: (n, d).
        texts: (n, d) of the same items.
    """
    ranks = retrieval_ranks(unit_rows(images), unit_rows(texts), np.arange(len(texts)))
    return {(way, k): (found <= k).astype(float) for way, found in zip(DIRECTIONS, ranks, strict=True) for k in RECALLS}


def stitched(a: Towers, b: Towers, method: str, anchors: np.ndarray, *, shuffled: bool = False) -> Hits:
    """Images of A, mapped into the space of B's images, with B's texts.

    The map is fitted on anchors that both image towers have seen: no text takes part. With ``shuffled`` each is given
    another's vector of B, see `derangement`.

    Args:
        a, b: models.
        method: of `jam.compare.stitch.maps.FITS`.
        anchors: numbers of training rows.
        shuffled: the control.
    """
    x, y = (unit_rows(each.image["train"][anchors]) for each in (a, b))
    if shuffled:
        y = np.roll(y, 1, axis=0)
    mapped = fit_map(method, x, y)(unit_rows(a.image["test"]))
    return hits(mapped, b.text)


def tower_rows(
    models: Sequence[Towers], methods: Sequence[str], counts: Sequence[int], resamples: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Rows of results of every image tower with every text tower.

    Of a model's own pair (condition ``own``); of two models by map at most anchors (``stitched``), by fewer (the same,
    column ``anchors``); controls with most anchors: of the first map ``shuffled`` anchors and an ``untrained`` bottom,
    and ``unmapped`` (the identity) where widths agree. A stitched score has its paired difference from B's own beside
    it (``against``: own), and ``kept``, its share of B's own.

    Args:
        models: whose rows are of the same items.
        methods: maps.
        counts: of anchors, drawn from the training rows.
        resamples: of the bootstrap over items.
        seed: of the draw of anchors.
    """
    own = {each.name: hits(each.image["test"], each.text) for each in models}
    for each in models:
        yield from score_rows(own[each.name], {"x": each.name, "y": each.name, "condition": OWN}, resamples)
    order = np.random.default_rng(seed).permutation(len(models[0].image["train"]))
    most = min(max(counts), len(order))
    for a in models:
        for b in models:
            if a.name == b.name:
                continue
            told: dict[str, Any] = {"x": a.name, "y": b.name}
            for method in methods:
                for count in counts:
                    what = told | {"condition": STITCHED, "method": method, "anchors": min(count, most)}
                    yield from score_rows(stitched(a, b, method, order[:count]), what, resamples, own[b.name])
            controls = {SHUFFLED: stitched(a, b, methods[0], order[:most], shuffled=True)}
            if a.untrained is not None:
                bare = Towers(a.name, a.untrained, a.text)
                controls[UNTRAINED] = stitched(bare, b, methods[0], order[:most])
            for condition, found in controls.items():
                what = told | {"condition": condition, "method": methods[0], "anchors": most}
                yield from score_rows(found, what, resamples, own[b.name])
            if a.image["test"].shape[1] == b.text.shape[1]:
                found = hits(a.image["test"], b.text)
                yield from score_rows(
                    found, told | {"condition": UNMAPPED, "method": "identity"}, resamples, own[b.name]
                )


def score_rows(found: Hits, told: dict[str, Any], resamples: int, own: Hits | None = None) -> Iterator[dict[str, Any]]:
    """Rows of results of what was found, and of its paired difference from B's own, with the share that is kept."""
    for (direction, k), right in found.items():
        what = told | {"metric": "recall", "direction": direction, "k": k, "n": len(right)}
        chance = {"null_mean": k / len(right)}
        yield what | chance | bootstrap_mean(right, resamples)._asdict() | {"interval": "bootstrap"}
        if own is not None:
            less = paired_difference(right, own[direction, k], resamples)._asdict()
            kept = float(right.mean() / own[direction, k].mean()) if own[direction, k].any() else None
            yield what | less | {"interval": "bootstrap", "against": OWN, "kept": kept}
