"""Does something known beforehand foretell an outcome of encoder pairs? Fitted on some encoders, judged on others.

The cells of a grid share encoders, so that a prediction of a cell is made by a fit that saw neither its row's group
nor its column's, and intervals resample groups of rows and of columns.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jam.metrics.intervals import Estimate
from jam.metrics.trends import spearman

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def pairs_to(share: float, ns: Sequence[int], scores: npt.ArrayLike, ceiling: npt.ArrayLike) -> Floats:
    """How many pairs it takes to reach a share of a ceiling: monotone interpolation, linear in log n.

    A score that falls with more pairs counts as the best so far.

    Args:
        share: of the ceiling, in (0, 1].
        ns: numbers of pairs, growing, at least one.
        scores: (..., ns).
        ceiling: (...).

    Returns:
        (...), between the first and the last of ns: the first where it is reached there already, NaN where it never
        is.
    """
    best = np.maximum.accumulate(np.asarray(scores, dtype=np.float64), axis=-1)
    goal = share * np.asarray(ceiling, dtype=np.float64)[..., None]
    reached = best >= goal
    after = reached.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(best, at[..., None], axis=-1)[..., 0] for at in (before, after))
    log = np.log(np.asarray(ns, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(after > before, (goal[..., 0] - low) / (high - low), 0.0)
    found: Floats = np.clip(np.exp(log[before] + part * (log[after] - log[before])), ns[0], ns[-1])
    return np.where(reached.any(axis=-1), found, np.nan)


def crossing(ns: Sequence[int], differences: npt.ArrayLike) -> Floats:
    """Where a difference changes its sign for the last time: linear in log n; NaN where it never does.

    Args:
        ns: numbers of pairs, growing.
        differences: (..., ns).
    """
    d, log = np.asarray(differences, dtype=np.float64), np.log(np.asarray(ns, dtype=np.float64))
    before, after = d[..., :-1], d[..., 1:]
    changes = (before < 0) != (after < 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        at = np.exp(log[:-1] + (log[1:] - log[:-1]) * before / (before - after))
    last = changes.shape[-1] - 1 - changes[..., ::-1].argmax(axis=-1)
    found = np.take_along_axis(np.where(changes, at, np.nan), last[..., None], axis=-1)[..., 0]
    return np.where(changes.any(axis=-1), found, np.nan)


@dataclass(frozen=True)
class Foretold:
    """Predictions of cells by fits that saw neither of its groups.

    Attributes:
        predicted: (r, c), NaN where there was nothing to fit on.
        constant: (r, c) the mean outcome of the same fitting cells: what is foretold without a predictor.
        observed: (r, c).
    """

    predicted: Floats
    constant: Floats
    observed: Floats

    def r2(self, rows: Whole | slice = slice(None), columns: Whole | slice = slice(None)) -> float:
        """Share of the squared error of the constant that is gone; at most 1, below 0 where it grew."""
        p, c, o = (table[rows][:, columns] for table in (self.predicted, self.constant, self.observed))
        known = np.isfinite(p)
        wrong = ((o - p)[known] ** 2).sum()
        return float(1 - wrong / ((o - c)[known] ** 2).sum()) if known.any() else float("nan")

    def rank_correlation(self, rows: Whole | slice = slice(None), columns: Whole | slice = slice(None)) -> float:
        """Spearman's ρ of what was foretold and what was observed."""
        return spearman(self.predicted[rows][:, columns], self.observed[rows][:, columns])


def least_squares(predictors: Floats, outcome: Floats, used: npt.NDArray[np.bool_]) -> Floats:
    """Coefficients (1 + p,), the constant first, over the cells used of (r, c, p) and (r, c)."""
    design = np.concatenate([np.ones((*outcome.shape, 1)), predictors], axis=2)[used]
    found: Floats = np.linalg.lstsq(design, outcome[used], rcond=None)[0]
    return found


def logit(share: npt.ArrayLike, least: float = 5e-4) -> Floats:
    """Log odds of shares, which are kept ``least`` away from 0 and from 1."""
    kept = np.clip(np.asarray(share, dtype=np.float64), least, 1 - least)
    odds: Floats = np.log(kept / (1 - kept))
    return odds


def share_of(log_odds: npt.ArrayLike) -> Floats:
    """The share that has these log odds."""
    found: Floats = 1 / (1 + np.exp(-np.asarray(log_odds, dtype=np.float64)))
    return found


def foretell(
    predictors: Floats,
    outcome: Floats,
    rows: Sequence[Hashable],
    columns: Sequence[Hashable],
    link: Callable[[Floats], Floats] = np.asarray,
    inverse: Callable[[Floats], Floats] = np.asarray,
) -> Foretold:
    """Predict every cell from cells that share neither its row's group nor its column's, by least squares.

    Args:
        predictors: (r, c, p).
        outcome: (r, c).
        rows: (r,) the group of each row, such as an encoder of which the rows are seeds.
        columns: (c,) likewise.
        link: of the outcome, which is linear in the predictors.
        inverse: of the link, so that predictions are in units of the outcome.
    """
    of_row, of_column = (np.unique([str(one) for one in some], return_inverse=True)[1] for some in (rows, columns))
    predicted, constant = np.full(outcome.shape, np.nan), np.full(outcome.shape, np.nan)
    for i in range(of_row.max() + 1):
        for j in range(of_column.max() + 1):
            used = np.outer(of_row != i, of_column != j)
            here = np.ix_(of_row == i, of_column == j)
            if used.sum() > 1 + predictors.shape[2]:
                weights = least_squares(predictors, link(outcome), used)
                predicted[here] = inverse(weights[0] + predictors[here] @ weights[1:])
                constant[here] = outcome[used].mean()
    return Foretold(predicted, constant, outcome)


def resampled_groups(
    rows: Sequence[Hashable], columns: Sequence[Hashable], resamples: int, seed: int
) -> Iterator[tuple[Whole, Whole]]:
    """Places of the rows and of the columns of groups that are drawn with replacement (Owen 2007, the pigeonhole)."""
    rng = np.random.default_rng(seed)
    sides = [
        [np.flatnonzero([one == name for one in some]) for name in dict.fromkeys(some)] for some in (rows, columns)
    ]
    for _ in range(resamples):
        drawn = [np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))]) for groups in sides]
        yield drawn[0], drawn[1]


def judged(
    foretold: Foretold, rows: Sequence[Hashable], columns: Sequence[Hashable], resamples: int, seed: int
) -> tuple[Estimate, Estimate]:
    """R² and ρ of left-out cells, with percentiles over groups; fits are not made anew."""
    draws = list(resampled_groups(rows, columns, resamples, seed))
    told = []
    for score in (foretold.r2, foretold.rank_correlation):
        found = np.array([score(*draw) for draw in draws])
        told.append(Estimate(score(), *interval_of(found)))
    return told[0], told[1]


def interval_of(draws: Floats) -> tuple[float, float]:
    """The middle 95 % of what is finite; NaN where nothing is."""
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)
