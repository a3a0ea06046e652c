"""What a finished cell of a sweep tells: scores on validation and on test rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jam.align.adapter import Adapter
from jam.align.items import Items
from jam.align.rows import negative_rows
from jam.evaluation.known import Relevance, private_views, read_relevance
from jam.evaluation.private import Views
from jam.evaluation.scores import Key, evaluate, rows_of
from jam.features.store import read_layer

SCORED = ("val", "test")
DIGITS = 6  # of what single rows contribute


@dataclass(frozen=True)
class Known:
    """Where to read what the world tells of views.

    Attributes:
        world: its folder.
        modalities: of each side.
    """

    world: Path
    modalities: tuple[tuple[str, str], ...]


def scores(
    adapters: Mapping[str, Adapter],
    sides: Mapping[str, Path],
    items: Mapping[str, Items],
    pairs: Sequence[tuple[str, str]],
    k: int,
    known: Known | None = None,
) -> dict[str, Any]:
    """Scores of adapters on validation and test rows.

    Args:
        adapters: by side.
        sides: name → a layer file of features.
        items: by split.
        pairs: of sides.
        k: neighbours, for preservation.
        known: where the truth is told.

    Returns:
        ``rows`` of results (`kept`); and, where something is private to views, ``private``, side → factor → what each
        test item contributes to the share that is told of it.
    """
    relevant, views = _told_of(known, tuple(sides.items()), tuple(pairs)) if known else ({}, {})
    tables = {name: read_layer(path) for name, path in sides.items()}
    order = next(iter(tables.values()))[1]
    rows: list[dict[str, Any]] = []
    for split in SCORED:
        negatives = {y: negative_rows(tables[y][1], order, split) for _, y in pairs}
        found = evaluate(adapters, items[split], pairs, negatives, k, relevant.get(split), ranked=False)
        rows += [{"split": split, **row} for row in rows_of({key: of for key, of in found.items() if kept(key)})]
    private: dict[str, dict[str, list[float]]] = {}
    for name, (validating, testing) in views.items():
        for split, mine in zip(SCORED, (validating, testing), strict=True):
            told = mine.told(adapters[name])
            told_rows = {Key("private", name, label=label): one.value for label, one in told.items()}
            rows += [{"split": split, **row} for row in rows_of(told_rows)]
        private[name] = {label: np.round(one.rows, DIGITS).tolist() for label, one in told.items()}
    return {"rows": rows, "private": private}


def kept(key: Key) -> bool:
    """Whether a sweep tells an outcome: R@1, accuracy on hard negatives, preservation, reconstruction."""
    return (
        (key.metric in ("recall", "true_recall") and key.k == 1)
        or (key.metric, key.tier) == ("hard_negatives", "hard")
        or key.metric in ("preservation", "reconstruction_r2")
    )


@lru_cache(maxsize=1)
def _told_of(
    known: Known, sides: tuple[tuple[str, Path], ...], pairs: tuple[tuple[str, str], ...]
) -> tuple[dict[str, Relevance], dict[str, tuple[Views, Views]]]:
    """By split what is true of what, and by side the views of which something is private, for each of `SCORED`.

    Kept for the next cell, which mostly has the same sides.
    """
    tables = {name: read_layer(path) for name, path in sides}
    texts = [name for name, modality in known.modalities if modality == "text"]
    relevant = {split: read_relevance(known.world, tables, texts, split, pairs) for split in SCORED}
    views = private_views(known.world, tables, dict(known.modalities))
    return relevant, {name: (mine.validating(), mine) for name, mine in views.items()}
