"""Further pairs of the world, to pretrain multimodal models on, and scenes of a shifted domain to test them on.

Pairs have the world's own statistics. Their states are of the set ``images`` of `jam.world.sets`, so none is a state of
train, val, test or fine; their scans are of the pool to pretrain on; no caption is a true or false sentence of val,
test or fine. A shifted domain has other statistics and stronger or weaker nuisance; its states and scans are of the
set ``test``, and no caption is one of a pair. All is drawn from streams of its own, so the world stays as it is.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jam.data.readers import IMAGE
from jam.data.schema import FINE, VIEWS, View, described, read_items, read_table, write_table, write_world
from jam.world.build import pools_of
from jam.world.grammar import private_of
from jam.world.habitats import Habitats, habitats_of
from jam.world.image import Pool, draw_private, draw_scans, picture
from jam.world.sets import Drawn, draw_sets
from jam.world.state import STATE_DIM, States, codes_of, counts_of, facts, scene_of, states_of_facts
from jam.world.texts import describe

SCHEMA = described({"id": pa.string(), "image": IMAGE, "captions": pa.list_(pa.string())})
OF_PAIRS, OF_SHIFTED = 100, 101  # children of the world's seed, of which `jam.world.build` takes the first 13

TESTED = ("val", "test", FINE)
SPARE = 1000  # scenes that are drawn beyond those asked for, in place of such as are tested on

Row = dict[str, Any]


def draw_pairs(
    count: int,
    captions: int,
    taken: Collection[str] = (),
    known: States | None = None,
    *,
    habitats: int,
    objects: int,
    one_object: float,
    synonyms: float,
    mention: float,
    nuisance: float,
    seed: int,
) -> list[Row]:
    """Draw pairs of the world of a seed; the first are the same for every ``count``.

    Args:
        count: how many.
        captions: true partial captions of each, different ones.
        taken: sentences that no caption may be.
        known: (m, 6) states that no pair may have: those of single edits belong to no set, see `tested_states`.
        habitats, objects, one_object, synonyms, mention, nuisance, seed: those of the world, see
            `jam.params.CaveData`.

    Returns:
        Rows with ``id``, ``image`` (bytes, path) and ``captions``.
    """
    scenes, pictures, words = _streams(seed, OF_PAIRS)
    statistics = habitats_of(seed, habitats, objects, one_object)
    drawn = _without(draw_sets(statistics, {"images": count + SPARE}, seed, scenes)["images"], known, count)
    images = _images(drawn, pools_of(seed)["images"], pictures, nuisance)
    told = _captions(drawn, captions, words, taken, mention=mention, synonyms=synonyms)
    return [
        {"id": f"pair-{i:05d}", "image": image.content, "captions": [view.content for view in own]}
        for i, (image, own) in enumerate(zip(images, told, strict=True))
    ]


def draw_shifted(
    count: int,
    captions: int,
    taken: Collection[str] = (),
    *,
    habitats: int,
    objects: int,
    one_object: float,
    synonyms: float,
    mention: float,
    nuisance: float,
    seed: int,
) -> list[Row]:
    """Draw scenes of a shifted domain; ``habitats`` and ``nuisance`` are its own, all else is the world's.

    Returns:
        Rows of `jam.data.schema.write_world`, without false captions.
    """
    statistics, scenes, pictures, words = _streams(seed, OF_SHIFTED, 4)
    shifted = Habitats.drawn(habitats, objects, one_object, statistics)
    drawn = draw_sets(shifted, {"test": count}, seed, scenes)["test"]
    images = _images(drawn, pools_of(seed)["test"], pictures, nuisance)
    told = _captions(drawn, captions, words, taken, mention=mention, synonyms=synonyms)
    counts, states = counts_of(drawn.states).tolist(), facts(drawn.states)
    return [
        {
            "id": f"shifted-{i:05d}",
            "image": [images[i]],
            "captions": told[i],
            "negatives": [],
            "context": f"{habitat}|{counts[i]}",
            "labels": [],
            "reality": states[i],
        }
        for i, habitat in enumerate(drawn.habitat.tolist())
    ]


def sentences(folder: str | Path, splits: Sequence[str]) -> frozenset[str]:
    """All true and false sentences of some splits of a world on disk."""
    views = read_table(Path(folder) / VIEWS / "text.parquet", ["split", "content"])
    tested = views.filter(pc.is_in(views.column("split"), pa.array(list(splits))))
    return frozenset(tested.column("content").to_pylist())


def tested_states(folder: str | Path) -> States:
    """All states of val, test and fine of a world on disk, (m, 6)."""
    rows = [read_items(Path(folder), split, ["state"]).column("state").to_pylist() for split in TESTED]
    return states_of_facts(np.array([state for split in rows for state in split], dtype=np.float32))


def _without(drawn: Drawn, known: States | None, count: int) -> Drawn:
    """The first so many scenes whose state is not known.

    Raises:
        ValueError: there are fewer.
    """
    fresh = np.flatnonzero(~np.isin(codes_of(drawn.states), [] if known is None else codes_of(known)))[:count]
    if len(fresh) < count:
        raise ValueError(f"pairs: got {len(fresh)} scenes that are not tested on, expected {count}")
    return Drawn(drawn.states[fresh], drawn.habitat[fresh])


def write_pairs(path: str | Path, rows: Sequence[Row]) -> None:
    """Write pairs as one table."""
    write_table(path, SCHEMA, rows)


def write_shifted(folder: str | Path, rows: Sequence[Row]) -> None:
    """Write a shifted domain as a world of the split ``test`` alone, see `jam.data.schema`."""
    write_world(folder, {"test": rows}, STATE_DIM)


def _streams(seed: int, child: int, count: int = 3) -> list[np.random.Generator]:
    """One stream for each use, so that another number of captions leaves scenes and images alone."""
    return [np.random.default_rng(one) for one in np.random.SeedSequence(seed, spawn_key=(child,)).spawn(count)]


def _images(drawn: Drawn, pool: Pool, rng: np.random.Generator, nuisance: float) -> list[View]:
    """One rendering of each scene."""
    views = []
    for state in drawn.states:
        scene = scene_of(state)
        scans, private = draw_scans(scene, pool, rng), draw_private(rng, nuisance)
        views.append(View(picture(scene, scans, private, rng, nuisance), "", private))
    return views


def _captions(
    drawn: Drawn, count: int, rng: np.random.Generator, taken: Collection[str], **speech: float
) -> list[list[View]]:
    """So many partial captions of each scene."""
    told = [describe(scene_of(state), count, rng, taken, **speech) for state in drawn.states]
    return [[View(text, "partial", private_of(plan)) for text, plan in spoken] for spoken in told]
