"""One thing changed: captions that are false of their scene by one word, and states that differ by one edit.

A false caption is the shortest edit of a plan: a word (or phrase) becomes the parallel word of another value, two words
change places, or one more thing is mentioned. Only articles and the count follow. It is always a sentence that is true
of some other state: none contradicts itself. But as edits are uniform and habitats are not, a false caption is mostly
true of fewer scenes than the true one; who knows the statistics of the world can guess without seeing.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from jam.world.claims import Scenes
from jam.world.grammar import Plan, words_of
from jam.world.lexicon import COUNT_WORDS, OTHERS
from jam.world.parser import parse
from jam.world.places import placements
from jam.world.sentence import Phrase, Sentence, write
from jam.world.state import ATTRIBUTES, CELLS, MOST, Scene, States, Thing, scene_of, state_of

KINDS = (
    *("replace_digit", "replace_colour", "replace_size", "replace_place", "replace_relation"),
    *("swap_digit", "swap_colour", "add_object"),
)
STATE_KINDS = (
    *("replace_digit", "replace_colour", "replace_size", "replace_place"),
    *("swap_digit", "swap_colour", "swap_size", "swap_place"),
)

_REPLACED = {"digit": ("digit",), "colour": ("colour",), "size": ("size",), "place": ("row", "column")}
_SWAPPED = {"digit": ("digit", "noun"), "colour": ("colour",)}  # the noun of a hypernym goes with it
_TRIES = 20  # things drawn until one is not there

_T = TypeVar("_T")


def edit_caption(
    scene: Scene, plan: Plan, kind: str, rng: np.random.Generator, taken: Collection[str] = ()
) -> str | None:
    """A false caption of a scene, one edit away from the true one of a plan.

    Args:
        scene: the scene that the true caption speaks of.
        plan: the plan of the true caption.
        kind: one of `KINDS`: ``replace_…`` changes a word, ``swap_…`` exchanges the words of two things (and leaves
            the same bag of words), ``add_object`` joins a thing that is not there.
        rng: source of all choices.
        taken: captions that it may not be.

    Returns:
        The caption, or None where no edit of this kind makes it false.
    """
    sentence = words_of(scene, plan)
    if kind == "add_object":
        candidates = _with_one_more(sentence, rng)
    elif kind == "replace_relation":
        candidates = iter(_shuffled(_with_other_relation(sentence), rng))
    else:
        change, name = kind.split("_")
        found = _with_swapped(sentence, name) if change == "swap" else _with_replaced(sentence, name)
        candidates = iter(_shuffled(found, rng))
    scenes = Scenes(state_of(scene)[None])
    for candidate in candidates:
        text = write(candidate)
        claim = parse(text)
        if text not in taken and placements(claim) and not scenes.true(claim)[0]:
            return text
    return None


def _shuffled(items: Sequence[_T], rng: np.random.Generator) -> list[_T]:
    return [items[i] for i in rng.permutation(len(items)).tolist()]


def _changed(sentence: Sentence, changes: dict[int, dict[str, Any]]) -> Sentence:
    """A sentence with some words of some phrases changed."""
    phrases = tuple(phrase._replace(**changes.get(i, {})) for i, phrase in enumerate(sentence.phrases))
    return sentence._replace(phrases=phrases)


def _with_replaced(sentence: Sentence, name: str) -> list[Sentence]:
    return [
        _changed(sentence, {i: {field: word}})
        for i, phrase in enumerate(sentence.phrases)
        for field in _REPLACED[name]
        for word in OTHERS.get(getattr(phrase, field), ())
    ]


def _bag(sentence: Sentence) -> list[str]:
    return sorted(write(sentence).replace(",", " ").split())


def _with_swapped(sentence: Sentence, name: str) -> list[Sentence]:
    """Sentences of the same bag of words: pairs whose articles would not go together are left out."""
    found = []
    for a, b in combinations(range(len(sentence.phrases)), 2):
        first, second = sentence.phrases[a], sentence.phrases[b]
        if not getattr(first, name) or not getattr(second, name):
            continue
        changed = _changed(
            sentence,
            {
                a: {field: getattr(second, field) for field in _SWAPPED[name]},
                b: {field: getattr(first, field) for field in _SWAPPED[name]},
            },
        )
        if _bag(changed) == _bag(sentence):
            found.append(changed)
    return found


def _with_other_relation(sentence: Sentence) -> list[Sentence]:
    if sentence.relation is None:
        return []
    at, words = sentence.relation
    return [sentence._replace(relation=(at, other)) for other in OTHERS[words]]


def _with_one_more(sentence: Sentence, rng: np.random.Generator) -> Iterator[Sentence]:
    """Sentences with one more thing, spoken like one of the others; a stated count follows."""
    number = len(sentence.phrases)
    if number == MOST:
        return
    if sentence.total:
        synonym = COUNT_WORDS[number - 1].index(sentence.total)
        sentence = sentence._replace(total=COUNT_WORDS[number][synonym])
    for _ in range(_TRIES):
        model = sentence.phrases[int(rng.integers(number))]
        yield sentence._replace(phrases=(*sentence.phrases, _another(model, rng)))


def _another(model: Phrase, rng: np.random.Generator) -> Phrase:
    """A phrase that says as much as another in words as common, of values drawn at random."""
    words = {}
    for field in ("size", "colour", "digit", "row", "column"):
        word = getattr(model, field)
        options = (word, *OTHERS.get(word, ()))
        words[field] = options[int(rng.integers(len(options)))]
    return model._replace(**words)


def edit_states(state: np.ndarray, rng: np.random.Generator) -> list[tuple[str, States]]:
    """All states (6,) that differ from one by a single edit, each once, in random order, with the kind of the edit.

    ``replace_place`` moves a thing to a free cell, and ``swap_…`` exchanges a value, or the places, of two things. Of
    a state that several swaps lead to, one of their kinds is named at random.
    """
    scene = scene_of(state)
    edited: dict[bytes, tuple[str, States]] = {state.tobytes(): ("", state)}
    for kind, other in _shuffled(list(_edits(scene)), rng):
        found = state_of(other)
        edited.setdefault(found.tobytes(), (kind, found))
    return list(edited.values())[1:]


def _edits(scene: Scene) -> Iterator[tuple[str, dict[int, Thing]]]:
    things = dict(scene)
    for cell, thing in things.items():
        for name, number in ATTRIBUTES.items():
            for value in range(number):
                yield f"replace_{name}", things | {cell: thing._replace(**{name: value})}
        rest = {other: things[other] for other in things if other != cell}
        for free in range(CELLS):
            if free not in things:
                yield "replace_place", rest | {free: thing}
    for a, b in combinations(things, 2):
        for name in ATTRIBUTES:
            first, second = getattr(things[a], name), getattr(things[b], name)
            swapped = {a: things[a]._replace(**{name: second}), b: things[b]._replace(**{name: first})}
            yield f"swap_{name}", things | swapped
        yield "swap_place", things | {a: things[b], b: things[a]}
