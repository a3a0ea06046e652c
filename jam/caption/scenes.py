"""What a sentence says of a scene of the embedded world, held against the scene."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np

from jam.errors import InputError
from jam.evaluation.scores import Key, Outcome, PerRow
from jam.world.claims import Claim, Mention, Scenes
from jam.world.parser import parse
from jam.world.state import ATTRIBUTES, CELLS, Scene, States, scene_of

SAID = {**ATTRIBUTES, "cell": CELLS}
"""What may be said of a thing, and how many values it has."""
FLAGS = ("exact_scene", "binding_error", "repeated", "unparseable")
Thing = Mapping[str, int]
Parts = dict[tuple[str, str | None], list[tuple[int, float]]]
"""By metric and attribute, of which item each observation is, and whether it is a hit."""


def claim_of(caption: str) -> Claim | None:
    """What a caption claims; None where it is no sentence of the language, or mentions too many things."""
    try:
        return parse(caption)
    except InputError:
        return None


def mentions_of(caption: str) -> tuple[Mention, ...] | None:
    """The things that a caption mentions; None as of `claim_of`."""
    claim = claim_of(caption)
    return None if claim is None else claim.mentions


def things_of(scene: Scene) -> list[dict[str, int]]:
    """The things of a scene: digit, colour, size and cell by number."""
    return [{**thing._asdict(), "cell": cell} for cell, thing in scene.items()]


def said(mention: Mention, name: str) -> bool:
    """Whether a mention says anything of an attribute."""
    return len(getattr(mention, name)) < SAID[name]


def right(mention: Mention, thing: Thing) -> list[str]:
    """What a mention says truly of a thing."""
    return [name for name in SAID if said(mention, name) and thing[name] in getattr(mention, name)]


def matched(mentions: Sequence[Mention], things: Sequence[Thing]) -> list[tuple[int, int]]:
    """Which mention is of which thing, (mention, thing): the choice of most truths, the first of equals."""
    short, swapped = (things, True) if len(things) < len(mentions) else (mentions, False)
    most = len(mentions) if swapped else len(things)
    best: list[tuple[int, int]] = []
    score = -1
    for places in permutations(range(most), len(short)):
        pairs = [(j, i) if swapped else (i, j) for i, j in enumerate(places)]
        found = sum(len(right(mentions[a], things[b])) for a, b in pairs)
        if found > score:
            best, score = pairs, found
    return best


def is_exact(mentions: Sequence[Mention], things: Sequence[Thing]) -> bool:
    """Whether all things are mentioned and no other, and of each everything is said, and truly."""
    pairs = matched(mentions, things)
    whole = all(len(getattr(mention, name)) == 1 for mention in mentions for name in SAID)
    return (
        whole
        and len(mentions) == len(things)
        and all(len(right(mentions[a], things[b])) == len(SAID) for a, b in pairs)
    )


def has_right_words(mentions: Sequence[Mention], things: Sequence[Thing]) -> bool:
    """Whether digits, colours, sizes and cells are those of the scene, each as often, of whichever things."""
    whole = all(len(getattr(mention, name)) == 1 for mention in mentions for name in SAID)
    return (
        whole
        and len(mentions) == len(things)
        and all(
            Counter(min(getattr(mention, name)) for mention in mentions) == Counter(thing[name] for thing in things)
            for name in SAID
        )
    )


def is_misbound(mentions: Sequence[Mention], things: Sequence[Thing]) -> bool:
    """Whether the words are right (see `has_right_words`), but not all of the things that they are said of."""
    return has_right_words(mentions, things) and not is_exact(mentions, things)


def can_be_misbound(things: Sequence[Thing]) -> bool:
    """Whether some two things differ in more than their place: else the right words are right of whichever."""
    return len(set(map(_looks, things))) > 1


def is_repeated(mentions: Sequence[Mention], things: Sequence[Thing]) -> bool:
    """Whether some digit, colour and size together are said at least twice, and more often than they are there."""
    told = Counter(
        tuple(min(getattr(mention, name)) for name in ATTRIBUTES)
        for mention in mentions
        if all(len(getattr(mention, name)) == 1 for name in ATTRIBUTES)
    )
    there = Counter(map(_looks, things))
    return any(count > max(1, there[thing]) for thing, count in told.items())


def _looks(thing: Thing) -> tuple[int, ...]:
    return tuple(thing[name] for name in ATTRIBUTES)


def misplaced(mentions: Sequence[Mention], things: Sequence[Thing]) -> dict[str, list[bool]]:
    """Of each attribute, of all that is said of it untruly under the best assignment, whether some thing has it."""
    of = dict(matched(mentions, things))
    return {
        name: [
            any(thing[name] in getattr(mention, name) for thing in things)
            for i, mention in enumerate(mentions)
            if said(mention, name) and not (i in of and name in right(mention, things[of[i]]))
        ]
        for name in SAID
    }


def scene_scores(captions: Sequence[str], states: States) -> dict[Key, Outcome]:
    """What captions say of their images' scenes.

    Args:
        captions: (n,) one an image.
        states: (n, 6) their scenes.

    Returns:
        ``exact_scene``, ``binding_error`` and ``repeated`` (see `is_exact`, `is_misbound`, `is_repeated`) and
        ``unparseable``, over all captions; ``misbound``, the share of binding errors among captions that have the right
        words, of scenes where these can be bound wrongly; ``misplaced``, the share of wrong words that some thing of
        the scene has, of all and of each attribute; of each attribute (``label``) ``said_recall``, the share of things
        of which it is said truly, under the best assignment of mentions to things, and ``said_precision``, the share of
        what is said of it that is true; by digits, ``omission``, the share of things whose digit is never said, and
        ``hallucination``, of digits said that nothing there has (one said too often is `is_repeated`); ``distinct``,
        how many different captions there are for each image. What can't be parsed says nothing: it counts as an
        omission, and is left out where shares of what is said are told.
    """
    flags = {name: np.zeros(len(captions)) for name in FLAGS}
    parts: Parts = {("misbound", None): []}
    for i, (caption, state) in enumerate(zip(captions, states, strict=True)):
        claim, things = claim_of(caption), things_of(scene_of(state))
        mentions = () if claim is None else claim.mentions
        flags["unparseable"][i] = claim is None
        true = claim is not None and bool(Scenes(state[None]).true(claim)[0])  # relations and the number of things too
        flags["exact_scene"][i] = true and is_exact(mentions, things)
        flags["binding_error"][i] = is_misbound(mentions, things)
        flags["repeated"][i] = is_repeated(mentions, things)
        if has_right_words(mentions, things) and can_be_misbound(things):
            _add(parts, ("misbound", None), i, int(flags["binding_error"][i]), 1)
        for name, wrong in misplaced(mentions, things).items():
            for label in (None, name):
                _add(parts, ("misplaced", label), i, sum(wrong), len(wrong))
        pairs = matched(mentions, things)
        told = [(name, i, right(mentions[a], things[b])) for name in SAID for a, b in pairs]
        for name in SAID:
            hits = sum(name in true for of, _, true in told if of == name)
            claims = sum(said(mention, name) for mention in mentions)
            _add(parts, ("said_recall", name), i, hits, len(things))
            _add(parts, ("said_precision", name), i, hits, claims)
        there = [thing["digit"] for thing in things]
        named = [min(mention.digit) for mention in mentions if len(mention.digit) == 1]
        _add(parts, ("omission", None), i, sum(digit not in named for digit in there), len(there))
        _add(parts, ("hallucination", None), i, sum(digit not in there for digit in named), len(named))
    every = np.arange(len(captions))
    found: dict[Key, Outcome] = {Key(name, "image"): PerRow(values, every) for name, values in flags.items()}
    for (metric, label), rows in parts.items():
        item, values = zip(*(rows or [(0, 0.0)]), strict=True)  # where nothing is said of any image: no share at all
        found[Key(metric, "image", label=label)] = PerRow(np.array(values, float), np.array(item, np.int64))
    found[Key("distinct", "image")] = len(set(captions)) / len(captions)
    return found


def _add(
    parts: dict[tuple[str, str | None], list[tuple[int, float]]],
    key: tuple[str, str | None],
    item: int,
    hits: int,
    of: int,
) -> None:
    """So many hits among so many."""
    parts.setdefault(key, []).extend((item, 1.0) for _ in range(hits))
    parts[key].extend((item, 0.0) for _ in range(of - hits))


def template(scene: Scene) -> str:
    """A plain sentence that says all of a scene."""
    from jam.world.grammar import Plan, Said, speak

    things = tuple(Said(cell, 0, 0, 0, 0, 0, 0, 0, False) for cell in scene)
    return speak(scene, Plan("dense", 0, None, False, things, None, None))
