"""Scene → sentences: a plan holds every choice that the state leaves open; a scene and a plan give one caption.

Partial captions leave things and attributes out, say hypernyms and relate things; dense ones say all and the count, so
that they are true of exactly one state; ``no_colour`` is dense without colours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jam.world.claims import Claim, Mention
from jam.world.lexicon import ADVERBS, COUNT_WORDS, FRAMES, HYPERNYMS, NOUNS, PLACES, RELATION_WORDS, WORDS
from jam.world.places import relations_of
from jam.world.sentence import Phrase, Sentence, write
from jam.world.state import ATTRIBUTES, CELLS, COLUMNS, ROWS, Scene

FORMS = ("partial", "dense", "no_colour")

# Shares of what a partial caption says of a thing that it mentions.
SAID = {"digit": 0.95, "colour": 0.9, "size": 0.85}
PLACE = 0.95  # where no relation stands for the place; about .85 of all mentions
WHOLE_PLACE = 0.8  # of the places said; else row or column alone
HYPERNYM = 0.07  # of the digits and colours said that have one
RELATION = 0.3  # of captions that mention two things or more
ADVERB = 0.5

_HYPERNYMS_OF = {
    name: tuple(
        tuple(word for word, values in HYPERNYMS.get(name, {}).items() if value in values) for value in range(number)
    )
    for name, number in ATTRIBUTES.items()
}
_SYNONYMS = {name: len(values[0]) for name, values in WORDS.items()}
_DRAWS = 96  # uniform numbers: more than any plan needs (14 of the caption, 22 of each thing)

Style = int | str | None
"""How a value is said: the number of its synonym, a hypernym, or not at all."""


class Said(NamedTuple):
    """How one thing is mentioned."""

    cell: int  # which thing: the one that stands here
    size: Style
    colour: Style
    digit: Style
    noun: int
    row: int | None
    column: int | None
    place: int
    place_first: bool


@dataclass(frozen=True)
class Plan:
    """All that is not in the state: what is said, in which words and in which order."""

    form: str
    frame: int
    adverb: int | None
    adverb_first: bool
    said: tuple[Said, ...]  # in order of mention
    relation: tuple[int, str, int] | None  # of which mention to the next, which of `RELATIONS`, number of synonym
    count: int | None  # number of synonym, if the count is stated


def draw_plan(
    scene: Scene, rng: np.random.Generator, form: str = "partial", *, mention: float = 0.85, synonyms: float = 0.85
) -> Plan:
    """Draw a plan for a scene.

    Args:
        scene: the scene that is spoken of.
        rng: source of all choices.
        form: one of `FORMS`.
        mention: probability of each thing to be mentioned in a partial caption; one is, whatever happens.
        synonyms: probability of the common word; the other words share the rest.
    """
    if form not in FORMS:
        raise ValueError(f"form: got {form!r}, expected one of {', '.join(FORMS)}")
    draw = iter(rng.random(_DRAWS).tolist()).__next__  # drawn at once: one call for each would take most of the time
    word = _Words(draw, synonyms)
    cells = sorted(scene, key=lambda _: draw())
    partial = form == "partial"
    if partial:
        cells = [cell for cell in cells if draw() < mention] or cells[:1]
    frame = int(draw() * len(FRAMES))
    adverb = int(draw() * len(ADVERBS)) if draw() < ADVERB else None
    adverb_first = draw() < 0.5
    relation = None
    if partial and len(cells) > 1 and draw() < RELATION:
        first = int(draw() * (len(cells) - 1))
        name = word.any(relations_of(cells[first], cells[first + 1]))
        relation = (first, name, word.synonym(len(RELATION_WORDS[name])))
    said = [_draw_partial(scene, cell, word) if partial else _draw_dense(cell, word, form) for cell in cells]
    if relation is not None:
        # A relation stands between its two things, and for the place of the second: with both places said it would
        # tell nothing.
        a, b = relation[0], relation[0] + 1
        said[a], said[b] = said[a]._replace(place_first=True), said[b]._replace(row=None, column=None)
    count = None if partial else word.synonym(len(COUNT_WORDS[0]))
    return Plan(form, frame, adverb, adverb_first, tuple(said), relation, count)


class _Words:
    """Draws of words."""

    def __init__(self, draw: Callable[[], float], common: float) -> None:
        self.draw, self.common = draw, common

    def any(self, options: Sequence[str]) -> str:
        return options[int(self.draw() * len(options))]

    def synonym(self, number: int) -> int:
        """Number of one of ``number`` words: the first is the common one."""
        rest = self.draw() - self.common
        if rest < 0 or number == 1:
            return 0
        return min(1 + int(rest / (1 - self.common) * (number - 1)), number - 1)

    def style(self, name: str, value: int) -> Style:
        """How a partial caption says a value."""
        if self.draw() >= SAID[name]:
            return None
        hypernyms = _HYPERNYMS_OF[name][value]
        if hypernyms and self.draw() < HYPERNYM:
            return self.any(hypernyms)
        return self.synonym(_SYNONYMS[name])


def _draw_partial(scene: Scene, cell: int, word: _Words) -> Said:
    thing, draw = scene[cell], word.draw
    size, colour, digit = (word.style(name, getattr(thing, name)) for name in ("size", "colour", "digit"))
    row = column = None
    place = 0
    if draw() < PLACE:
        whole = draw() < WHOLE_PLACE
        alone = "both" if whole else word.any(("row", "column"))
        row = None if alone == "column" else word.synonym(_SYNONYMS["row"])
        column = None if alone == "row" else word.synonym(_SYNONYMS["column"])
        place = word.synonym(len(PLACES[alone]))
    return Said(cell, size, colour, digit, word.synonym(len(NOUNS)), row, column, place, draw() < 0.5)


def _draw_dense(cell: int, word: _Words, form: str) -> Said:
    size, colour, digit, row, column = (
        word.synonym(_SYNONYMS[name]) for name in ("size", "colour", "digit", "row", "column")
    )
    place = word.synonym(len(PLACES["both"]))
    return Said(cell, size, None if form == "no_colour" else colour, digit, 0, row, column, place, word.draw() < 0.5)


def _say(name: str, value: int, style: Style) -> str:
    if style is None:
        return ""
    return style if isinstance(style, str) else WORDS[name][value][style]


def _phrase(scene: Scene, said: Said) -> Phrase:
    thing = scene[said.cell]
    row, column = divmod(said.cell, len(COLUMNS))
    said_of_place = "both" if None not in (said.row, said.column) else "row" if said.row is not None else "column"
    placed = said.row is not None or said.column is not None
    return Phrase(
        _say("size", thing.size, said.size),
        _say("colour", thing.colour, said.colour),
        _say("digit", thing.digit, said.digit),
        "" if isinstance(said.digit, int) else NOUNS[said.noun],
        PLACES[said_of_place][said.place] if placed else "",
        _say("row", row, said.row),
        _say("column", column, said.column),
        said.place_first,
    )


def words_of(scene: Scene, plan: Plan) -> Sentence:
    """The words of a plan for a scene, not yet written."""
    relation = None if plan.relation is None else (plan.relation[0], RELATION_WORDS[plan.relation[1]][plan.relation[2]])
    count = "" if plan.count is None else COUNT_WORDS[len(scene) - 1][plan.count]
    phrases = tuple(_phrase(scene, said) for said in plan.said)
    return Sentence(plan.frame, phrases, plan.adverb, plan.adverb_first, count, relation)


def speak(scene: Scene, plan: Plan) -> str:
    """Say a scene in the words of a plan."""
    return write(words_of(scene, plan))


_ALL = Mention()
_ONLY = tuple(frozenset((value,)) for value in range(max(*ATTRIBUTES.values(), CELLS)))
_CELLS_OF = {
    (row, column): frozenset(
        cell for cell in range(CELLS) if row in (None, cell // len(COLUMNS)) and column in (None, cell % len(COLUMNS))
    )
    for row in (None, *range(len(ROWS)))
    for column in (None, *range(len(COLUMNS)))
}


def _allowed(name: str, value: int, style: Style) -> frozenset[int]:
    if style is None:
        allowed: frozenset[int] = getattr(_ALL, name)
        return allowed
    return HYPERNYMS[name][style] if isinstance(style, str) else _ONLY[value]


def claim_of(scene: Scene, plan: Plan) -> Claim:
    """What a caption claims, known from plan and scene without reading it."""
    mentions = []
    for said in plan.said:
        thing = scene[said.cell]
        row, column = divmod(said.cell, len(COLUMNS))
        cells = _CELLS_OF[None if said.row is None else row, None if said.column is None else column]
        digit, colour, size = (_allowed(name, getattr(thing, name), getattr(said, name)) for name in ATTRIBUTES)
        mentions.append(Mention(digit, colour, size, cells))
    relations = () if plan.relation is None else ((plan.relation[0], plan.relation[1], plan.relation[0] + 1),)
    return Claim(tuple(mentions), relations, None if plan.count is None else len(scene))


def private_of(plan: Plan) -> dict[str, str]:
    """What a caption shows and no state has: the number of its frame, its tense and its adverb."""
    adverb = "none" if plan.adverb is None else ADVERBS[plan.adverb]
    return {"frame": str(plan.frame), "tense": FRAMES[plan.frame].tense, "adverb": adverb}
