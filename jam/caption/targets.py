"""What is to be said of scenes of the embedded world: sentences that say all, and questions."""

from collections.abc import Sequence

import numpy as np

from jam.caption.train import Examples
from jam.world.grammar import Plan, draw_plan, speak
from jam.world.state import Scene, States, scene_of

FRAME = 0  # "there is {}"
WHAT, WHERE = "what stands there", "where it stands"


def whole(scene: Scene, rng: np.random.Generator) -> str:
    """A sentence that says all of a scene, its things in the order of their cells.

    Words vary; frame and adverb, which say nothing, do not. The number of things is not stated: a language model that
    was pretrained on partial captions has no word for it.
    """
    plan = draw_plan(scene, rng, "dense")
    said = tuple(sorted(plan.said))
    return speak(scene, Plan(plan.form, FRAME, None, False, said, None, None))


def captions(states: States, seed: int) -> Examples:
    """One sentence of each scene (n, 6)."""
    rng = np.random.default_rng(seed)
    told = [whole(scene_of(state), rng) for state in states]
    return Examples(np.arange(len(told)), [""] * len(told), told)


def questions(states: States, seed: int) -> dict[str, Examples]:
    """By kind one question of each scene about one of its things, with its answer; fewer where a thing is there twice.

    A question is how a sentence begins: "there is in the top left" asks what stands there, "there is a large red seven"
    asks where it stands.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[int, str, str]]] = {WHAT: [], WHERE: []}
    for i, state in enumerate(states):
        scene = scene_of(state)
        cell = list(scene)[int(rng.integers(len(scene)))]
        one = {cell: scene[cell]}
        plan = draw_plan(one, rng, "dense")
        for kind, first in ((WHAT, True), (WHERE, False)):
            if kind == WHERE and list(scene.values()).count(scene[cell]) > 1:
                continue
            said = plan.said[0]._replace(place_first=first)
            text = speak(one, Plan(plan.form, FRAME, None, False, (said,), None, None))
            found[kind].append((i, *_cut(text, first)))
    return {kind: _examples(rows) for kind, rows in found.items()}


def _cut(text: str, place_first: bool) -> tuple[str, str]:
    """A sentence about one thing in two: place and thing, or thing and place, after "there is"."""
    words = text.split()
    if place_first:
        at = next(i for i, word in enumerate(words) if word in ("a", "an"))
    else:
        at = next(i for i, word in enumerate(words[2:], 2) if word in ("in", "at", "on"))
    return " ".join(words[:at]), " ".join(words[at:])


def joined(parts: Sequence[Examples]) -> Examples:
    """All of several."""
    return Examples(
        np.concatenate([part.rows for part in parts]),
        [prompt for part in parts for prompt in part.prompts],
        [answer for part in parts for answer in part.answers],
    )


def _examples(rows: Sequence[tuple[int, str, str]]) -> Examples:
    items = np.array([item for item, _, _ in rows], np.int64)
    return Examples(items, [prompt for _, prompt, _ in rows], [answer for _, _, answer in rows])
