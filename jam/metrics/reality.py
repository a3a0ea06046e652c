"""Recall and precision of reality: what a representation linearly tells of a known state, and what else it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jam.errors import InputError
from jam.metrics._rows import Array, as_rows
from jam.metrics.intervals import bootstrap_mean
from jam.metrics.readout import PENALTIES, SPLITS, Floats, Readout, Splits, splits_of

Factors = Mapping[str, Mapping[str, Array]]
"""Split → name of a factor → its (rows, columns)."""

_NOTHING = 1e-9  # residuals below this share of a column's length are rounding alone
_FLAT = 1e-10  # directions below this share of the largest variance are rounding alone


@dataclass(frozen=True)
class Share:
    """A share of variance on test rows, R², with a bootstrap interval over them; negative where the mean does better.

    Attributes:
        value: the share.
        low, high: ends of its interval of 95 %.
        rows: (m,) what each test row contributes, their mean is ``value``; for `paired_difference`.
        columns: target columns that it is the mean of, or is pooled over.
        left_out: columns that do not vary in train or in test rows.
        penalty: the largest that was chosen, in units of the mean eigenvalue.
    """

    value: float
    low: float
    high: float
    rows: Floats
    columns: int
    left_out: int
    penalty: float


def recall_of_reality(
    x: Splits,
    factors: Factors,
    mean_of: Sequence[str],
    added: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    penalties: Sequence[float] = PENALTIES,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Share]:
    """Mean R² of the columns of every factor of the state, read linearly from a representation (`Readout`).

    Fitted on train rows, each factor with a penalty of its own chosen on validation rows, R² on test rows about the
    train mean. Nothing is clipped. A wider net tells more even untrained: report `paired_difference` of a net's
    ``rows`` and those of the same net at init.

    What is *told* is what can be read off *linearly*. Binding in particular: a vector of per-cell digits and colours
    says what belongs to what, yet their products are no linear function of it, and its binding is 0; so is the recall
    of a one-hot count below 1 even for the oracle, whose row is the ceiling.

    Args:
        x: (n, d), (v, d) and (m, d) features of train, val and test rows.
        factors: by split, name → columns of the same rows.
        mean_of: factors whose mean R², each with the same weight, is called ``mean``; those of single cells, say.
        added: name → (factor, others): what the representation *adds* to the others in telling the factor, the R² of
            what is left of the factor `beyond` the others read from what is left of the representation beyond them
            (by the theorem of Frisch, Waugh and Lovell, from both together). Beyond presence, say, a net that sees
            where things are and not which digits has 0 of the digits, where their recall is .06. For binding,
            ``("products", ("digits", "colours", "count"))`` is 0 for an exact bag of words, 1 for products. Words that
            are mixed nonlinearly score above 0: of k things the bag alone foretells n_d · n_c / k of digit d and
            colour c, nearly half of the variance. With `expected_products` among the others such a bag is at 0 too
            (in a world of independent values; elsewhere give what *it* expects of a bag).
        penalties: as in `Readout`.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Of each factor, each name of ``added``, and ``mean``.

    Raises:
        ValueError: splits or factors that are missing or don't fit together; a name that is taken.
        InputError: numbers that aren't finite, features that don't vary, a factor of which no column varies.
    """
    targets = _by_factor(factors)
    if unknown := [name for name in mean_of if name not in targets]:
        raise ValueError(f"mean_of: got {unknown}, expected some of {', '.join(targets)}")
    if not mean_of:
        raise ValueError("mean_of: got no factors, expected at least one")
    names = [*targets, *(added or ()), "mean"]
    if len(set(names)) < len(names):
        raise ValueError(f"factors, added: got the names {', '.join(names)}, expected no name twice")
    shares = _read(Readout(x, penalties), targets, resamples, seed)
    for name, (factor, others) in (added or {}).items():
        if unknown := [one for one in (factor, *others) if one not in targets]:
            raise ValueError(f"added[{name!r}]: got {unknown}, expected some of {', '.join(targets)}")
        given = [targets[other] for other in others]
        left, rest = beyond(targets[factor], given), beyond(x, given)
        if rest["train"].any():
            found = _read(Readout(rest, penalties), {name: left}, resamples, seed)
        else:  # a function of the others: adds nothing
            m, t = left["test"].shape
            found = {name: Share(0.0, 0.0, 0.0, np.zeros(m), t, 0, max(penalties))}
        shares |= found
    parts = [shares[name] for name in mean_of]
    rows = np.mean([part.rows for part in parts], axis=0)
    kept, left_out = sum(part.columns for part in parts), sum(part.left_out for part in parts)
    return shares | {"mean": _share(rows, kept, left_out, max(part.penalty for part in parts), resamples, seed)}


def beyond(targets: Splits, given: Sequence[Splits]) -> dict[str, Floats]:
    """What is left of targets after a linear regression, fitted on train rows, on what is given (with an intercept).

    Args:
        targets: (rows, t) of train, val and test rows.
        given: each (rows, c) of the same rows; may be collinear.

    Returns:
        (rows, t) of each split; columns that are explained but for rounding are 0.

    Raises:
        ValueError: splits that are missing or don't fit together.
        InputError: a number is not finite.
    """
    wanted = splits_of(targets, "targets")
    parts = [splits_of(one, "given") for one in given]
    designs = [
        np.concatenate([np.ones((len(rows), 1)), *(part[i] for part in parts)], axis=1) for i, rows in enumerate(wanted)
    ]
    weights = np.linalg.lstsq(designs[0], wanted[0], rcond=None)[0]
    left = [rows - design @ weights for rows, design in zip(wanted, designs, strict=True)]
    told = np.linalg.norm(left[0], axis=0) > _NOTHING * np.linalg.norm(wanted[0], axis=0)
    return {split: rows * told for split, rows in zip(SPLITS, left, strict=True)}


def expected_products(a: Array, b: Array) -> Floats:
    """What a bag tells of what belongs to what: n_a · n_b / k, the mean over all matchings of a scene's k values.

    Args:
        a: (n, p) how often each value of one attribute occurs in a scene.
        b: (n, q) the same of another attribute, with the same sums k over columns.

    Returns:
        (n, p · q), zero for scenes of nothing.

    Raises:
        ValueError: numbers of rows or sums differ.
    """
    counts, others = (as_rows(values, name).double().cpu().numpy() for values, name in ((a, "a"), (b, "b")))
    if len(counts) != len(others) or not np.array_equal(counts.sum(axis=1), others.sum(axis=1)):
        raise ValueError("a, b: got other rows or sums over columns, expected counts of the same things in both")
    k = np.maximum(counts.sum(axis=1), 1)
    found: Floats = np.einsum("np,nq->npq", counts / k[:, None], others).reshape(len(counts), -1)
    return found


class StateReadout:
    """Readouts of representations from the state: its eigendecomposition is made once and serves all of them.

    Args:
        parts: features of the state, each (rows, columns) of train, val and test rows, such as facts and the products
            of two attributes of one thing.
        penalties: as in `Readout`.

    Raises:
        ValueError: no parts; splits that are missing or don't fit together.
        InputError: a number is not finite, or the state is the same in all train rows.
    """

    def __init__(self, *parts: Splits, penalties: Sequence[float] = PENALTIES) -> None:
        if not parts:
            raise ValueError("parts: got none, expected at least one")
        held = [splits_of(part, "state") for part in parts]
        if len({tuple(map(len, part)) for part in held}) > 1:
            raise ValueError("state: got parts of different numbers of rows, expected as many in all")
        state = {split: np.concatenate([part[i] for part in held], axis=1) for i, split in enumerate(SPLITS)}
        self.readout = Readout(state, penalties, "state")

    def precision(self, x: Splits, whitened: bool = False, resamples: int = 1000, seed: int = 0) -> Share:
        """Share of the variance of a representation that the state explains linearly, on test rows.

        Columns are weighted by their variance, 1 − Σ|x − x̂|² / Σ|x − mean|², so that neither scale, rotation nor
        offset matters. It follows what is large: a net that gives nearly all of its variance to one fact has a
        precision near 1 whatever its other directions hold. Whitening makes every direction count the same, the small
        ones, which tend to be noise, as much as the large: the value is then the mean squared correlation of the
        principal directions with their readouts, and lower as a rule. Estimates are from below: what is fitted on few
        rows explains less of others than the best readout.

        Args:
            x: (n, d), (v, d) and (m, d) features of train, val and test rows.
            whitened: map the train rows to principal directions of unit variance first, all rows alike; directions
                with less than 1e-10 of the largest variance are left out, and so are directions beyond n − 1.
            resamples: of the bootstrap.
            seed: of the bootstrap.

        Raises:
            ValueError: splits that are missing or don't fit those of the state.
            InputError: a feature is not finite, or all train or all test rows are the same.
        """
        parts = dict(zip(SPLITS, splits_of(x, "x"), strict=True))
        width = parts["train"].shape[1]
        if not parts["train"].std(axis=0).any() or not parts["test"].std(axis=0).any():
            raise InputError("x: all train or all test rows are the same, expected features that vary")
        if whitened:
            parts = _whitened(parts)
        read = self.readout.read(parts, pooled=True, name="x")
        kept = parts["train"].shape[1]
        return _share(read.pooled_rows(), kept, width - kept, read.penalties[0], resamples, seed)


def _by_factor(factors: Factors) -> dict[str, dict[str, Floats]]:
    if missing := [split for split in SPLITS if split not in factors]:
        raise ValueError(f"factors: got {', '.join(factors) or 'no splits'}, expected {', '.join(missing)} too")
    names = [set(factors[split]) for split in SPLITS]
    if not names[0] or names[0] != names[1] or names[0] != names[2]:
        raise ValueError("factors: got none, or other names in another split, expected the same in all")
    return {
        name: dict(zip(SPLITS, splits_of({split: factors[split][name] for split in SPLITS}, name), strict=True))
        for name in factors["train"]
    }


def _whitened(parts: Mapping[str, Floats]) -> dict[str, Floats]:
    mean = parts["train"].mean(axis=0)
    centred = parts["train"] - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = variances > _FLAT * variances[-1]
    basis = directions[:, kept] / np.sqrt(variances[kept])
    return {split: (rows - mean) @ basis for split, rows in parts.items()}


def _read(readout: Readout, targets: Mapping[str, Splits], resamples: int, seed: int) -> dict[str, Share]:
    """Shares of targets by name, all read at once, each name with a penalty of its own."""
    names = list(targets)
    labels = np.repeat(np.arange(len(names)), [np.shape(targets[name]["train"])[1] for name in names])
    columns = {split: np.concatenate([targets[name][split] for name in names], axis=1) for split in SPLITS}
    read = readout.read(columns, labels, name="factors")
    found = {}
    for i, name in enumerate(names):
        here = labels == i
        kept = here & read.kept
        if not kept.any():
            raise InputError(f"factors: no column of {name!r} varies both in train and in test rows")
        left_out = int(here.sum() - kept.sum())
        found[name] = _share(read.rows(here), int(kept.sum()), left_out, read.penalties[here][0], resamples, seed)
    return found


def _share(rows: Floats, columns: int, left_out: int, penalty: float, resamples: int, seed: int) -> Share:
    value, low, high = bootstrap_mean(rows, resamples, seed)
    return Share(value, low, high, rows, columns, left_out, float(penalty))
