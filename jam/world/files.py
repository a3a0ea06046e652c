"""The world on disk, and what it holds in numbers."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jam.data.readers import IMAGE
from jam.data.schema import LABELS, View, described, write_relevance, write_table, write_world
from jam.world.blind import blind_rows
from jam.world.build import World, build_world
from jam.world.claims import relevance
from jam.world.state import STATE_DIM, codes_of, counts_of

PRETRAIN = {
    "images": described({"id": pa.string(), "image": IMAGE, "labels": LABELS}),
    "text": described({"id": pa.string(), "captions": pa.list_(pa.string())}),
}


def write_cave(
    folder: str | Path, folder_pretrain: str | Path, **options: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Build the world; write items, views and relevance into one folder, what to pretrain on into the other.

    ``options`` are those of `jam.world.build.build_world`; what is returned is its `summary`, and the `blind_rows` of
    its test items.
    """
    world = build_world(**options)
    write_world(folder, world.rows, STATE_DIM)
    true = {split: _true_of(world, split) for split in world.claims}
    write_relevance(folder, _relevance_rows(world, true))
    for (name, schema), rows in zip(PRETRAIN.items(), (world.images, world.documents), strict=True):
        write_table(Path(folder_pretrain) / f"{name}.parquet", schema, rows)
    return summary(world, true), blind_rows(world.rows["test"], world.sets["train"].states)


def _true_of(world: World, split: str) -> list[np.ndarray]:
    """Item by item which captions (k, n) are true of which items of the split."""
    states = world.sets[split].states
    return [relevance(claims, states) for claims in world.claims[split]]


def _relevance_rows(world: World, true: dict[str, list[np.ndarray]]) -> Iterator[dict[str, Any]]:
    for split, of_items in true.items():
        ids = [row["id"] for row in world.rows[split]]
        for name, found in zip(ids, of_items, strict=True):
            for k, item in zip(*np.nonzero(found), strict=True):
                yield {"split": split, "id": name, "k": int(k), "true_of": ids[item]}


def summary(world: World, true: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    """Count what a world holds: of each set scenes, texts, negatives; over all vocabulary and length of sentences.

    Words are runs of letters and digits; a mark counts as one word.
    """
    sets: dict[str, Any] = {}
    for name, drawn in world.sets.items():
        counts = counts_of(drawn.states)
        sets[name] = {
            "rows": len(drawn.states),
            "scenes": len(np.unique(codes_of(drawn.states))),
            "one_object": int((counts == 1).sum()),
        }
    sentences = [text for document in world.documents for text in document["captions"]]
    for split, rows in world.rows.items():
        sets.setdefault(split, {"rows": len(rows)})
        texts = [view for row in rows for view in row["captions"]]
        sets[split]["captions"] = dict(Counter(view.form for view in texts))
        if negatives := [negative for row in rows for negative in row["negatives"]]:
            sets[split]["negatives"] = dict(sorted(Counter(negative["kind"] for negative in negatives).items()))
        sentences += [view.content for view in texts if isinstance(view, View)]
    for split, of_items in true.items():
        many = np.concatenate([found.sum(axis=1) for found in of_items])
        sets[split]["true_of"] = {"mean": round(float(many.mean()), 3), "median": float(np.median(many))}
        sets[split]["own_ceiling"] = round(float((1 / many).mean()), 4)  # of R@1 from a caption to its own image
    return {"sets": sets, **_words(sentences)}


def _words(sentences: Sequence[str]) -> dict[str, float]:
    words = [re.findall(r"\w+|[^\w\s]", sentence) for sentence in sentences]
    lengths = [len(sentence) for sentence in words]
    vocabulary = len({word for sentence in words for word in sentence})
    return {
        "vocabulary": vocabulary,
        "caption_words_mean": round(float(np.mean(lengths)), 3),
        "caption_words_max": max(lengths),
    }
