"""The measurements of a comparison as calls, each of a function with its arguments, to be shared out to processes."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

from jam.compare.answers import MODALITIES, finals, linear_pairs
from jam.compare.cast import TRAINED, Rep
from jam.compare.similarity import kernel_similarities, linear_similarities, printed_similarities
from jam.metrics._rows import Groups

ALWAYS = "unbiased_cka"
KERNELS = ("mutual_knn", "rsa", ALWAYS)
CHUNK = 150  # pairs of which linear measures are taken together


class How(NamedTuple):
    """Numbers of `kernel_similarities` and `linear_similarities`."""

    k: int
    permutations: int
    folds: int
    resamples: int
    seed: int


def calls_of(
    reps: Sequence[Rep], layered: Sequence[str], groups: Groups, how: How, name: str = ""
) -> Iterator[tuple[Any, ...]]:
    """A name for the call, which starts with that given, a function that gives a table of similarities, its arguments.

    Kernel measures of all pairs of a modality, and of models across; of checkpoints, which make for most of the pairs,
    CKA alone. Linear measures of `linear_pairs`, their maps fitted on training items in either case.

    Args:
        reps: all of the same items.
        layered: models of which every layer is compared.
        groups: (m,) labels of test items that are no independent draws.
        how: numbers.
        name: of these representations.
    """
    tested = {rep.key: rep.rows["test"] for rep in reps}
    options = how.k, groups, how.permutations, how.folds, how.seed
    for modality, metric in product(MODALITIES, KERNELS):
        mine = [rep for rep in reps if rep.modality == modality and (rep.checkpoint == TRAINED or metric == ALWAYS)]
        some = {rep.key: tested[rep.key] for rep in mine}
        yield (name, modality, metric), kernel_similarities, some, None, [metric], *options
    ends = [{rep.key: tested[rep.key] for rep in finals(reps, modality)} for modality in MODALITIES]
    yield (name, "across"), kernel_similarities, *ends, KERNELS, *options
    for modality, some in zip(MODALITIES, ends, strict=True):
        yield (name, modality, "printed"), printed_similarities, some, how.folds, how.seed, groups
    pairs = linear_pairs(reps, layered)
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        splits = {rep.key: rep.rows for pair in part for rep in pair}
        names = [(x.key, y.key) for x, y in part]
        numbers = how.permutations, how.resamples, how.seed
        yield (name, start), linear_similarities, splits, names, groups, *numbers
