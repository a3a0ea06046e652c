"""What a representation linearly tells of the private factors of its own views: those that no item and no state has."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jam.metrics._rows import Array
from jam.metrics.readout import SPLITS, Floats, Readout, Splits, splits_of

Factors = Mapping[str, Mapping[str, Array]]
"""Split → name of a factor → its (rows, columns): an indicator for each kind, or a number."""

MEAN = "mean"  # of all factors, each with the same weight
FEW = 20  # permutations: the fewest that can tell 5 %


@dataclass(frozen=True)
class Told:
    """Share of variance of a private factor that is read from a representation, R² on test rows; never clipped.

    Attributes:
        rows: (m,) what each test row contributes, their mean is the share; for `paired_difference` and bootstraps.
        null: (permutations,) the share where the factors of other rows are read.
    """

    rows: Floats
    null: Floats

    @property
    def value(self) -> float:
        """The share."""
        return float(self.rows.mean())


def private_recall(x: Splits, private: Factors, permutations: int = FEW, seed: int = 0) -> dict[str, Told]:
    """R² of every private factor read linearly (`Readout`): fitted on train rows, penalties chosen on validation rows.

    What is known of the items plays no part: a representation of the state alone scores 0, as private factors are
    drawn independently of it. Beside a representation that was aligned belongs the frozen one, its ceiling.

    Args:
        x: (n, d), (v, d) and (m, d) features of train, val and test rows.
        private: of the views that the rows are features of; names are the same in all splits.
        permutations: of the rows of the factors, all splits alike; the eigendecomposition is made once for all.
        seed: of the permutations.

    Returns:
        Of each factor in which columns vary in train and in test rows, and ``mean``; nothing where none does.

    Raises:
        ValueError: splits or factors that are missing or do not fit together, or a factor that is named ``mean``.
        InputError: numbers that are not finite, or features that do not vary.
    """
    if missing := [split for split in SPLITS if split not in private]:
        raise ValueError(f"private: got {', '.join(private) or 'no splits'}, expected {', '.join(missing)} too")
    names = list(private["train"])
    if MEAN in names or any(set(private[split]) != set(names) for split in SPLITS):
        raise ValueError(f"private: got the factors {', '.join(names)}, expected the same in all splits, none '{MEAN}'")
    if not names:
        return {}
    widths = [np.shape(private["train"][name])[1] for name in names]
    joined = {split: np.concatenate([private[split][name] for name in names], axis=1) for split in SPLITS}
    columns = dict(zip(SPLITS, splits_of(joined, "private"), strict=True))
    readout, factor = Readout(x), np.repeat(np.arange(len(names)), widths)

    read = readout.read(columns, factor, name="private")
    varies = {name: (factor == i) & read.kept for i, name in enumerate(names)}
    rows = {name: read.rows(held) for name, held in varies.items() if held.any()}
    generator = np.random.default_rng(seed)
    orders = [{split: generator.permutation(len(of)) for split, of in columns.items()} for _ in range(permutations)]
    many = (
        {split: np.concatenate([of[order[split]] for order in orders], axis=1) for split, of in columns.items()}
        if orders
        else {}
    )
    # Each permutation chooses penalties of its own, as the factors themselves do
    groups = (np.arange(permutations)[:, None] * len(names) + factor).ravel()
    scores = readout.read(many, groups).r2().reshape(permutations, -1) if orders else np.empty((0, len(factor)))
    found = {name: Told(own, scores[:, varies[name]].mean(axis=1)) for name, own in rows.items()}
    if not found:
        return {}
    mean = Told(np.mean([one.rows for one in found.values()], axis=0), np.mean([one.null for one in found.values()], 0))
    return found | {MEAN: mean}
