"""What one representation linearly tells of another, and how near they are once one is rotated onto the other.

Both maps are fitted on train items and scored on test items, which no kernel metric has seen either and on which
those are scored as well: a map between spaces of some hundred dimensions, fitted on the thousand test items by folds,
would be fitted on fewer rows and leave every row with a map of its own; the train items are there, and the validation
items choose the penalty. The cross-product XᵀY of a pair serves the regressions in both directions and the rotation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from jam.errors import InputError
from jam.metrics._rows import Groups, numbered
from jam.metrics.clustered import cluster_draws
from jam.metrics.kernels.nulls import RowOrders, calibrate, draw_orders, p_value
from jam.metrics.readout import PENALTIES, Floats, Readings, Splits, splits_of

_CONSTANT = 1e-12
_LEAST = 19  # draws of a null that have a threshold of level .05


@dataclass(frozen=True)
class Prepared:
    """A representation and all that regressions on it share, in double precision, centred by its train rows.

    Attributes:
        train: (n, d).
        val: (v, d).
        test: (m, d).
        values: (d,) eigenvalues of the scatter of the train rows.
        basis: (d, d) its eigenvectors.
        lengths: (m,) norms of the test rows.
    """

    train: Floats
    val: Floats
    test: Floats
    values: Floats
    basis: Floats
    val_in: Floats
    test_in: Floats
    val_gram: Floats
    lengths: Floats

    @classmethod
    def of(cls, splits: Splits, name: str = "x") -> "Prepared":
        """Decompose a representation.

        Raises:
            ValueError: a split is missing, or they differ in width.
            InputError: features that are not finite; train rows that are all the same; a test row at their mean, which
                has no direction.
        """
        train, val, test = splits_of(splits, name)
        mean = train.mean(axis=0)
        centred = train - mean
        if np.linalg.norm(centred) <= _CONSTANT * np.linalg.norm(train):
            raise InputError(f"{name}: all train rows are the same, expected features that vary")
        values, basis = np.linalg.eigh(centred.T @ centred)
        val, test = val - mean, test - mean
        lengths = np.linalg.norm(test, axis=1)
        if not lengths.min() > 0:
            raise InputError(
                f"{name}: test row {int(lengths.argmin())} is the mean of the train rows, without direction"
            )
        val_in = val @ basis
        found = np.maximum(values, 0), basis, val_in, test @ basis, val_in.T @ val_in, lengths
        return cls(centred, val, test, *found)

    @property
    def unit(self) -> float:
        """Of penalties: the mean of the min(n, d) largest eigenvalues."""
        return float(self.values.sum() / min(self.train.shape))


def predictability(
    x: Prepared, y: Prepared, penalties: Sequence[float] = PENALTIES, cross: Floats | None = None
) -> Readings:
    """Ridge regression of y on x: fitted on train rows, the penalty chosen on validation rows, scored on test rows.

    R² is 1 − Σ errors / Σ totals over all dimensions together, so that it does not hang on the basis of y. It is that
    of `jam.metrics.readout.Readout` with ``pooled``; here the errors of all penalties follow from d × d matrices:
    ‖V_y − V_x D C‖² = ‖V_y‖² − 2·tr(D C V_yᵀV_x) + tr(D C Cᵀ D V_xᵀV_x), D = (Λ + λ)⁻¹ in the eigenbasis of x.

    Args:
        x: (n, d1), …
        y: (n, d2), … of the same rows.
        penalties: candidates, in units of the mean eigenvalue of XᵀX.
        cross: (d1, d2) the cross-product of the train rows, where it is known.

    Returns:
        One column: of each test row the squared error, and its squared distance from the train mean.
    """
    product = x.train.T @ y.train if cross is None else cross
    candidates = np.sort(np.asarray(penalties, dtype=np.float64))[::-1]
    coefficients = x.basis.T @ product
    shrunk = 1 / (x.values + x.unit * candidates[:, None])  # (penalties, d1)
    inner = np.einsum("ij,ij->i", coefficients, x.val_in.T @ y.val)
    outer = (coefficients @ coefficients.T) * x.val_gram
    losses = np.einsum("pi,pi->p", shrunk @ outer, shrunk) - 2 * shrunk @ inner
    best = int(losses.argmin())
    left = y.test - x.test_in @ (shrunk[best][:, None] * coefficients)
    errors = np.einsum("ij,ij->i", left, left)[:, None]
    totals = np.square(y.lengths)[:, None]
    return Readings(errors, totals, np.ones(1, np.bool_), candidates[[best]])


def rotated_cosines(
    x: Prepared, y: Prepared, orders: RowOrders | None = None, cross: Floats | None = None
) -> tuple[Floats, Floats]:
    """Cosines of test rows of x with those of y after the rotation that fits the *train* rows best (Procrustes).

    The raw cosine of two models' vectors has no meaning: coordinates of one are not coordinates of the other. Both are
    centred by their train rows, and the narrower is padded with zeros; with XᵀY = USVᵀ the rotation is UVᵀ
    (Schönemann 1966), and the cosine of a row is ⟨Uᵀx, Vᵀy⟩/(|x||y|). It is symmetric in x and y, and what the
    narrower has no dimensions for counts as missed.

    Args:
        x: (n, d1), …
        y: (n, d2), … of the same rows.
        orders: of the test rows of y, for a null.
        cross: (d1, d2) the cross-product of the train rows, where it is known.

    Returns:
        (m,) cosines; (permutations,) their means under each of the orders, the rotation as it was fitted.
    """
    left, _, right = np.linalg.svd(x.train.T @ y.train if cross is None else cross, full_matrices=False)
    a, b = x.test @ left / x.lengths[:, None], y.test @ right.T / y.lengths[:, None]
    null = [np.empty(0)]
    for layout, shifts in zip(orders.layouts, orders.shifts, strict=True) if orders else ():
        # Σ_p a_p·b_{p+s} for all shifts s at once is a circular correlation.
        spectrum = (np.fft.rfft(a[layout], axis=0).conj() * np.fft.rfft(b[layout], axis=0)).sum(axis=1)
        null.append(np.fft.irfft(spectrum, n=len(a))[shifts] / len(a))
    return np.einsum("ij,ij->i", a, b), np.concatenate(null)


def linear_similarities(
    reps: Mapping[str, Splits],
    pairs: Sequence[tuple[str, str]],
    groups: Groups = None,
    permutations: int = 100,
    resamples: int = 1000,
    seed: int = 0,
    penalties: Sequence[float] = PENALTIES,
) -> pd.DataFrame:
    """Predictability in both directions and cosines after a rotation, of the pairs named.

    Intervals resample test items, the maps as they were fitted. The null of the cosines permutes test items of y. That
    of R² shuffles the pairing of train and validation items and fits anew, for as many of the pairs as give
    ``permutations`` draws; these are the null of all pairs: all are near 0, and one of each would be a hundred fits.

    Args:
        reps: name → "train", "val", "test" → (n, d), the same rows in all.
        pairs: of names.
        groups: (m,) labels of test items that are resampled and permuted together.
        permutations: of the null of cosines of each pair, and of that of R² of all.
        resamples: of the bootstrap.
        seed: of all draws.
        penalties: as `predictability`.

    Returns:
        The columns of `kernel_similarities`, and ``direction``: x_to_y, y_to_x; none of cosines.

    Raises:
        ValueError: rows that do not match, or numbers out of range.
        InputError: as `Prepared.of`.
    """
    if not pairs:
        return pd.DataFrame()
    ready = {name: Prepared.of(reps[name], name) for name in dict.fromkeys(name for pair in pairs for name in pair)}
    sizes = {tuple(len(part) for part in (of.train, of.val, of.test)) for of in ready.values()}
    if len(sizes) != 1:
        raise ValueError(f"reps: got {sorted(sizes)} train, validation and test rows, expected the same rows in all")
    [(n, v, m)] = sizes
    draws = cluster_draws(list(numbered(groups, m)), resamples, seed)
    orders = draw_orders(m, permutations, seed, groups)
    rng, shuffles = np.random.default_rng(seed), -(-max(permutations, _LEAST) // 2)  # each is two draws
    told: list[dict[str, object]] = []
    rows: list[Floats] = []
    chances: list[Floats] = []
    by_chance: list[float] = []
    for i, (name, other) in enumerate(pairs):
        x, y = ready[name], ready[other]
        cross = x.train.T @ y.train
        for direction, (one, two, product) in {"x_to_y": (x, y, cross), "y_to_x": (y, x, cross.T)}.items():
            told.append({"x": name, "y": other, "metric": "predictability", "direction": direction})
            rows.append(predictability(one, two, penalties, product).pooled_rows())
            chances.append(np.empty(0))
        for _ in range((i + 1) * shuffles // len(pairs) - i * shuffles // len(pairs)):
            order, looks = rng.permutation(n), rng.permutation(v)
            other_way = x.train.T @ y.train[order]
            for one, two, product, place in ((x, y, other_way, looks), (y, x, other_way.T, np.argsort(looks))):
                by_chance.append(_shuffled_r2(one, two, product, place, penalties))
        cosines, null = rotated_cosines(x, y, orders, cross)
        told.append({"x": name, "y": other, "metric": "procrustes_cosine", "direction": None})
        rows.append(cosines)
        chances.append(null)
    values = np.stack(rows)
    resampled = (values @ draws.T) / draws.sum(axis=1)
    ends = np.quantile(resampled, [0.025, 0.975], axis=1)
    pooled = np.array(by_chance)
    table = []
    for i, what in enumerate(told):
        chance, value = chances[i] if len(chances[i]) else pooled, float(values[i].mean())
        table.append(
            {
                **what, "value": value, "low": float(ends[0, i]), "high": float(ends[1, i]),
                "interval": "bootstrap over items", "null": calibrate(value, chance)[1],
                "null_mean": float(chance.mean()), "p": p_value(value, chance), "n": m, "k": 0,
            }
        )  # fmt: skip
    return pd.DataFrame(table)


def _shuffled_r2(
    x: Prepared, y: Prepared, cross: Floats, looks: npt.NDArray[np.int64], penalties: Sequence[float]
) -> float:
    """R² of test rows where train and validation rows were paired at random."""
    told = Prepared(y.train, y.val[looks], y.test, y.values, y.basis, y.val_in, y.test_in, y.val_gram, y.lengths)
    found = predictability(x, told, penalties, cross)
    return 1 - float(found.errors.sum() / found.totals.sum())
