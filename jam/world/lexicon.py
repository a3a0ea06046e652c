"""The words of the language, as data: for every value the common word first, then its synonyms.

Values of one kind have equally many words, in parallel: the word of another value can stand wherever a word stands, so
an edit is a sentence of the same language. No word has two meanings, and no word of a frame or adverb means anything
of a state.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jam.world.state import COLOURS, DIGITS

WORDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "digit": (
        ("zero", "0", "nought"),
        ("one", "1", "ace"),
        ("two", "2", "deuce"),
        ("three", "3", "trey"),
        ("four", "4", "quartet"),
        ("five", "5", "quintet"),
        ("six", "6", "sextet"),
        ("seven", "7", "septet"),
        ("eight", "8", "octet"),
        ("nine", "9", "nonet"),
    ),
    "colour": (
        ("red", "crimson", "scarlet"),
        ("orange", "amber", "tangerine"),
        ("yellow", "golden", "lemon"),
        ("green", "emerald", "jade"),
        ("cyan", "turquoise", "teal"),
        ("blue", "azure", "navy"),
        ("purple", "violet", "plum"),
        ("white", "ivory", "snowy"),
    ),
    "size": (("small", "tiny", "little", "mini"), ("large", "big", "huge", "giant")),
    "row": (("top", "upper"), ("bottom", "lower")),
    "column": (("left", "left"), ("middle", "centre"), ("right", "right")),  # English has no synonym of left
}
"""Kind of value → value → its words; rows and columns by their numbers in a cell, the others by those in `state`."""

HYPERNYMS: dict[str, dict[str, frozenset[int]]] = {
    "digit": {
        "even": frozenset(range(0, len(DIGITS), 2)),
        "odd": frozenset(range(1, len(DIGITS), 2)),
        "low": frozenset(range(5)),
        "high": frozenset(range(5, len(DIGITS))),
    },
    "colour": {
        "warm": frozenset(map(COLOURS.index, ("red", "orange", "yellow"))),
        "cool": frozenset(map(COLOURS.index, ("green", "cyan", "blue", "purple"))),
    },
}
"""Attribute → hypernym → the values that it may mean; white has none."""

NOUNS = ("digit", "number", "figure", "numeral", "symbol")  # where no digit is named

PLACES: dict[str, tuple[str, ...]] = {
    "both": (
        "in the {row} {column}",
        "at the {row} {column}",
        "in the {row} {column} cell",
        "at the {row} {column} spot",
    ),
    "row": ("in the {row} row", "in the {row} half", "on the {row} line"),
    "column": ("in the {column} column", "in the {column} strip", "on the {column} file"),
}
"""What is said of a place → the ways to say it. None has a corner: the middle column has no corners."""

RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left_of": ("left of", "to the left of", "on the left of"),
    "right_of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "atop"),
    "below": ("below", "under", "beneath"),
    "beside": ("beside", "next to", "alongside"),
}

COUNT_WORDS: tuple[tuple[str, ...], ...] = (
    ("a single thing", "a lone item", "a sole object"),
    ("a pair of things", "a couple of items", "a duo of objects"),
    ("a trio of things", "a triplet of items", "a threesome of objects"),
)
"""Of one, two and three things."""


class Frame(NamedTuple):
    """A sentence without its things (``{}``), and its tense."""

    text: str
    tense: str


FRAMES = tuple(
    Frame(text, tense)
    for tense, texts in {
        "present": (
            "there is {}",
            "the picture shows {}",
            "we see {}",
            "this scene contains {}",
            "{} can be seen",
        ),
        "past": (
            "there was {}",
            "the photograph showed {}",
            "we noticed {}",
            "an artist had painted {}",
            "{} caught my eye",
        ),
        "future": (
            "there will be {}",
            "the image will show {}",
            "you will find {}",
            "they are going to draw {}",
            "{} will appear",
        ),
        "imperative": (
            "imagine {}",
            "behold {}",
            "please sketch {}",
            "remember {}",
            "let {} be visible",
        ),
    }.items()
    for text in texts
)

ADVERBS = (
    *("today", "tonight", "now", "again", "indeed", "clearly", "quietly", "surely", "simply", "plainly"),
    *("certainly", "obviously", "evidently", "gladly", "calmly", "truly", "really", "finally", "apparently", "somehow"),
)

FUNCTION_WORDS = frozenset(("a", "an", "and", "the", "in", "at", "on", "of", "to"))


def words_in(texts: Sequence[str]) -> frozenset[str]:
    """The words of some texts; commas, colons and open places of a template are none."""
    words = " ".join(texts).replace(",", " ").replace(":", " ").split()
    return frozenset(word for word in words if "{" not in word)


CONTENT_WORDS = (
    words_in(
        [
            *(word for values in WORDS.values() for words in values for word in words),
            *(word for names in HYPERNYMS.values() for word in names),
            *NOUNS,
            *(text for texts in PLACES.values() for text in texts),
            *(text for texts in RELATION_WORDS.values() for text in texts),
            *(text for texts in COUNT_WORDS for text in texts),
        ]
    )
    - FUNCTION_WORDS
)
"""All words that mean something of a state, and the nouns that carry them."""


def _others() -> dict[str, tuple[str, ...]]:
    groups: list[Sequence[Sequence[str]]] = [*WORDS.values(), tuple(RELATION_WORDS.values())]
    parallel = [words for values in groups for words in zip(*values, strict=True)]
    parallel += [("even", "odd"), ("low", "high"), ("warm", "cool")]
    others: dict[str, tuple[str, ...]] = {}
    for words in parallel:
        for word in words:  # "left" comes twice: the common words are its others
            others.setdefault(word, tuple(other for other in words if other != word))
    return others


OTHERS = _others()
"""Word, or words of a relation → what says another value in its stead, each as common as the word itself."""
