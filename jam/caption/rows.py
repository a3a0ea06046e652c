"""What was said as rows of results: means with intervals, and paired differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from jam.caption.answers import answer_scores
from jam.caption.ngrams import bleu, cider_d
from jam.caption.said import Said, others
from jam.caption.scenes import scene_scores
from jam.evaluation.contrasts import contrast_rows, observations
from jam.evaluation.scores import Key, Outcome, PerRow, summarise
from jam.world.state import States

REAL, SHUFFLED, MEAN, NONE, NEAREST, TEMPLATE = "real", "shuffled", "mean", "none", "nearest", "template"
Outcomes = dict[Key, Outcome]


@dataclass(frozen=True)
class Truths:
    """What is known of test items, by which sentences are scored.

    Attributes:
        states: (n, 6) their scenes; None where they are not known.
        references: (n,) true sentences of each, for n-gram scores.
        units: (n,) numbers of what a bootstrap draws.
        resamples: of it.
    """

    states: States | None
    references: Sequence[Sequence[str]]
    units: np.ndarray
    resamples: int

    def scores(self, told: Sequence[str]) -> Outcomes:
        """Of sentences (n,)."""
        every = np.arange(len(told))
        found = {} if self.states is None else scene_scores(told, self.states)
        found[Key("cider_d", "image")] = PerRow(np.array(cider_d(told, self.references)), every)
        found[Key("bleu", "image")] = bleu(told, self.references)
        return found

    def rows(self, runs: Mapping[int, Outcomes], subject: str, condition: str) -> pd.DataFrame:
        """Means over seeds with intervals."""
        table = summarise(runs, len(self.references), self.resamples, units=self.units)
        return table.assign(subject=subject, condition=condition)

    def differences(
        self, scored: Mapping[str, Mapping[int, Outcomes]], pairs: Sequence[tuple[str, str]]
    ) -> pd.DataFrame:
        """Of each pair the first minus the second, paired on items, p corrected for how many pairs there are.

        Of what is compared in `jam.evaluation.contrasts`.
        """
        observed = {name: observations(runs) for name, runs in scored.items()}
        return pd.DataFrame(contrast_rows(observed, pairs, self.units, self.resamples))


Scored = Mapping[str, Outcomes]
"""What was said, by condition: `REAL`, `SHUFFLED` and, of captions, `MEAN`."""


def score(said: Said, test: Truths) -> Scored:
    """What a variant says of the test items, with their own prefix, with another item's, and with the mean of all."""
    found = {REAL: real_scores(said, test), SHUFFLED: shuffled_scores(said, test)}
    return found | ({MEAN: test.scores([said.mean] * len(test.references))} if said.captions else {})


def variant_tables(runs: Mapping[str, Mapping[int, Scored]], test: Truths) -> Iterator[pd.DataFrame]:
    """Of each variant what it says under all conditions, how far that is from another image's, and from the first's."""
    of = {
        condition: {name: {seed: told[condition] for seed, told in seeds.items()} for name, seeds in runs.items()}
        for condition in (REAL, SHUFFLED)
    }
    for name, seeds in runs.items():
        for condition in next(iter(seeds.values())):
            yield test.rows({seed: told[condition] for seed, told in seeds.items()}, name, condition)
    real, nulls = of[REAL], {name: f"{name}, {SHUFFLED}" for name in runs}
    first = next(iter(real))
    both = {**real, **{nulls[name]: seeds for name, seeds in of[SHUFFLED].items()}}
    yield test.differences(both, list(nulls.items())).assign(against=SHUFFLED)
    yield test.differences(real, [(first, name) for name in real if name != first])


def size_rows(sizes: Mapping[str, Mapping[int, int]], test: Truths) -> Iterator[pd.DataFrame]:
    """By variant and seed how many parameters were trained, of the projector and of low-rank parts."""
    for name, of in sizes.items():
        yield test.rows({seed: {Key("parameters", "image"): float(size)} for seed, size in of.items()}, name, REAL)


def real_scores(said: Said, test: Truths) -> Outcomes:
    """Of its sentences and answers."""
    found = test.scores(said.captions) if said.captions else {}
    for kind, asked in said.asked.items():
        found |= answer_scores(kind, asked, said.answers[kind])
    return found


def shuffled_scores(said: Said, test: Truths) -> Outcomes:
    """Of the sentences and answers that another item's prefix gives."""
    found: Outcomes = {}
    if said.captions:
        found = test.scores([said.captions[i] for i in others(len(said.captions))])
    for kind, asked in said.asked.items():
        found |= answer_scores(kind, asked, said.shuffled[kind])
    return found
