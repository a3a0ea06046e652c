"""A form of "CKA" that is in circulation, kept under a name of its own so that its numbers can be told from CKA's."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from jam.errors import InputError
from jam.metrics._rows import Array, Groups, as_rows, require_finite
from jam.metrics.kernels.nulls import deal, jackknife_interval

Floats = npt.NDArray[np.float64]


def printed_cka(x: Array, y: Array) -> float:
    """‖XYᵀ‖²_F / (‖XXᵀ‖_F·‖YYᵀ‖_F) of centred features: **not CKA**, and no similarity of representations.

    Linear CKA is ‖XᵀY‖²_F / (‖XᵀX‖_F·‖YᵀY‖_F): its numerator sums over items, so that item i of x meets item i of y.
    With the transpose at the other matrix the numerator is tr(XᵀX·YᵀY), the inner product of the two *covariances of
    features*. So it needs d1 = d2, though features of two models have no correspondence; it does not see which row is
    which, and is 1 for shuffled rows; it is near 1 for any two white representations, independent noise too; and a
    rotation, under which CKA stays 1, moves it.

    Args:
        x: (n, d) features.
        y: (n, d) features of as many dimensions.

    Raises:
        ValueError: shapes differ.
        InputError: features that are not finite, or constant.
    """
    a, b = _doubles(x, "x"), _doubles(y, "y")
    if a.shape != b.shape:
        raise ValueError(f"x, y: got shapes {a.shape} and {b.shape}, expected as many rows and dimensions in both")
    return _alike(_covariance(a), _covariance(b))


def printed_similarities(
    reps: Mapping[str, Array], folds: int = 10, seed: int = 0, groups: Groups = None
) -> pd.DataFrame:
    """`printed_cka` of every two representations of equal width, with jackknife intervals.

    Its ``null``, the same with shuffled rows, is its value, always: no permutation can show that it is above chance.

    Args:
        reps: name → (n, d) features of the same rows.
        folds: of the delete-a-group jackknife.
        seed: of the folds.
        groups: (n,) labels of rows that are deleted together.

    Returns:
        The columns of `jam.compare.similarity.kernel_similarities`.
    """
    rows = {name: _doubles(of, name) for name, of in reps.items()}
    if not rows:
        return pd.DataFrame()
    n = len(next(iter(rows.values())))
    fold = deal(n, folds, seed, groups)
    whole = {name: _covariance(of) for name, of in rows.items()}
    parts = {name: [_covariance(of[fold != f]) for f in range(folds)] for name, of in rows.items()}
    table, names = [], list(rows)
    for i, x in enumerate(names):
        for y in names[i + 1 :]:
            if whole[x].shape != whole[y].shape:
                continue
            value = _alike(whole[x], whole[y])
            without = np.array([_alike(*pair) for pair in zip(parts[x], parts[y], strict=True)])
            interval = jackknife_interval(value, without)
            table.append(
                {
                    "x": x, "y": y, "metric": "printed_cka", "value": value, "low": interval.low,
                    "high": interval.high, "interval": "jackknife over items", "null": value, "null_mean": value,
                    "p": 1.0, "n": n, "k": 0,
                }
            )  # fmt: skip
    return pd.DataFrame(table)


def _doubles(rows: Array, name: str) -> Floats:
    found = as_rows(rows, name)
    require_finite(found, name)
    doubles: Floats = found.double().cpu().numpy()
    if np.ptp(doubles, axis=0).max() == 0:
        raise InputError(f"{name}: all rows are the same, expected features that vary")
    return doubles


def _covariance(rows: Floats) -> Floats:
    centred = rows - rows.mean(axis=0)
    found: Floats = centred.T @ centred
    return found


def _alike(a: Floats, b: Floats) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
