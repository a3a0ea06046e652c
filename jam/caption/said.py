"""All that a trained projector and a language model say of test items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from jam.caption.language import Language
from jam.caption.projector import Projector
from jam.caption.targets import questions
from jam.caption.train import Examples, prefixes, sentences
from jam.features.ragged import Ragged
from jam.world.state import States

QUESTION_SEED = 0


@dataclass(frozen=True)
class Said:
    """Sentences and answers.

    Attributes:
        captions: (n,) of the items; empty of what was trained on questions alone.
        mean: the sentence of the mean prefix of the training items.
        asked: by kind the questions.
        answers: by kind what was answered.
        shuffled: by kind what was answered with the prefix of another item.
    """

    captions: Sequence[str] = ()
    mean: str = ""
    asked: Mapping[str, Examples] = field(default_factory=dict)
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shuffled: Mapping[str, Sequence[str]] = field(default_factory=dict)


def others(n: int, seed: int = 0) -> np.ndarray:
    """For each of n items another one, (n,): no item is its own."""
    order = np.random.default_rng(seed).permutation(n)
    found = np.empty(n, dtype=np.int64)
    found[order] = np.roll(order, 1)
    return found


def say_captions(projector: Projector, language: Language, train: Ragged, test: Ragged) -> Said:
    """A sentence of each test item, and the one of the mean prefix."""
    mean = prefixes(projector, train).mean(dim=0, keepdim=True)
    told = sentences(language, prefixes(projector, test), [""] * len(test))
    return Said(told, sentences(language, mean, [""])[0])


def say_answers(projector: Projector, language: Language, test: Ragged, states: States) -> Said:
    """Answers to questions about test items, with their own prefix and with that of another item."""
    prefix, asked = prefixes(projector, test), questions(states, QUESTION_SEED)
    swapped = prefix[others(len(prefix))]
    answers, shuffled = (
        {kind: sentences(language, of[some.rows], some.prompts) for kind, some in asked.items()}
        for of in (prefix, swapped)
    )
    return Said(asked=asked, answers=answers, shuffled=shuffled)
