"""What each latent reads: of an image which positions, of a caption which sorts of words."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jam.align.token_adapter import TokenAdapter
from jam.features.ragged import Ragged
from jam.resampler.monitors import attention
from jam.world.lexicon import COUNT_WORDS, FUNCTION_WORDS, HYPERNYMS, NOUNS, PLACES, RELATION_WORDS, WORDS, words_in

SPECIAL, OTHER = "special token", "frame, adverb"
_FAMILIES: dict[str, frozenset[str]] = {
    **{name: frozenset(word for words in WORDS[name] for word in words) for name in ("digit", "colour", "size")},
    "place": words_in([text for texts in PLACES.values() for text in texts]) - FUNCTION_WORDS
    | {word for name in ("row", "column") for words in WORDS[name] for word in words},
    "relation": words_in([text for texts in RELATION_WORDS.values() for text in texts]) - FUNCTION_WORDS,
    "count": words_in([text for texts in COUNT_WORDS for text in texts]) - FUNCTION_WORDS,
    "a, and, in, of …": FUNCTION_WORDS,
}


def sort_of(word: str) -> str:
    """What a word of a caption of the embedded world is about."""
    for name in ("digit", "colour"):
        if word in _FAMILIES[name] or word in HYPERNYMS[name]:
            return name
    if word in NOUNS:
        return "digit"  # stands where a digit is not named
    return next((name for name, words in _FAMILIES.items() if word in words), OTHER)


def sorts_of(tokenizer: Any, text: str, most: int) -> list[str]:
    """Of each token of a text, cut to so many, the sort of its word."""
    told = tokenizer(text, truncation=True, max_length=most)
    spans = [None if word is None else told.word_to_chars(word) for word in told.word_ids()]
    return [SPECIAL if span is None else sort_of(text[span.start : span.end].strip().lower()) for span in spans]


def by_position(adapter: TokenAdapter, tokens: Ragged) -> Iterator[dict[str, Any]]:
    """A row a latent and position: the mean share of its attention.

    Raises:
        ValueError: items have different numbers of tokens.
    """
    if len(set(tokens.lengths.tolist())) > 1:
        raise ValueError(f"tokens: got {sorted(set(tokens.lengths.tolist()))} of an item, expected as many of each")
    count = int(tokens.lengths[0])
    mean = np.mean([weights[:, :count] for weights in attention(adapter, tokens)], axis=0)
    for latent, shares in enumerate(mean):
        for place, share in enumerate(shares):
            yield {"latent": latent, "key": str(place), "value": float(share), "uniform": 1 / count}


def by_sort(adapter: TokenAdapter, tokens: Ragged, sorts: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    """A row a latent and sort of word: the mean share of its attention, and the share of tokens that are such.

    Raises:
        ValueError: an item has not as many sorts as tokens.
    """
    if [len(words) for words in sorts] != tokens.lengths.tolist():
        raise ValueError("sorts: got other numbers than there are tokens, expected one of each token")
    names = [name for name in (*_FAMILIES, OTHER, SPECIAL) if any(name in words for words in sorts)]
    total = np.zeros((len(names), 0))
    for weights, words in zip(attention(adapter, tokens), sorts, strict=True):
        is_such = np.array([[word == name for word in words] for name in names], dtype=np.float64)
        told = np.column_stack([is_such @ weights[:, : len(words)].T, is_such.mean(axis=1)])
        total = told if not total.size else total + told
    for name, shares in zip(names, total / len(sorts), strict=True):
        for latent, share in enumerate(shares[:-1]):
            yield {"latent": latent, "key": name, "value": float(share), "uniform": float(shares[-1])}
