"""The cave's five sets: images alone and text alone to pretrain encoders, and pairs to train, validate and test on.

No scene is in two of the five sets, and no scan is in two of the four that have images. Within a set every scene is
unique, so a caption has one right image. Captions describe scenes completely, so a caption of any other scene is false.
The images to pretrain on have a second view each: the same scene, rendered anew with other scans of its digits.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jam.data.cave import scenes as world
from jam.data.cave.grammar import describe, hard_negatives
from jam.data.cave.render import draw_scans, png_bytes, render, scan_digits
from jam.data.cave.scenes import ATTRIBUTES, REALITY_DIM, SIDES, Scene, pick
from jam.data.readers import IMAGE
from jam.data.schema import LABELS, SPLITS, described, write_table, write_world

SETS = ("pretrain_images", "pretrain_text", *SPLITS)
SCAN_SHARES = {"pretrain_images": 0.5, "train": 0.25, "val": 0.125, "test": 0.125}
BLOCK = 256  # rows compared with their whole split at a time

Row = dict[str, Any]


def build_cave(
    *,
    train: int,
    val: int,
    test: int,
    pretrain_images: int,
    pretrain_text: int,
    captions: int,
    one_object: float,
    seed: int,
) -> dict[str, list[Row]]:
    """Draw the five sets as rows of `jam.data.schema`, keyed by ``SETS``; `jam.params.CaveData` says what is possible.

    Args:
        train, val, test: pairs of an image and its captions, with negatives of all tiers. At least 2 each.
        pretrain_images: images with labels and no captions.
        pretrain_text: documents without image, labels or reality: a scene told in ``captions`` different sentences.
        captions: different captions of each pair.
        one_object: wanted share of scenes with one thing. There are 840 such scenes, so a set gets at most its
            proportional part of them (2 % of each set at the sizes of ``params.yaml``).
        seed: equal seeds give equal rows.
    """
    sizes = dict(zip(SETS, (pretrain_images, pretrain_text, train, val, test), strict=True))
    scene_rng, scan_rng, *set_rngs, _ = _streams(seed)
    codes = _split_scenes(sizes, one_object, scene_rng)
    scans = split_scans(scan_rng)
    used = {int(code) for part in codes.values() for code in part}

    rows = {}
    for name, image_rng, text_rng in zip(SETS, set_rngs[::2], set_rngs[1::2], strict=True):
        scenes = [world.scene_of_code(code) for code in codes[name]]
        rows[name] = [_empty_row(f"{name.replace('_', '-')}-{i:05d}") for i in range(len(scenes))]
        for row, scene in zip(rows[name], scenes, strict=True):
            if name == "pretrain_text":
                row["captions"] = [text for text, _ in describe(scene, captions, text_rng)]
            else:
                row.update(_seen(scene, scans[name], image_rng))
        if name in SPLITS:
            _add_texts(rows[name], scenes, captions, used, text_rng)
    return rows


def second_views(images: Sequence[Row], *, seed: int) -> list[Row]:
    """Render the scenes of ``pretrain_images`` once more: other scans of the same digits, all other nuisance anew.

    The rows are those that `build_cave` made with the same ``seed``, and again in their order but for the image.
    """
    _, scan_rng, *_, view_rng = _streams(seed)
    scans = split_scans(scan_rng)["pretrain_images"]
    views = []
    for row in images:
        shown = _scans_shown(row)
        others = {digit: [scan for scan in pool if scan not in shown] for digit, pool in scans.items()}
        views.append(row | _seen(world.scene_of_labels(row["labels"]), others, view_rng))
    return views


PRETRAIN = {
    "images": described({"id": pa.string(), "image": IMAGE, "labels": LABELS}),
    "views": described({"id": pa.string(), "image": IMAGE}),
    "text": described({"id": pa.string(), "captions": pa.list_(pa.string())}),
}


def write_cave(folder: str | Path, folder_pretrain: str | Path, *, seed: int, **sizes: Any) -> dict[str, Any]:
    """Build the cave; write items and views into one folder and ``{images,views,text}.parquet`` into the other.

    Row i of the views shows the scene of row i of the images, see `second_views`. ``seed`` and ``sizes`` are the
    arguments of `build_cave`; the return value is that of `summarize_cave`.
    """
    rows = build_cave(seed=seed, **sizes)
    write_world(folder, {split: rows[split] for split in SPLITS}, REALITY_DIM)
    views = second_views(rows["pretrain_images"], seed=seed)
    for (name, schema), part in zip(
        PRETRAIN.items(), (rows["pretrain_images"], views, rows["pretrain_text"]), strict=True
    ):
        lean = ({column: row[column] for column in schema.names} for row in part)
        write_table(Path(folder_pretrain) / f"{name}.parquet", schema, lean)
    return summarize_cave(rows)


def summarize_cave(rows: Mapping[str, list[Row]]) -> dict[str, Any]:
    """Count what a build holds: per set rows, scenes, scans, texts and negatives; over all sets vocabulary and length.

    Words are runs of letters and digits; a punctuation mark counts as one word in lengths and vocabulary.
    """
    per_set: dict[str, Any] = {}
    sentences: list[str] = []
    for name, part in rows.items():
        negatives = [negative for row in part for negative in row["negatives"]]
        summary: dict[str, Any] = {"rows": len(part), "captions": sum(len(row["captions"]) for row in part)}
        if name != "pretrain_text":
            summary["scenes"] = len({tuple(row["reality"]) for row in part})
            summary["one_object"] = sum(row["labels"][0]["value"] == "1" for row in part)
            summary["scans"] = len({scan for row in part for scan in _scans_shown(row)})
        if negatives:
            for key in ("kind", "tier"):
                summary[f"negatives_by_{key}"] = dict(Counter(negative[key] for negative in negatives))
        per_set[name] = summary
        sentences += [caption for row in part for caption in row["captions"]]
    words = [re.findall(r"\w+|[^\w\s]", sentence) for sentence in sentences]
    lengths = [len(sentence) for sentence in words]
    return {
        "sets": per_set,
        "vocabulary": len({word for sentence in words for word in sentence}),
        "caption_words_mean": float(np.mean(lengths)),
        "caption_words_max": max(lengths),
    }


def split_scans(rng: np.random.Generator) -> dict[str, dict[str, list[int]]]:
    """Share out the handwriting: set → digit → scan numbers, every digit cut in the proportions of ``SCAN_SHARES``."""
    pools: dict[str, dict[str, list[int]]] = {name: {} for name in SCAN_SHARES}
    for digit in ATTRIBUTES["digit"]:
        scans = rng.permutation(np.flatnonzero(scan_digits() == int(digit)))
        cuts = np.rint(np.cumsum(list(SCAN_SHARES.values()))[:-1] * len(scans)).astype(int)
        for name, part in zip(SCAN_SHARES, np.split(scans, cuts), strict=True):
            pools[name][digit] = np.sort(part).tolist()
    return pools


def _streams(seed: int) -> list[np.random.Generator]:
    """Random streams, one for each use, so that another number of captions leaves scenes, scans and images alone.

    In this order: scenes, scans, image and text of each of ``SETS``, second views.
    """
    return [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(2 + 2 * len(SETS) + 1)]


def _split_scenes(sizes: Mapping[str, int], one_object: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Deal different scenes to the sets, those of one thing in proportion to size."""
    singles, doubles = rng.permutation(world.one_thing_codes()), rng.permutation(world.two_thing_codes())
    total = sum(sizes.values())
    codes = {}
    for name, size in sizes.items():
        single = min(round(one_object * size), size * len(world.one_thing_codes()) // total)
        mine, singles = np.split(singles, [single])
        more, doubles = np.split(doubles, [size - single])
        codes[name] = rng.permutation(np.concatenate([mine, more]))
    return codes


def _empty_row(row_id: str) -> Row:
    return {"id": row_id, "image": None, "captions": [], "negatives": [], "context": "", "labels": [], "reality": None}


def _seen(scene: Scene, scans_by_digit: Mapping[str, Sequence[int]], rng: np.random.Generator) -> Row:
    """Columns of a scene that has an image. The image's path names its scans: provenance that a check can read."""
    scans = draw_scans(scene, scans_by_digit, rng)
    path = "-".join(["scan", *(f"{scan:04d}" for scan in scans.values())]) + ".png"
    digits = [scene.thing(side).digit if side in scene.sides else "none" for side in SIDES]
    return {
        "image": {"bytes": png_bytes(render(scene, scans, rng)), "path": path},
        "context": "|".join(digits),
        "labels": world.scene_labels(scene),
        "reality": world.reality_of(scene).tolist(),
    }


def _scans_shown(row: Row) -> set[int]:
    """Numbers of the scans in an image that `_seen` made."""
    return {int(scan) for scan in re.findall(r"\d+", row["image"]["path"])}


def _add_texts(rows: list[Row], scenes: list[Scene], captions: int, used: set[int], rng: np.random.Generator) -> None:
    """Fill captions and negatives of one split."""
    for row, scene in zip(rows, scenes, strict=True):
        spoken = describe(scene, captions, rng)
        row["captions"] = [text for text, _ in spoken]
        row["negatives"] = hard_negatives(scene, [plan for _, plan in spoken], rng)
    states = np.array([row["reality"] for row in rows], np.float32)
    for i, (row, scene) in enumerate(zip(rows, scenes, strict=True)):
        if i % BLOCK == 0:
            alike = world.shared_attributes(states[i : i + BLOCK], states) >= 0.5
        near = np.flatnonzero(alike[i % BLOCK])
        near = near[near != i]
        if len(near):
            medium = pick(rows[pick(near.tolist(), rng)]["captions"], rng)
        else:
            medium = describe(_near_scene(scene, used, rng), 1, rng)[0][0]
        stranger = (i + int(rng.integers(1, len(rows)))) % len(rows)
        easy = pick(rows[stranger]["captions"], rng)
        for tier, text in (("medium", medium), ("easy", easy)):
            row["negatives"].append({"kind": "scene", "tier": tier, "text": text, "of": 0})


def _near_scene(scene: Scene, used: set[int], rng: np.random.Generator) -> Scene:
    """Make up a scene of no set that shares at least half of the attributes, for a split too small to hold one.

    Of two things, four of the eight attributes are kept and the others drawn anew. A thing alone gets a companion (its
    four attributes are half of the new scene's eight): scenes of one thing are too few to leave any unused.
    """
    while True:
        near = world.scene_of_code(int(rng.choice(world.two_thing_codes())))
        if len(scene.sides) == 1:
            near = near._replace(**{scene.sides[0]: scene.thing(scene.sides[0])})
        else:
            slots = [(side, name) for side in SIDES for name in ATTRIBUTES]
            for k in rng.permutation(len(slots))[: len(slots) // 2]:
                side, name = slots[k]
                near = near.replaced(side, name, getattr(scene.thing(side), name))
        if world.code_of_scene(near) not in used:
            return near
