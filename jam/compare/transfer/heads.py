"""Classifier heads: linear, on the vectors of one model, of every label of an attribute."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jam.metrics.kernels.nulls import permutation_null

CS = (0.01, 0.1, 1.0, 10.0)
"""Inverse regularisation strengths to choose among."""
FEW = 4  # classes that Newton's method is taken for

Labels = Mapping[str, np.ndarray]
"""By attribute (n, labels) numbers of classes: one column of a class, or one a value that is there or not."""


@dataclass(frozen=True)
class Head:
    """A logistic regression a column of an attribute.

    Attributes:
        models: of scikit-learn, one a column.
    """

    models: Sequence[Any]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, d) vectors → (n, labels) predicted classes."""
        return np.stack([model.predict(x) for model in self.models], axis=1)


def fit_head(x: np.ndarray, y: np.ndarray, c: float) -> Head:
    """A head of an attribute; classes weigh alike, however rare.

    Args:
        x: (n, d) vectors.
        y: (n, labels) classes.
        c: inverse regularisation strength.

    Raises:
        ValueError: a column with a single class.
    """
    from sklearn.exceptions import ConvergenceWarning  # a third of a second to import
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = []
    for column in y.T:
        classes = len(np.unique(column))
        if classes < 2:
            raise ValueError(f"labels: got {len(column)} rows of one class, expected at least two")
        # Newton's steps cost the square of classes · d each, and are a handful where those of lbfgs are hundreds
        solver = "newton-cholesky" if classes <= FEW else "lbfgs"
        model = LogisticRegression(C=c, class_weight="balanced", max_iter=300, solver=solver)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a head that stops early is a head
            found.append(make_pipeline(StandardScaler(), model).fit(x, column))
    return Head(found)


def choose_head(
    x: np.ndarray, y: np.ndarray, val_x: np.ndarray, val_y: np.ndarray, cs: Sequence[float] = CS
) -> tuple[Head, float]:
    """The head that does best on validation rows, and its C; the smallest of equals."""
    tried = [(fit_head(x, y, c), c) for c in sorted(cs)]
    scores = [balanced(head(val_x), val_y).mean() for head, _ in tried]
    return tried[int(np.argmax(scores))]


def balanced(told: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each item (n,) what it adds to balanced accuracy, the mean over an attribute's labels.

    The mean over items is the mean over labels of the mean over classes of the share that is right: 1 / classes for
    whatever does not depend on the item, always the commonest class included.

    Args:
        told: (n, labels) predictions.
        y: (n, labels) classes.
    """
    if told.shape != y.shape or (told.dtype.kind in "fiub") != (y.dtype.kind in "fiub"):
        got = f"{told.dtype} {told.shape} and {y.dtype} {y.shape}"
        raise ValueError(f"told, y: got {got}, expected (n, labels) of one type")
    found = np.zeros(len(y))
    for guess, column in zip(told.T, y.T, strict=True):
        _, own, counts = np.unique(column, return_inverse=True, return_counts=True)
        found += (guess == column) * len(y) / (len(counts) * counts[own])
    return found / y.shape[1]


def chance(y: np.ndarray) -> float:
    """Balanced accuracy of what does not depend on the item."""
    return float(np.mean([1 / len(np.unique(column)) for column in y.T]))


def chance_level(y: np.ndarray, units: np.ndarray, seed: int, permutations: int = 1000) -> float:
    """95 % quantile of the balanced accuracy of right classes told of wrong items.

    Args:
        y: (n, labels) classes; the labels of an item stay together.
        units: (n,) labels of items that are no independent draws, as of `draw_orders`.
        seed: of the permutations.
        permutations: how many.
    """
    null = permutation_null(lambda order: float(balanced(y[order], y).mean()), len(y), permutations, seed, units)
    return float(np.quantile(null, 0.95))
