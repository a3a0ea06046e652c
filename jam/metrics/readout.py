"""Linear readouts: ridge regressions of many targets on one representation, from one eigendecomposition.

A readout centres the features with the means of its train rows and does nothing else to them. Penalties are in units
of the mean eigenvalue of XᵀX, so neither scale, rotation nor offset of a representation changes what is read from it:
the very freedom that kernel metrics leave. Standardising columns would make the result depend on the basis that a
network happens to use, and whitening is a claim about the representation that the caller makes, or doesn't; the grid
of penalties reaches low enough to read directions with a millionth of the mean variance either way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jam.errors import InputError
from jam.metrics._rows import Array, Groups, as_rows, numbered, require_finite

Floats = npt.NDArray[np.float64]
Splits = Mapping[str, Array]
""""train", "val" and "test" → (rows of that split, columns)."""

SPLITS = ("train", "val", "test")
PENALTIES = tuple(10.0**power for power in range(4, -7, -1))
_CONSTANT = 1e-12  # columns that vary by less than this, relatively, vary by rounding alone


def splits_of(values: Splits, name: str) -> tuple[Floats, Floats, Floats]:
    """The three splits in double precision, with as many columns each.

    Raises:
        ValueError: a split is missing, not two-dimensional or empty; columns differ.
        InputError: a row holds NaN or infinity.
    """
    if missing := [split for split in SPLITS if split not in values]:
        raise ValueError(f"{name}: got {', '.join(values) or 'no splits'}, expected {', '.join(missing)} too")
    found = []
    for split in SPLITS:
        rows = as_rows(values[split], f"{name}[{split!r}]")
        require_finite(rows, f"{name}[{split!r}]")
        found.append(rows.double().cpu().numpy())
    train, val, test = found
    if not train.shape[1] == val.shape[1] == test.shape[1]:
        raise ValueError(f"{name}: got {[part.shape[1] for part in found]} columns, expected as many in all splits")
    return train, val, test


@dataclass(frozen=True)
class Readings:
    """What a readout makes of the targets on test rows.

    R² of a column is 1 − Σ errors / Σ totals. It is 1 for perfect predictions, 0 for those of the train mean and
    negative for worse ones, which is never clipped: the mean over columns of noise is then 0 and not above it.

    Attributes:
        errors: (m, t) squared errors of the predictions.
        totals: (m, t) squared distances from the mean of the train rows.
        kept: (t,) booleans, columns that vary both in train and in test rows; others have no R².
        penalties: (t,) the penalty that was chosen for each column.
    """

    errors: Floats
    totals: Floats
    kept: npt.NDArray[np.bool_]
    penalties: Floats

    def r2(self) -> Floats:
        """R² of each column, (t,), NaN where it isn't defined."""
        totals = np.where(self.kept, self.totals.sum(axis=0), np.nan)
        found: Floats = 1 - self.errors.sum(axis=0) / totals
        return found

    def rows(self, columns: npt.NDArray[np.bool_] | None = None) -> Floats:
        """What each test row contributes to the mean R² of the columns (t,), all if None; (m,), their mean is that R².

        R² is a ratio of sums; row i contributes R² − (e_i − (1 − R²)·t_i) / mean(t), the ratio's expansion to first
        order in the weights of rows. Resampled means of contributions are then R² under resampled rows, but for terms
        of second order, and stay sound where a resample holds no row of a rare value (the ratio itself explodes there).

        Raises:
            InputError: no column is left.
        """
        held = self.kept if columns is None else self.kept & columns
        if not held.any():
            raise InputError("targets: no column varies both in train and in test rows, so that R² is not defined")
        return _contributions(self.errors[:, held], self.totals[:, held])

    def pooled_rows(self) -> Floats:
        """As `rows`, for 1 − Σ errors / Σ totals over all columns together: R² weighted by variance."""
        return _contributions(self.errors.sum(axis=1, keepdims=True), self.totals.sum(axis=1, keepdims=True))


class Readout:
    """Ridge regressions on one representation: its eigendecomposition is made once and serves all targets.

    The smaller of XᵀX (d × d) and XXᵀ (n × n) of the centred train rows is decomposed, in double precision.

    Args:
        x: (n, d), (v, d) and (m, d) features of train, val and test rows.
        penalties: candidates, relative to the mean of the min(n, d) largest eigenvalues of XᵀX, above 0.

    Raises:
        ValueError: splits that are missing or don't fit together; no penalties, or one that is not above 0.
        InputError: a feature is not finite, or all train rows are the same.
    """

    def __init__(self, x: Splits, penalties: Sequence[float] = PENALTIES, name: str = "x") -> None:
        if not len(penalties) or not min(penalties) > 0:
            raise ValueError(f"penalties: got {tuple(penalties)}, expected at least one number above 0")
        train, val, test = splits_of(x, name)
        mean = train.mean(axis=0)
        centred = train - mean
        if np.linalg.norm(centred) <= _CONSTANT * np.linalg.norm(train):
            raise InputError(f"{name}: all train rows are the same, expected features that vary")
        self.sizes = tuple(len(part) for part in (train, val, test))
        if centred.shape[1] <= len(centred):
            values, basis = np.linalg.eigh(centred.T @ centred)
            self._left = centred @ basis
            self._val, self._test = ((part - mean) @ basis for part in (val, test))
        else:
            values, self._left = np.linalg.eigh(centred @ centred.T)
            self._val, self._test = (((part - mean) @ centred.T) @ self._left for part in (val, test))
        self._values = np.maximum(values, 0)[:, None]
        self.penalties = np.sort(np.asarray(penalties, dtype=np.float64))[::-1]

    def read(self, y: Splits, groups: Groups = None, pooled: bool = False, name: str = "y") -> Readings:
        """Fit the targets on train rows, choose penalties on validation rows, predict test rows.

        Of each group of columns the penalty with the least squared error is chosen, the largest of equals. There is no
        refit on train and validation rows together, and test rows play no part in the choice.

        Args:
            y: (n, t), (v, t) and (m, t) targets.
            groups: (t,) labels of columns that share a penalty; one for all if None.
            pooled: add up errors as they are; else each column in units of its deviation in the train rows.

        Raises:
            ValueError: splits that are missing or don't fit those of x; not one label for each column.
            InputError: a target is not finite.
        """
        train, val, test = splits_of(y, name)
        if tuple(len(part) for part in (train, val, test)) != self.sizes:
            got = [len(part) for part in (train, val, test)]
            raise ValueError(f"{name}: got {got} rows, expected {list(self.sizes)} as in the features")
        mean = train.mean(axis=0)
        centred = train - mean
        spread = np.sqrt(np.einsum("ij,ij->j", centred, centred) / len(train))
        varies = spread > _CONSTANT * np.abs(train).max(axis=0)
        units = 1.0 if pooled else np.where(varies, spread, np.inf) ** 2
        codes = np.zeros(len(mean), np.int64) if groups is None else numbered(groups, len(mean))

        coefficients = self._left.T @ centred
        scaled = self._values.mean() * self.penalties
        val, losses = val - mean, np.empty((len(scaled), codes.max() + 1))
        for i, penalty in enumerate(scaled):
            left = val - self._val @ (coefficients / (self._values + penalty))
            losses[i] = np.bincount(codes, np.einsum("ij,ij->j", left, left) / units)
        best = losses.argmin(axis=0)[codes]
        test = test - mean
        left = test - self._test @ (coefficients / (self._values + scaled[best]))
        kept = varies & (np.ptp(test, axis=0) > 0)
        return Readings(np.square(left, out=left), np.square(test, out=test), kept, self.penalties[best])


def linear_r2(x: Splits, y: Splits, groups: Groups = None, penalties: Sequence[float] = PENALTIES) -> Readings:
    """How well targets are read off a representation by ridge regression, see `Readout` and `Readout.read`.

    Args:
        x: (n, d), (v, d) and (m, d) features of train, val and test rows.
        y: (n, t), (v, t) and (m, t) targets of the same rows.
        groups: (t,) labels of target columns that share a penalty; one for all if None.
        penalties: candidates, in units of the mean eigenvalue of XᵀX.

    Raises:
        ValueError: as `Readout` and `Readout.read`.
        InputError: as `Readout` and `Readout.read`.
    """
    return Readout(x, penalties).read(y, groups)


def _contributions(errors: Floats, totals: Floats) -> Floats:
    all_errors, all_totals = errors.mean(axis=0), totals.mean(axis=0)
    share = all_errors / all_totals
    weights = 1 / all_totals / len(share)
    found: Floats = (1 - share).mean() - errors @ weights + totals @ (weights * share)
    return found
