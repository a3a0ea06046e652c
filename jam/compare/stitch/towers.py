"""The image tower of one model with the text tower of another: does a map of vectors make them one model?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from jam.compare.resamples import Resamples, recall_null
from jam.compare.stitch.maps import fit_map, relative, unit_rows
from jam.metrics import retrieval_ranks
from jam.metrics.intervals import Estimate

RECALLS = (1, 10)
DIRECTIONS = ("x_to_y", "y_to_x")
OWN, STITCHED, SHUFFLED, UNTRAINED, UNMAPPED = "own", "stitched", "shuffled", "untrained", "unmapped"
OWN_X = "own_x"  # the own score of the model whose images are seen; `OWN` is that of the texts
RELATIVE = "relative"


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
    """Images of A, brought to the space of B's images, with B's texts.

    Anchors are items that both image towers have seen: no text takes part. With ``shuffled`` each is given another's
    vector of B. Relative coordinates need no map: A's images are told by their cosines to A's images of the anchors,
    B's texts by theirs to B's.

    Args:
        a, b: models.
        method: of `jam.compare.stitch.maps.FITS`, or relative.
        anchors: numbers of training rows.
        shuffled: the control.
    """
    x, y = (unit_rows(each.image["train"][anchors]) for each in (a, b))
    if shuffled:
        y = np.roll(y, 1, axis=0)
    seen, told = unit_rows(a.image["test"]), unit_rows(b.text)
    if method == RELATIVE:
        return hits(relative(seen, x), relative(told, y))
    return hits(fit_map(method, x, y)(seen), told)


def tower_rows(
    models: Sequence[Towers], methods: Sequence[str], counts: Sequence[int], drawn: Resamples, seed: int
) -> Iterator[dict[str, Any]]:
    """Rows of results of every image tower with every text tower.

    Of a model's own pair (condition ``own``); of two models by map, and by relative coordinates, over anchors
    (``stitched``); controls with most anchors: of the first map ``shuffled`` anchors and an ``untrained`` bottom, and
    ``unmapped`` (the identity) where widths agree. Beside a score stand its paired differences from the own pairs of B
    (``against``: own) and of A (own_x), and ``kept``, its share of these.

    Args:
        models: whose rows are of the same items.
        methods: maps.
        counts: of anchors, drawn from the training rows.
        drawn: the bootstrap of the test items.
        seed: of the draw of anchors.
    """
    own = {each.name: hits(each.image["test"], each.text) for each in models}
    for each in models:
        yield from score_rows(own[each.name], {"x": each.name, "y": each.name, "condition": OWN}, drawn)
    order = np.random.default_rng(seed).permutation(len(models[0].image["train"]))
    most = min(max(counts), len(order))
    for a, b in permutations(models, 2):
        told: dict[str, Any] = {"x": a.name, "y": b.name}
        against = {OWN: own[b.name], OWN_X: own[a.name]}
        for method in (*methods, RELATIVE):
            for count in sorted({min(count, most) for count in counts}):
                what = told | {"condition": STITCHED, "method": method, "anchors": count}
                yield from score_rows(stitched(a, b, method, order[:count]), what, drawn, against)
        controls = {SHUFFLED: stitched(a, b, methods[0], order[:most], shuffled=True)}
        if a.untrained is not None:
            bare = Towers(a.name, a.untrained, a.text)
            controls[UNTRAINED] = stitched(bare, b, methods[0], order[:most])
        for condition, found in controls.items():
            what = told | {"condition": condition, "method": methods[0], "anchors": most}
            yield from score_rows(found, what, drawn, against)
        if a.image["test"].shape[1] == b.text.shape[1]:
            what = told | {"condition": UNMAPPED, "method": "identity"}
            yield from score_rows(hits(a.image["test"], b.text), what, drawn, against)


def score_rows(
    found: Hits, told: Mapping[str, Any], drawn: Resamples, against: Mapping[str, Hits] | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of results of what was found, and of its paired differences from own pairs, with the share that is kept."""
    for (direction, k), right in found.items():
        what = {**told, "metric": "recall", "direction": direction, "k": k, "n": len(right), "interval": "bootstrap"}
        chance = {"null": recall_null(len(right), k), "null_mean": min(1.0, k / len(right))}
        yield what | drawn.mean(right)._asdict() | chance
        for name, own in (against or {}).items():
            less = drawn.difference(right, own[direction, k])._asdict()
            yield what | less | {"against": name} | kept(drawn.share(right, own[direction, k]))


def kept(share: Estimate | None) -> dict[str, float]:
    """The columns of results that tell a share of an own score; none where that is not above its floor."""
    return {} if share is None else {"kept": share.value, "kept_low": share.low, "kept_high": share.high}
