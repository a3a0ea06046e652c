"""What is told of an item: true captions of every form, and false ones that are verified to be false."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from jam.data.schema import View
from jam.world.claims import Claim, Scenes
from jam.world.edits import KINDS, edit_caption
from jam.world.grammar import Plan, claim_of, draw_plan, private_of, speak
from jam.world.state import Scene, scene_of

FORMS = ("dense", "no_colour")  # told beside the partial captions of items that are tested on
FEW = 3  # of the eight kinds of edits, for each item that is not tested on; all of them for those that are
TRIES = 50  # for a caption of another item that is false of this one, which nearly every one is

Spoken = list[tuple[str, Plan]]
"""Captions of one scene, each with its plan."""
Row = dict[str, Any]


def describe(scene: Scene, count: int, rng: np.random.Generator, taken: Collection[str] = (), **speech: Any) -> Spoken:
    """So many different captions of a scene that are not ``taken``; ``speech`` as of `jam.world.grammar.draw_plan`."""
    found: dict[str, Plan] = {}
    while len(found) < count:
        plan = draw_plan(scene, rng, **speech)
        text = speak(scene, plan)
        if text not in taken:
            found.setdefault(text, plan)
    return list(found.items())


def claims_of(state: np.ndarray, spoken: Spoken) -> list[Claim]:
    """What an item's captions claim."""
    scene = scene_of(state)
    return [claim_of(scene, plan) for _, plan in spoken]


def true_texts(
    scene: Scene, spoken: Spoken, rng: np.random.Generator, taken: Collection[str] = (), *, tested: bool
) -> list[View]:
    """The captions of an item, those of other forms, none of them ``taken``, last."""
    views = [View(text, "partial", private_of(plan)) for text, plan in spoken]
    for form in FORMS if tested else ():
        plan = draw_plan(scene, rng, form)
        while (text := speak(scene, plan)) in taken:
            plan = draw_plan(scene, rng, form)
        views.append(View(text, form, private_of(plan)))
    return views


def false_texts(
    state: np.ndarray,
    spoken: Spoken,
    others: Iterator[tuple[str, Claim]],
    rng: np.random.Generator,
    taken: Collection[str] = (),
    *,
    tested: bool,
) -> list[Row]:
    """False captions of an item.

    Args:
        state: (6,) the item's scene.
        spoken: its captions.
        others: captions of other items with their claims, of which the first that is false is taken.
        rng: source of all choices.
        taken: captions that no edit may be.
        tested: whether all kinds are wanted, or a few are enough.

    Returns:
        An edit of one of the captions for each kind that any of them allows (tier ``hard``), and another item's caption
        (tier ``easy``).
    """
    scene, most = scene_of(state), len(KINDS) if tested else FEW
    found: list[Row] = []
    for kind in rng.permutation(len(KINDS)).tolist():
        for of in rng.permutation(len(spoken)).tolist():
            text = edit_caption(scene, spoken[of][1], KINDS[kind], rng, taken)
            if text is not None:
                found.append({"kind": KINDS[kind], "tier": "hard", "text": text, "of": of})
                break
        if len(found) == most:
            break
    this = Scenes(state[None])
    for _, (text, claim) in zip(range(TRIES), others, strict=False):
        if not this.true(claim)[0]:
            found.append({"kind": "scene", "tier": "easy", "text": text, "of": 0})
            break
    return found


def strangers(
    states: np.ndarray, spoken: Sequence[Spoken], item: int, rng: np.random.Generator
) -> Iterator[tuple[str, Claim]]:
    """Captions of other items than one, with their claims, drawn without end."""
    while True:
        other = (item + int(rng.integers(1, len(spoken)))) % len(spoken)
        text, plan = spoken[other][int(rng.integers(len(spoken[other])))]
        yield text, claim_of(scene_of(states[other]), plan)
