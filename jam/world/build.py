"""A whole world, drawn: rows of pairs and of the fine gallery, and what encoders are pretrained on.

No state, scan or sentence of a validation or test item is in anything that is trained on, nor in the other of the two;
true and false captions of either side are meant. (A caption of another item, tier ``easy``, is one of its own split.)
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jam.data.schema import FINE, SPLITS, View
from jam.parallel import in_processes, processes
from jam.world.claims import Claim
from jam.world.gallery import fine_gallery
from jam.world.habitats import Habitats, habitats_of
from jam.world.image import Pool, draw_private, draw_scans, picture, share_scans
from jam.world.sets import SETS, Drawn, draw_sets
from jam.world.state import COLOURS, DIGITS, SIZES, States, counts_of, factors, facts, scene_of
from jam.world.texts import Spoken, claims_of, describe, false_texts, strangers, true_texts

FEW = 3000  # scenes that are drawn faster here than in processes of their own
SCAN_SHARES = {"images": 0.5, "train": 0.25, "val": 0.125, "test": 0.125}

Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """What was drawn.

    Attributes:
        habitats: the statistics.
        sets: scenes of each of `SETS`.
        rows: split → rows of `jam.data.schema.write_world`: train, val, test and, where there is one, fine.
        claims: of val and test, item by item what its partial captions claim.
        images: rows to pretrain on, with labels.
        documents: rows to pretrain on; the captions of each are of one scene.
    """

    habitats: Habitats
    sets: Mapping[str, Drawn]
    rows: Mapping[str, list[Row]]
    claims: Mapping[str, list[list[Claim]]]
    images: list[Row]
    documents: list[Row]


def build_world(
    *,
    pretrain_images: int,
    pretrain_text: int,
    train: int,
    val: int,
    test: int,
    captions: int,
    fine: int,
    edits: int,
    habitats: int,
    objects: int,
    one_object: float,
    synonyms: float,
    mention: float,
    nuisance: float,
    seed: int,
) -> World:
    """Draw a world; `jam.params.CaveData` says what each argument means and which values are possible."""
    # One stream for each use, so that another number of captions leaves scenes, scans and images alone
    streams = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(3 + 2 * len(SETS)))
    _, of_sets, _, *of_content = streams  # the first is that of `habitats_of`, the third that of `pools_of`
    pictures, words = (dict(zip(SETS, part, strict=True)) for part in (of_content[::2], of_content[1::2]))
    statistics = habitats_of(seed, habitats, objects, one_object)
    sizes = dict(zip(SETS, (pretrain_images, pretrain_text, train, val, test), strict=True))
    sets = draw_sets(statistics, sizes, seed, of_sets)
    pools = pools_of(seed)

    renderings = {"images": 1, "train": 1, "val": 1, "test": 2}
    drawn = {name: (sets[name].states, renderings[name], pools[name], pictures[name], nuisance) for name in renderings}
    calls: list[tuple[Any, ...]] = [("texts", _told, sets, words, captions, {"mention": mention, "synonyms": synonyms})]
    calls += [(name, _seen, *drawn[name]) for name in sorted(drawn, key=lambda name: -len(sets[name].states))]
    if fine:
        known = np.concatenate([part.states for part in sets.values()])
        fitting: dict[str, Any] = {"groups": fine, "edits": edits, "seed": seed, "nuisance": nuisance}
        calls.append((FINE, partial(fine_gallery, **fitting), sets["test"].states, known, pools["test"]))
    few = sum(sizes.values()) < FEW  # no more than another process takes to start
    found = dict(in_processes(_named, calls, 1 if few else min(2, processes())))
    documents, texts, claims = found["texts"]
    rows = {split: _items(split, sets[split], found[split], texts[split]) for split in SPLITS}
    if fine:
        rows[FINE] = found[FINE]
    labels = presence_labels(sets["images"].states)
    images = [
        {"id": f"image-{i:05d}", "image": image.content, "labels": label}
        for i, ([image], label) in enumerate(zip(found["images"], labels, strict=True))
    ]
    return World(statistics, sets, rows, claims, images, documents)


def pools_of(seed: int) -> Mapping[str, Pool]:
    """The scans of each set of the world that `build_world` draws from a seed, of its third stream."""
    *_, stream = np.random.SeedSequence(seed).spawn(3)
    return share_scans(SCAN_SHARES, np.random.default_rng(stream))


def presence_labels(states: States) -> list[list[dict[str, str]]]:
    """What is in each scene, wherever it is and whatever belongs to what: labels to pretrain on that bind nothing."""
    told = {"count": counts_of(states).astype(str)}
    known = factors(states)
    for attribute, values in (("digit", DIGITS), ("colour", COLOURS), ("size", SIZES)):
        there = known[attribute].reshape(len(states), -1, len(values)).max(axis=1) > 0
        told |= {f"{attribute}_{value}": np.where(there[:, i], "yes", "no") for i, value in enumerate(values)}
    return [[{"name": name, "value": str(column[i])} for name, column in told.items()] for i in range(len(states))]


def _named(name: str, function: Callable[..., Any], *given: Any) -> tuple[str, Any]:
    """What a function gives, under a name."""
    return name, function(*given)


def _told(
    sets: Mapping[str, Drawn], words: Mapping[str, np.random.Generator], captions: int, speech: Mapping[str, float]
) -> tuple[list[Row], dict[str, list[Row]], dict[str, list[list[Claim]]]]:
    """All sentences: rows of documents; by split the texts of each item; what the captions of tested items claim.

    One after the other, as no sentence of a set before may be one of the next.
    """

    def spoken_of(name: str, taken: Collection[str] = ()) -> list[Spoken]:
        return [describe(scene_of(state), captions, words[name], taken, **speech) for state in sets[name].states]

    documents = [[text for text, _ in own] for own in spoken_of("documents")]
    known = {text for document in documents for text in document}
    texts: dict[str, list[Row]] = {}
    claims = {}
    for split in SPLITS:
        tested, states, rng = split == "test", sets[split].states, words[split]
        taken = frozenset() if split == "train" else frozenset(known)
        spoken, texts[split] = spoken_of(split, taken), []
        for i, (state, own) in enumerate(zip(states, spoken, strict=True)):
            true = true_texts(scene_of(state), own, rng, taken, tested=tested)
            false = false_texts(state, own, strangers(states, spoken, i, rng), rng, taken, tested=tested)
            texts[split].append({"captions": true, "negatives": false})
            known |= {view.content for view in true} | {one["text"] for one in false}
        if split != "train":
            claims[split] = [claims_of(state, own) for state, own in zip(states, spoken, strict=True)]
    rows = [{"id": f"document-{i:05d}", "captions": document} for i, document in enumerate(documents)]
    return rows, texts, claims


def _seen(states: States, count: int, pool: Pool, rng: np.random.Generator, nuisance: float) -> list[list[View]]:
    """Renderings of each scene, the first for all uses, further ones (form ``again``) to tell what is private."""
    found = []
    for state in states:
        scene, views = scene_of(state), []
        for number in range(count):
            scans, private = draw_scans(scene, pool, rng), draw_private(rng, nuisance)
            views.append(View(picture(scene, scans, private, rng, nuisance), "again" if number else "", private))
        found.append(views)
    return found


def _items(split: str, drawn: Drawn, images: list[list[View]], texts: list[Row]) -> list[Row]:
    """Rows of a split; items of one context have habitat and number of things in common."""
    told = zip(
        drawn.habitat.tolist(), counts_of(drawn.states).tolist(), facts(drawn.states), images, texts, strict=True
    )
    return [
        {
            "id": f"{split}-{i:05d}",
            "image": views,
            "context": f"{habitat}|{count}",
            "labels": [],
            "reality": state,
            **own,
        }
        for i, (habitat, count, state, views, own) in enumerate(told)
    ]
