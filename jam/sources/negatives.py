"""Hard negatives made by rule from a true caption: one thing swapped or replaced, or the order of words broken.

===================== =========================================================== ==================================
kind                  what is done                                                example
===================== =========================================================== ==================================
``swap_attribute``    two attributes of different things change places            a **blue** car and a **red** bus
``swap_object``       two things change places                                    a **ball** holds a **dog**
``replace_attribute`` a colour, size, number … becomes another of its family      a **green** car
``replace_object``    a thing becomes another of its family                       a **cat** holds a ball
``word_order``        two noun phrases change places around what relates them; if **a ball** holds **a dog**
                      there are no two, pairs of words are shuffled
===================== =========================================================== ==================================

The first four follow SugarCrepe (Hsieh et al. 2023, arXiv 2306.14610), which names them so; CREPE (Ma et al. 2023,
arXiv 2212.07796) makes its swaps and replacements by rule as here; ``word_order`` is the caption's order task of ARO
(Yuksekgonul et al. 2023, arXiv 2210.01936). Those sets were filtered by people or by models. Here nobody looked: the
sentence is false as a rule, not for certain, so what other captions of the image mention is never put in, and pairs
joined by "and" or "next to", whose exchange says the same, are left alone. What the lexicon does not know is not
touched (`jam.sources.lexicon`).
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from jam.sources.lexicon import LEXICON, LONGEST, Entry, alternatives

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_ARTICLE = re.compile(r"\b(a)(n?)(\s+)$", re.IGNORECASE)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Around these, two things may change places and the sentence stays true.
_SYMMETRIC = _words("and or a an the with by near beside next to alongside together are is")
_DETERMINERS = _words("a an the his her its their some several many two three four five six seven eight nine ten")
# No noun phrase reaches over one of these.
_BREAKS = _SYMMETRIC | _words(
    "in on at of from into onto over under above below behind between through across around along against inside "
    "outside off up down toward towards for as while that which who has have having was were be being it they"
)
_GENDERED = _words("he him his himself she her hers herself")


@dataclass(frozen=True)
class _Span:
    """A part of a sentence: words ``first`` to ``last`` (excluded)."""

    first: int
    last: int


@dataclass(frozen=True)
class _Mention(_Span):
    """A word or compound that the lexicon knows."""

    entry: Entry


class _Sentence:
    """A caption, its words, and what of it the lexicon knows."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = [match.span() for match in _WORD.finditer(text)]
        self.words = [text[start:end].casefold() for start, end in self.spans]
        self.mentions = list(self._mentions())
        self.objects = [mention for mention in self.mentions if mention.entry.is_object]
        self.attributes = [mention for mention in self.mentions if not mention.entry.is_object]

    def _mentions(self) -> Iterator[_Mention]:
        first = 0
        while first < len(self.words):
            for last in range(min(first + LONGEST, len(self.words)), first, -1):  # a "hot dog" is no dog
                entry = LEXICON.get(tuple(self.words[first:last]))
                if entry:
                    yield _Mention(first, last, entry)
                    first = last
                    break
            else:
                first += 1

    def characters(self, span: _Span) -> slice:
        """Where a part stands in the text."""
        return slice(self.spans[span.first][0], self.spans[span.last - 1][1])

    def between(self, one: _Span, two: _Span) -> list[str]:
        return self.words[one.last : two.first]

    def swapped(self, one: _Span, two: _Span) -> str:
        """The text with two spans exchanged, the first one first."""
        return self.edited((one, self.text[self.characters(two)]), (two, self.text[self.characters(one)]))

    def edited(self, *edits: tuple[_Span, str]) -> str:
        """The text with spans replaced: case follows the place, and "a" or "an" before it the new word."""
        parts, end = "", 0
        for span, new in edits:
            place = self.characters(span)
            before = self.text[end : place.start]
            article = _ARTICLE.search(before)
            if article:
                before = before[: article.start()] + article[1] + ("n" if new[0] in "aeiouAEIOU" else "") + article[3]
            parts += before + _cased(new, self.text[place])
            end = place.stop
        return parts + self.text[end:]


def _cased(new: str, old: str) -> str:
    """The new word with a capital where the old one had it; a "TV" stays one, and gives its capitals to no other."""
    if not (new[0].isascii() and old[0].isascii()) or new[1:] != new[1:].lower():
        return new
    capital = old[0].isupper() and old[1:] == old[1:].lower()
    return (new[0].upper() if capital else new[0].lower()) + new[1:]


# --- the rules: candidates, best first --------------------------------------------------------------------------------

_Rule = Callable[[_Sentence, Sequence[Entry], random.Random], Iterator[str]]


def _shuffled(items: Sequence[Any], rng: random.Random) -> list[Any]:
    return rng.sample(items, len(items))


def _pairs(spans: Iterable[Any], rng: random.Random) -> list[tuple[Any, Any]]:
    return _shuffled(list(combinations(spans, 2)), rng)


def _swap_attribute(sentence: _Sentence, _: Sequence[Entry], rng: random.Random) -> Iterator[str]:
    attributes = {word for mention in sentence.attributes for word in mention.entry.words}
    pairs = _pairs((mention for mention in sentence.attributes if _before_a_noun(sentence, mention)), rng)
    # colour with colour, size with size first: a "wooden girl" would be told by its form alone
    for one, two in sorted(pairs, key=lambda pair: pair[0].entry.family != pair[1].entry.family):
        numbers = (one.entry.family == "number") + (two.entry.family == "number")
        same = set(_following(sentence, one)) & set(_following(sentence, two))  # "a red car and a blue car"
        of_two_things = set(sentence.between(one, two)) - attributes - _SYMMETRIC - same
        if numbers != 1 and of_two_things and not one.entry.agrees(two.entry):
            yield sentence.swapped(one, two)


def _following(sentence: _Sentence, mention: _Mention) -> list[str]:
    return sentence.words[mention.last : mention.last + 1]


def _before_a_noun(sentence: _Sentence, mention: _Mention) -> bool:
    """Whether a word follows that may be what the attribute is of, so that "dressed in red" is left alone."""
    following = _following(sentence, mention)
    return any(word not in _BREAKS | _DETERMINERS and not word.endswith("ing") for word in following)


def _swap_object(sentence: _Sentence, _: Sequence[Entry], rng: random.Random) -> Iterator[str]:
    for one, two in _pairs(sentence.objects, rng):
        alike = one.entry.form == two.entry.form and not one.entry.agrees(two.entry)
        if alike and set(sentence.between(one, two)) - _SYMMETRIC:
            yield sentence.swapped(one, two)


def _replace(
    mentions: Sequence[_Mention], sentence: _Sentence, said: Sequence[Entry], rng: random.Random
) -> Iterator[str]:
    gendered = bool(_GENDERED & set(sentence.words))  # "a woman … his" would be told by its form alone
    options = [
        (mention, other)
        for mention in mentions
        if not (gendered and mention.entry.family in ("adult", "gendered child"))
        for other in alternatives(mention.entry)
        if not any(other.agrees(entry) for entry in said)
    ]
    for mention, other in _shuffled(options, rng):
        yield sentence.edited((mention, " ".join(other.words)))


def _word_order(sentence: _Sentence, _: Sequence[Entry], rng: random.Random) -> Iterator[str]:
    for one, two in _pairs(_noun_phrases(sentence), rng):
        if set(sentence.between(one, two)) - _SYMMETRIC:
            yield sentence.swapped(one, two)
    places = list(range(len(sentence.words)))
    if not places:
        return
    chunks = [places[i : i + 2] for i in places[::2]]
    for _try in range(4):
        yield _in_order(sentence, [place for chunk in _shuffled(chunks, rng) for place in chunk])
    for one, two in _pairs(places, rng):
        order = places.copy()
        order[one], order[two] = two, one
        yield _in_order(sentence, order)


def _noun_phrases(sentence: _Sentence) -> Iterator[_Span]:
    """A determiner, up to three words, and a thing that the lexicon knows."""
    for mention in sentence.objects:
        for first in range(mention.first - 1, max(mention.first - 5, -1), -1):
            if sentence.words[first] in _DETERMINERS:
                yield _Span(first, mention.last)
            if sentence.words[first] in _DETERMINERS | _BREAKS:
                break


def _in_order(sentence: _Sentence, order: Sequence[int]) -> str:
    """The words in another order, in the places that they had, with the punctuation between them."""
    words = [sentence.text[start:end] for start, end in sentence.spans]
    gaps = [sentence.text[a[1] : b[0]] for a, b in zip(sentence.spans, sentence.spans[1:], strict=False)]
    moved = [words[place] for place in order]
    if order[0] != 0:  # the capital stays at the front
        moved[order.index(0)] = _lowered(words[0])
        moved[0] = _cased(moved[0], words[0]) if words[0][0].isupper() else moved[0]
    before, after = sentence.text[: sentence.spans[0][0]], sentence.text[sentence.spans[-1][1] :]
    return before + "".join(w + g for w, g in zip(moved, [*gaps, after], strict=True))


def _lowered(word: str) -> str:
    return word if word == "I" or not word[0].isascii() or word[1:] != word[1:].lower() else word[0].lower() + word[1:]


_RULES: dict[str, _Rule] = {
    "swap_attribute": _swap_attribute,
    "swap_object": _swap_object,
    "replace_attribute": lambda sentence, said, rng: _replace(sentence.attributes, sentence, said, rng),
    "replace_object": lambda sentence, said, rng: _replace(sentence.objects, sentence, said, rng),
    "word_order": _word_order,
}
KINDS = tuple(_RULES)


# --- captions → negatives ---------------------------------------------------------------------------------------------


def same_words(caption: str) -> tuple[str, ...]:
    """What two captions share that differ in case, punctuation, spaces and "a" or "an" only."""
    return tuple("a" if word == "an" else word for word in (match[0].casefold() for match in _WORD.finditer(caption)))


def hard_negatives(captions: Sequence[str], *, per_caption: int, seed: int) -> list[dict[str, Any]]:
    """False captions of one image, made from its true ones.

    Each caption gives at most ``per_caption``, each of another kind. Which kinds is drawn from the rules that fire;
    ``word_order`` is taken when no other is left, so that only a caption in which no order of words differs from all
    true captions (one of a single word, say) gives none.

    Args:
        captions: every sentence that is true of the image.
        per_caption: how many from each caption, at least 1.
        seed: another seed draws other kinds, places and words.

    Returns:
        Negatives as in the pairs table: ``kind``, ``tier`` (hard), ``text``, ``of`` (number of the caption). No text is
        there twice, or equals a true caption but for case, punctuation and spaces.
    """
    if per_caption < 1:
        raise ValueError(f"per_caption: got {per_caption}, expected at least 1")
    sentences = [_Sentence(caption) for caption in captions]
    said = [mention.entry for sentence in sentences for mention in sentence.mentions]
    taken = {same_words(caption) for caption in captions}
    found = []
    for of, sentence in enumerate(sentences):
        rng = random.Random(f"{seed}:{of}:{sentence.text}")
        kinds = [*_shuffled(KINDS[:-1], rng), "word_order"]
        count = 0
        for kind in kinds:
            candidates = _RULES[kind](sentence, said, rng)
            text = next((text for text in candidates if same_words(text) not in taken), None)
            if text is not None:
                taken.add(same_words(text))
                found.append({"kind": kind, "tier": "hard", "text": text, "of": of})
                count += 1
            if count == per_caption:
                break
    return found
