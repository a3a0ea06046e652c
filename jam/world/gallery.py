"""The fine gallery: test scenes among all but equal ones, each of which differs from its scene by a single edit.

An item is a scene or one of its edits, seen in one image and told by one dense caption. Within a group handwriting,
ground and wording are the same, so that nothing but the edit tells the members apart. Its scenes are in no set.
"""

from itertools import chain, zip_longest
from typing import Any

import numpy as np

from jam.data.schema import DENSE, FINE, View
from jam.world.edits import edit_states
from jam.world.grammar import draw_plan, private_of, speak
from jam.world.image import Pool, draw_private, picture
from jam.world.state import DIGITS, Scene, States, codes_of, counts_of, facts, scene_of, state_of

BASE = "none"  # the edit of a scene as it is


def fine_gallery(
    states: States, taken: States, pool: Pool, *, groups: int, edits: int, seed: int, nuisance: float
) -> list[dict[str, Any]]:
    """Rows of `jam.data.schema.write_world`, group by group, the scene itself first.

    Args:
        states: (n, 6) the scenes to edit, of which different ones of two or more things are taken as they come.
        taken: states that no edit may be.
        pool: scans to show.
        groups: how many scenes; fewer where there are no more with so many edits.
        edits: of each scene, about equally many of each kind.
        seed: of all choices.
        nuisance: see `jam.world.image.render`.
    """
    known = set(codes_of(taken).tolist())
    rows: list[dict[str, Any]] = []
    several = states[counts_of(states) > 1]
    _, first = np.unique(codes_of(several), return_index=True)
    for group, state in enumerate(several[np.sort(first)]):
        found = _edits(state, known, np.random.default_rng([seed, group]))[:edits]
        if len(found) < edits:
            continue
        base = len(rows) // (edits + 1)
        for j, (kind, edited) in enumerate([(BASE, state), *found]):
            scene = _in_order(scene_of(edited), scene_of(state))
            rows.append(_item(f"{FINE}-{base:04d}", j, kind, scene, pool, [seed, group], nuisance))
        if base + 1 == groups:
            break
    return rows


def _edits(state: np.ndarray, known: set[int], rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    """Single edits of a state that are not known, one of each kind after the other."""
    by_kind: dict[str, list[tuple[str, np.ndarray]]] = {}
    for kind, edited in edit_states(state, rng):
        if int(codes_of(edited[None])[0]) not in known:
            by_kind.setdefault(kind, []).append((kind, edited))
    turns = zip_longest(*(by_kind[kind] for kind in sorted(by_kind)))
    return [one for one in chain.from_iterable(turns) if one is not None]


def _in_order(scene: Scene, base: Scene) -> Scene:
    """An edited scene with its things in the order of the scene itself: one that moved is told in its old turn."""
    moved = iter(set(scene) - set(base))
    turns = [cell if cell in scene else next(moved) for cell in base]
    return {cell: scene[cell] for cell in turns}


def _item(
    group: str, number: int, kind: str, scene: Scene, pool: Pool, seed: list[int], nuisance: float
) -> dict[str, Any]:
    rng = np.random.default_rng([*seed, 1])  # the same for all of a group
    scans = [pool[digit][int(rng.integers(len(pool[digit])))] for digit in range(len(DIGITS))]
    private = draw_private(rng, nuisance)
    image = picture(scene, {cell: scans[thing.digit] for cell, thing in scene.items()}, private, rng, nuisance)
    plan = draw_plan(scene, np.random.default_rng([*seed, 2]), DENSE)
    return {
        "id": f"{group}-{number:02d}",
        "image": View(image, private=private),
        "captions": [View(speak(scene, plan), DENSE, private_of(plan))],
        "negatives": [],
        "context": group,
        "labels": [{"name": "edit", "value": kind}],
        "reality": facts(state_of(scene)[None])[0].tolist(),
    }
