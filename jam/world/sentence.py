"""A caption in its parts, and how they are written: the words that an edit may change, each in its own field."""

from typing import NamedTuple

from jam.world.lexicon import ADVERBS, FRAMES


class Phrase(NamedTuple):
    """The words for one thing; empty where nothing is said."""

    size: str = ""
    colour: str = ""
    digit: str = ""
    noun: str = ""
    place: str = ""  # a template of `lexicon.PLACES`
    row: str = ""
    column: str = ""
    place_first: bool = False


class Sentence(NamedTuple):
    """All words of a caption."""

    frame: int
    phrases: tuple[Phrase, ...]
    adverb: int | None = None
    adverb_first: bool = False
    total: str = ""  # the count, if it is stated
    relation: tuple[int, str] | None = None  # of which phrase to the next, in which words


def article(word: str) -> str:
    """The indefinite article before a word: by its sound, so "a one" and "an 8"."""
    return "an" if word[0] in "aeiou8" and word != "one" else "a"


def write_phrase(phrase: Phrase) -> str:
    """A thing with its article; its place stands right before or after it, so that neighbours belong together."""
    words = [word for word in phrase[:4] if word]
    thing = " ".join((article(words[0]), *words))
    if not phrase.place:
        return thing
    place = phrase.place.format(row=phrase.row, column=phrase.column)
    return f"{place} {thing}" if phrase.place_first else f"{thing} {place}"


def write(sentence: Sentence) -> str:
    """The caption: things joined by commas, "and" and their relation, with the count before them, in their frame."""
    phrases = [write_phrase(phrase) for phrase in sentence.phrases]
    text, joint = phrases[-1], " and "  # from the last thing to the first: "and" comes once, and last
    for i in range(len(phrases) - 2, -1, -1):
        if sentence.relation is not None and sentence.relation[0] == i:
            text = f"{phrases[i]} {sentence.relation[1]} {text}"
        else:
            text, joint = phrases[i] + joint + text, ", "
    if sentence.total:
        text = f"{sentence.total}: {text}"
    text = FRAMES[sentence.frame].text.replace("{}", text)
    if sentence.adverb is None:
        return text
    adverb = ADVERBS[sentence.adverb]
    return f"{adverb} {text}" if sentence.adverb_first else f"{text} {adverb}"
