"""Caption → claim: reads every sentence of the language, knowing its lexicon and nothing of how it was planned."""

from collections.abc import Iterable, Mapping
from typing import NoReturn

from jam.errors import InputError
from jam.world.claims import Claim, Mention, Values
from jam.world.lexicon import ADVERBS, COUNT_WORDS, FRAMES, HYPERNYMS, NOUNS, PLACES, RELATION_WORDS, WORDS
from jam.world.state import ATTRIBUTES, COLUMNS, MOST, ROWS

Tokens = tuple[str, ...]


def _values(name: str) -> dict[str, Values]:
    """Word → values that it may mean."""
    exact = {word: frozenset((value,)) for value, words in enumerate(WORDS[name]) for word in words}
    return exact | HYPERNYMS.get(name, {})


def _places() -> dict[Tokens, Values]:
    """Every way to say a place → its cells."""
    found = {}
    for cell in range(len(ROWS) * len(COLUMNS)):
        here = divmod(cell, len(COLUMNS))
        cells = {
            "both": frozenset((cell,)),
            "row": frozenset(range(here[0] * len(COLUMNS), (here[0] + 1) * len(COLUMNS))),
            "column": frozenset(range(here[1], len(ROWS) * len(COLUMNS), len(COLUMNS))),
        }
        for row in WORDS["row"][here[0]]:
            for column in WORDS["column"][here[1]]:
                for said, templates in PLACES.items():
                    for template in templates:
                        found[tuple(template.format(row=row, column=column).split())] = cells[said]
    return found


def _lengths(phrases: Iterable[Tokens]) -> tuple[int, ...]:
    """Lengths of phrases, the longest first: the longest that fits is meant."""
    return tuple(sorted({len(phrase) for phrase in phrases}, reverse=True))


_WORDS = {name: _values(name) for name in ATTRIBUTES}
_HYPERNYMS = frozenset(HYPERNYMS["digit"])
_NOUNS = frozenset(NOUNS)
_ADVERBS = frozenset(ADVERBS)
_PLACES = _places()
_RELATIONS = {tuple(text.split()): name for name, texts in RELATION_WORDS.items() for text in texts}
_COUNTS = {tuple(text.split()): number for number, texts in enumerate(COUNT_WORDS, 1) for text in texts}
_PLACE_LENGTHS, _RELATION_LENGTHS = _lengths(_PLACES), _lengths(_RELATIONS)
_PLACE_STARTS = frozenset(phrase[0] for phrase in _PLACES)
_FRAMES = tuple(tuple(tuple(part.split()) for part in frame.text.split("{}")) for frame in FRAMES)
_ANY = Mention()


class _Reader:
    """A caption, read word by word."""

    def __init__(self, caption: str) -> None:
        self.caption = caption
        self.tokens: Tokens = tuple(caption.replace(",", " ,").replace(":", " :").split())
        self.at = 0

    def fail(self, expected: str) -> NoReturn:
        got = repr(self.tokens[self.at]) if self.at < len(self.tokens) else "its end"
        raise InputError(f"caption {self.caption!r}: expected {expected}, got {got}")

    def word(self) -> str:
        """The next word, not yet taken; empty at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def strip_frame(self) -> None:
        """Drop adverb and frame, which claim nothing."""
        tokens = self.tokens
        if tokens and tokens[0] in _ADVERBS:
            tokens = tokens[1:]
        elif tokens and tokens[-1] in _ADVERBS:
            tokens = tokens[:-1]
        for before, after in _FRAMES:
            end = len(tokens) - len(after)
            if tokens[: len(before)] == before and tokens[end:] == after:
                self.tokens = tokens[len(before) : end]
                return
        self.fail("a frame of the language")

    def count(self) -> int | None:
        """The number of things, if a colon follows it."""
        if ":" not in self.tokens:
            return None
        colon = self.tokens.index(":")
        number = _COUNTS.get(self.tokens[:colon])
        if number is None:
            self.fail("a count before the colon")
        self.at = colon + 1
        return number

    def longest(self, phrases: Mapping[Tokens, object], lengths: tuple[int, ...]) -> Tokens | None:
        """Take the longest phrase that comes next, if any does."""
        for length in lengths:
            phrase = self.tokens[self.at : self.at + length]
            if phrase in phrases:
                self.at += length
                return phrase
        return None

    def place(self) -> Values | None:
        if self.word() not in _PLACE_STARTS:
            return None
        phrase = self.longest(_PLACES, _PLACE_LENGTHS)
        return None if phrase is None else _PLACES[phrase]

    def attribute(self, name: str) -> Values | None:
        allowed = _WORDS[name].get(self.word())
        if allowed is not None:
            self.at += 1
        return allowed

    def mention(self) -> Mention:
        """One thing: place, article, size, colour, digit or noun, place; the place once at most."""
        cell = self.place()
        if self.word() not in ("a", "an"):
            self.fail("a thing with its article")
        self.at += 1
        size, colour = self.attribute("size"), self.attribute("colour")
        named = bool(self.word()) and self.word() not in _HYPERNYMS  # a hypernym is not a name: a noun follows
        digit = self.attribute("digit")
        if digit is None or not named:
            if self.word() not in _NOUNS:
                self.fail("a digit or a noun")
            self.at += 1
        if cell is None:
            cell = self.place()
        return Mention(
            _ANY.digit if digit is None else digit,
            _ANY.colour if colour is None else colour,
            _ANY.size if size is None else size,
            _ANY.cell if cell is None else cell,
        )

    def claim(self) -> Claim:
        self.strip_frame()
        count = self.count()
        mentions, relations = [self.mention()], []
        while self.at < len(self.tokens):
            if self.word() in (",", "and"):
                self.at += 1
            else:
                phrase = self.longest(_RELATIONS, _RELATION_LENGTHS)
                if phrase is None:
                    self.fail("a comma, 'and' or a relation")
                relations.append((len(mentions) - 1, _RELATIONS[phrase], len(mentions)))
            if len(mentions) == MOST:
                raise InputError(f"caption {self.caption!r}: expected at most {MOST} things, got more")
            mentions.append(self.mention())
        return Claim(tuple(mentions), tuple(relations), count)


def parse(caption: str) -> Claim:
    """Read a caption.

    Raises:
        InputError: the caption is no sentence of the language.
    """
    return _Reader(caption).claim()
