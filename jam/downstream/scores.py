"""How well classes are told: which test rows are right by a probe, by neighbours, by a few examples, by prompts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from jam.downstream.tasks import Part, validation_rows
from jam.metrics.probes import fit_probe

Floats = npt.NDArray[np.float64]
ROWS = 1000  # compared at a time


def unit(rows: npt.ArrayLike) -> Floats:
    """Rows (n, d) at length 1; a row of zeros stays as it is."""
    values = np.asarray(rows, dtype=np.float64)
    found: Floats = values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-12)
    return found


def probe_correct(train: Part, test: Part, cs: Sequence[float], share: float, seed: int) -> Floats:
    """Linear probe: which test rows (m,) logistic regression gets right, its C chosen on a part of the training rows.

    Args:
        train: rows to fit on, but for a ``share`` of their units that chooses.
        test: rows to score on.
        cs: candidates for C, see `jam.metrics.probes.fit_probe`.
        share: of the units of the training rows.
        seed: of the part that chooses.
    """
    val = validation_rows(train.units, share, seed)
    fitted, chosen = train.rows(~val), train.rows(val)
    parts = (fitted.features, fitted.labels, chosen.features, chosen.labels, test.features, test.labels)
    return fit_probe(*parts, cs=cs).correct.astype(np.float64)


def knn_correct(train: Part, test: Part, k: int) -> Floats:
    """Which test rows (m,) the majority of their k nearest training rows by cosine gets right.

    Of classes with equally many votes the one with the nearer neighbours (the larger sum of cosines) wins.
    """
    known, labels = np.unique(train.labels, return_inverse=True)
    seen, asked, answers = unit(train.features), unit(test.features), []
    for start in range(0, len(test), ROWS):
        cosines = asked[start : start + ROWS] @ seen.T
        near = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        votes = np.zeros((len(near), len(known)))
        # A vote counts 1, and less than 1 of all votes together lies in the cosines: they only break ties.
        weight = 1 + np.take_along_axis(cosines, near, axis=1) / (2 * k)
        np.add.at(votes, (np.arange(len(near))[:, None], labels[near]), weight)
        answers.append(known[votes.argmax(axis=1)])
    return (np.concatenate(answers) == test.labels).astype(np.float64)


def few_shot_correct(train: Part, test: Part, shots: int, draws: int, seed: int) -> Floats:
    """In what share of draws of so many examples a class each test row (m,) is nearest to the mean of its own.

    By cosine with the mean of the examples at length 1. Draws follow from the labels, the numbers and the seed alone:
    two representations of the same rows are given the same examples.
    """
    known = np.unique(train.labels)
    members = [np.flatnonzero(train.labels == name) for name in known]
    seen, asked = unit(train.features), unit(test.features)
    answer = np.searchsorted(known, test.labels)  # a class that no training row has is never right
    there = np.isin(test.labels, known)
    rng, right = np.random.default_rng([seed, shots]), np.zeros(len(test))
    for _ in range(draws):
        means = np.stack([seen[rng.choice(rows, shots, replace=False)].mean(axis=0) for rows in members])
        right += ((asked @ unit(means).T).argmax(axis=1) == answer) & there
    found: Floats = right / draws
    return found


def class_vectors(
    encode: Callable[[list[str]], npt.ArrayLike], words: Mapping[str, str], prompts: Sequence[str]
) -> Floats:
    """Of each class the mean of its prompts, w_c = norm(mean_p norm(t(p_c))), (c, d).

    Args:
        encode: texts → vectors of the space, a row a text.
        words: class → its word.
        prompts: sentences with ``{}`` in the place of the word.
    """
    texts = [prompt.replace("{}", word) for word in words.values() for prompt in prompts]
    vectors = unit(encode(texts))
    return unit(vectors.reshape(len(words), len(prompts), -1).mean(axis=1))


def zero_shot_correct(images: npt.ArrayLike, labels: np.ndarray, vectors: Floats, classes: Sequence[str]) -> Floats:
    """Which images (m, d) are nearest by cosine to the vector of their own class.

    Args:
        images: vectors of the space.
        labels: (m,) strings.
        vectors: (c, d) of `class_vectors`.
        classes: (c,) which class each is of.
    """
    answers = np.array(classes)[(unit(images) @ vectors.T).argmax(axis=1)]
    return (answers == labels).astype(np.float64)
