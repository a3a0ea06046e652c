"""A classification task: features of the frozen layer with labels, to train on and to test on."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from jam.errors import InputError


@dataclass(frozen=True)
class Part:
    """Labelled rows.

    Attributes:
        features: (n, d) of the frozen layer.
        labels: (n,) strings.
        units: (n,) what each row is a draw of (a scan, a scene, a photo): rows of one unit are no independent draws.
    """

    features: np.ndarray
    labels: np.ndarray
    units: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, kept: np.ndarray) -> "Part":
        """Some of the rows, by a mask or by number."""
        return Part(self.features[kept], self.labels[kept], self.units[kept])


@dataclass(frozen=True)
class Task:
    """A label of a source.

    Attributes:
        source: where the images come from.
        label: what of them is to be told.
        train: rows that probes are fitted on, a part of which chooses.
        test: rows that everything is scored on.
        words: class → its word in a prompt; classes without words are never sought by prompts.
        ceiling: the best accuracy possible on the test rows, where it is known.
    """

    source: str
    label: str
    train: Part
    test: Part
    words: Mapping[str, str] = field(default_factory=dict)
    ceiling: float | None = None

    @property
    def name(self) -> str:
        """Source and label."""
        return f"{self.source}: {self.label}"

    @property
    def classes(self) -> list[str]:
        """Of the training rows, in order."""
        return sorted(set(self.train.labels.tolist()))

    @property
    def chance(self) -> float:
        """Accuracy of drawing one of the classes."""
        return 1 / len(self.classes)

    @property
    def majority(self) -> float:
        """Accuracy on test rows of always answering the class that is most frequent among training rows."""
        values, counts = np.unique(self.train.labels, return_counts=True)
        return float(np.mean(self.test.labels == values[counts.argmax()]))

    def check(self, shots: Collection[int], neighbours: int) -> None:
        """Whether there are rows enough.

        Raises:
            InputError: fewer than two classes, no test row, a class with fewer training rows than the most shots, or
                fewer training rows than neighbours.
        """
        values, counts = np.unique(self.train.labels, return_counts=True)
        if len(values) < 2 or not len(self.test):
            got = f"got the classes {values.tolist()} and {len(self.test)} test images"
            raise InputError(f"downstream, {self.name}: {got}, expected at least two classes, and images to test on")
        if counts.min() < max(shots):
            few = f"{int(counts.min())} training images of class {values[counts.argmin()].item()!r}"
            raise InputError(
                f"downstream, {self.name}: got {few}, expected at least {max(shots)}, the most of downstream.shots"
            )
        if len(self.train) < neighbours:
            raise InputError(
                f"downstream, {self.name}: got {len(self.train)} training images, expected at least {neighbours}, "
                "downstream.neighbours"
            )


def validation_rows(units: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which training rows (n,) choose, a mask: those of about such a share of the units, one at least and never all."""
    values = np.unique(units)
    count = min(max(1, round(share * len(values))), len(values) - 1)
    drawn = np.random.default_rng(seed).permutation(values)[:count]
    found: np.ndarray = np.isin(units, drawn)
    return found
