"""Linear probes: how much of a label can be read off frozen features by logistic regression."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jam.errors import InputError
from jam.metrics._rows import Array, as_rows, require_finite

_ITERATIONS = 1000


@dataclass(frozen=True)
class Probe:
    """What a probe found.

    Attributes:
        accuracy: share of test rows whose label is right.
        c: inverse regularisation strength chosen on the validation rows.
        n: number of test rows.
        chance: accuracy on the test rows of always answering the most frequent label of the train rows.
        converged: whether the chosen fit met its tolerance within 1000 iterations.
        correct: (n,) booleans, the test rows whose label is right; for intervals over rows.
    """

    accuracy: float
    c: float
    n: int
    chance: float
    converged: bool
    correct: npt.NDArray[np.bool_]


def fit_probe(
    train_x: Array,
    train_y: npt.ArrayLike,
    val_x: Array,
    val_y: npt.ArrayLike,
    test_x: Array,
    test_y: npt.ArrayLike,
    cs: Sequence[float] = (0.001, 0.01, 0.1, 1.0, 10.0),
) -> Probe:
    """Fit a multinomial logistic regression on train rows, choose C on validation rows, score it on test rows.

    Features are standardised with the mean and deviation of the train rows. The smallest C among the best is chosen.
    There is no refit on train and validation rows together: the model that was chosen is the model that is scored,
    and test rows play no part in choosing it. A label that no train row has counts as an error.

    Args:
        train_x, val_x, test_x: (n, d), (v, d) and (m, d) features.
        train_y, val_y, test_y: (n,), (v,) and (m,) labels: strings, or whatever is told apart by its ``str()``.
        cs: candidates for C, above 0.

    Raises:
        ValueError: shapes do not fit together, or ``cs`` is empty or not positive.
        InputError: a feature is not finite, or the train rows have one label only.
    """
    # A third of a second to import, for probes alone
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if not cs or min(cs) <= 0:
        raise ValueError(f"cs: got {tuple(cs)}, expected at least one number above 0")
    x_train, y_train = _labelled(train_x, train_y, "train")
    x_val, y_val = _labelled(val_x, val_y, "val")
    x_test, y_test = _labelled(test_x, test_y, "test")
    if not x_train.shape[1] == x_val.shape[1] == x_test.shape[1]:
        widths = (x_train.shape[1], x_val.shape[1], x_test.shape[1])
        raise ValueError(f"train_x, val_x, test_x: got {widths} dimensions, expected the same for all")
    labels, counts = np.unique(y_train, return_counts=True)
    if len(labels) < 2:
        raise InputError(f"train_y: every row has the label {labels[0]!s}, expected at least two labels")

    scaler = StandardScaler().fit(x_train)
    x_train, x_val, x_test = (scaler.transform(x) for x in (x_train, x_val, x_test))
    best, best_accuracy, converged = None, -1.0, True
    for c in sorted(cs):
        model = LogisticRegression(C=c, max_iter=_ITERATIONS)
        with warnings.catch_warnings(record=True) as caught:  # reported as `converged`, not on the terminal
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(x_train, y_train)
        accuracy = float(np.mean(model.predict(x_val) == y_val))
        if accuracy > best_accuracy:
            best, best_accuracy, converged = model, accuracy, not caught
    assert best is not None
    correct = best.predict(x_test) == y_test
    return Probe(
        accuracy=float(correct.mean()),
        c=float(best.C),
        n=len(correct),
        chance=float(np.mean(y_test == labels[counts.argmax()])),
        converged=converged,
        correct=correct,
    )


def _labelled(x: Array, y: npt.ArrayLike, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.str_]]:
    rows, labels = as_rows(x, f"{name}_x"), np.asarray(y).astype(str)
    require_finite(rows, f"{name}_x")
    if labels.shape != (len(rows),):
        raise ValueError(f"{name}_y: got shape {labels.shape}, expected ({len(rows)},), one label a row of {name}_x")
    return rows.double().cpu().numpy(), labels
