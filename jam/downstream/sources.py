"""The tasks of each source: images are encoded as they are found, items of the world have their features already."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jam.downstream.digits import single_digits
from jam.downstream.tasks import Part, Task
from jam.world.habitats import Habitats
from jam.world.lexicon import COUNT_WORDS, WORDS
from jam.world.state import COLOURS, DIGITS, MOST, SIZES, States, counts_of

Encode = Callable[[Sequence[Any]], np.ndarray]
"""Images → features of the frozen layer, a row an image."""
SINGLES = {"digit": DIGITS, "colour": COLOURS, "size": SIZES}


def tasks_of_singles(
    encode: Encode, sizes: Mapping[str, int], seed: int, nuisance: float, labels: Mapping[str, Sequence[str]]
) -> Iterator[Task]:
    """What is to be told of images of one digit each, see `jam.downstream.digits`.

    Digits are resampled by scan, colours and sizes, which a scan has not, by scene.

    Args:
        encode: images → features.
        sizes: how many images of ``train`` and of ``test``.
        seed: of the world.
        nuisance: of the world.
        labels: source → labels that are asked for: digit, colour, size.
    """
    drawn = {split: single_digits(split, n, seed, nuisance) for split, n in sizes.items()}
    features = {split: encode(one.images) for split, one in drawn.items()}
    for source, asked in labels.items():
        for label in asked:
            train, test = (
                Part(features[split], one.labels[label], one.scans if label == "digit" else one.scenes)
                for split, one in drawn.items()
            )
            words = {name: said[0] for name, said in zip(SINGLES[label], WORDS[label], strict=True)}
            yield Task(source, label, train, test, words, ceiling=None if label == "digit" else 1.0)


def tasks_of_items(
    features: Mapping[str, np.ndarray],
    states: Mapping[str, States],
    habitat: Mapping[str, np.ndarray],
    units: Mapping[str, np.ndarray],
    habitats: Habitats,
) -> Iterator[Task]:
    """What is to be told of the world's own scenes: how many things there are, and of which habitat they are.

    No image shows a habitat: the best that can be told of it is the one that is likeliest given the state, exactly.

    Args:
        features: by ``train`` and ``test`` (n, d), of the first view of each item.
        states: (n, 6) of the items.
        habitat: (n,) strings.
        units: (n,) of the items, equal for equal states.
        habitats: the world's statistics.
    """
    told = {split: counts_of(some).astype(str) for split, some in states.items()}
    words = {str(1 + i): said[0] for i, said in enumerate(COUNT_WORDS[:MOST])}
    train, test = (Part(features[split], told[split], units[split]) for split in ("train", "test"))
    yield Task("cave", "count", train, test, words, ceiling=1.0)
    if len(habitats.weight) > 1:
        likely = (habitats.log_likelihood(states["test"]) + np.log(habitats.weight)).argmax(axis=1)
        best = float(np.mean(likely.astype(str) == habitat["test"]))
        train, test = (replace(train, labels=habitat["train"]), replace(test, labels=habitat["test"]))
        yield Task("cave", "habitat", train, test, ceiling=best)


def task_of_images(source: str, encode: Encode, parts: Mapping[str, Sequence[Any]]) -> Task:
    """The task of labelled images, ``parts`` of a `jam.sources.labelled.Parts`; a class is its own word in prompts."""
    train, test = (
        Part(
            encode([one.image for one in parts[name]]),
            np.array([one.label for one in parts[name]]),
            np.array([one.photo for one in parts[name]]),
        )
        for name in ("train", "test")
    )
    return Task(source, "label", train, test, words={name: name for name in sorted(set(train.labels.tolist()))})
