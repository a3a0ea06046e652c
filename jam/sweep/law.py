"""The law: does raw alignment, before any pair is learned from, foretell what so many pairs bring? Rows of results."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jam.metrics.law import (
    Foretold,
    foretell,
    interval_of,
    judged,
    least_squares,
    logit,
    pairs_to,
    resampled_groups,
    share_of,
)  # fmt: skip
from jam.params import EncoderSpec
from jam.results import select
from jam.sweep.members import TRAINED
from jam.sweep.pair_rows import SHARE, Row, Trained, couple

Floats = npt.NDArray[np.float64]

LEAST = 1e-3  # alignment of which the logarithm is taken
METHOD = "cca"
FORMULA = "mutual_knn"  # whose coefficients are told: chosen on another draw of the world
OVER_ENCODERS = "bootstrap over encoders"
DRAWS = 250  # of encoders, for each of the many scores
FIT_ON = 3  # encoders of a side, at least: one is left out, and a slope needs two

Predictors = Mapping[str, Floats]


def predictors_of(of: Trained, raw: pd.DataFrame, recalled: Mapping[tuple[str, int], float]) -> Predictors:
    """Name → (r, c, p) of what is known of each couple: raw alignment, and controls of the two encoders alone.

    Args:
        of: the trained couples.
        raw: of `jam.sweep.pairs.raw_alignment`.
        recalled: (encoder, seed) → recall of reality.
    """
    shape = of.shape
    found: dict[str, Floats] = {}
    place = {(one.name, one.seed): i for side in (of.xs, of.ys) for i, one in enumerate(side)}
    trained = raw[(raw["x_checkpoint"] == TRAINED) & (raw["y_checkpoint"] == TRAINED)]
    for metric, mine in trained.groupby("metric", sort=False):
        for column in ("value", "calibrated"):
            table = np.full(shape, np.nan)
            for row in mine.to_dict("records"):
                x, y = place.get((row["x"], row["x_seed"])), place.get((row["y"], row["y_seed"]))
                if x is not None and y is not None:
                    table[x, y] = row[column]
            name = str(metric) if column == "value" else f"{metric}, calibrated"
            found[name] = np.log(np.maximum(table, LEAST))[..., None]
    widths = [np.log([float(one.width) for one in side]) for side in (of.xs, of.ys)]
    found["width"] = np.stack(np.meshgrid(*widths, indexing="ij"), axis=2)
    known = [np.array([recalled.get((one.name, one.seed), np.nan) for one in side]) for side in (of.xs, of.ys)]
    found["recall of reality"] = np.stack(np.meshgrid(*map(logit, known), indexing="ij"), axis=2)
    joint = f"{FORMULA} and recall of reality"
    if FORMULA in found:
        found[joint] = np.concatenate([found[FORMULA], found["recall of reality"]], axis=2)
    return {name: table for name, table in found.items() if np.isfinite(table).all()}


def recalls(reality: pd.DataFrame, specs: Mapping[str, EncoderSpec]) -> dict[tuple[str, int], float]:
    """(Encoder, seed) → recall of reality at the layer of its seeds and checkpoints; none where no state is known.

    Args:
        reality: of experiment ``reality``.
        specs: of all encoders.
    """
    told = select(reality, metric="reality_recall", label="mean", against=None, condition=("kept", "seed"))
    return {
        (row["x"], specs[row["x"]].seed if pd.isna(row["seed"]) else int(row["seed"])): float(row["value"])
        for row in told.to_dict("records")
        if row["x"] in specs
    }


def law_rows(of: Trained, predictors: Predictors, resamples: int, seed: int) -> Iterator[Row]:
    """How well each predictor foretells R@1 by number of pairs, and how many are needed, on couples that were left out.

    Then the formula: log odds of R@1 = a + b·log alignment + c·log pairs, over all couples and numbers of pairs.
    """
    if min(len(set(of.rows)), len(set(of.columns))) < FIT_ON:
        return
    cells = of.cells("true", METHOD)
    first = logit(cells[..., :1])
    outcomes = {n: cells[..., place] for place, n in enumerate(of.ns)}
    for n, outcome in outcomes.items():
        for name, table in [*predictors.items(), (f"R@1 with {of.ns[0]} pairs", first)]:
            if name.startswith("R@1") and n == of.ns[0]:
                continue
            found = foretell(table, outcome, of.rows, of.columns, logit, share_of)
            yield from _judged(of, found, {"foretold": "true_recall", "pairs": n, "predictor": name}, resamples, seed)
            if name == FORMULA:
                yield from _shown(of, found, {"foretold": "true_recall", "pairs": n, "predictor": name})
    needed = np.log2(pairs_to(SHARE, of.ns, cells, cells[..., -1]))
    for name, table in predictors.items():
        found = foretell(table, needed, of.rows, of.columns)
        yield from _judged(of, found, {"foretold": "pairs_needed", "predictor": name}, resamples, seed)
    if FORMULA in predictors:
        yield from _formula(of, predictors[FORMULA], cells, resamples, seed)


def _judged(of: Trained, found: Foretold, told: Row, resamples: int, seed: int) -> Iterator[Row]:
    scores = judged(found, of.rows, of.columns, min(resamples, DRAWS), seed)
    for metric, score in zip(("r2", "rank_correlation"), scores, strict=True):
        yield {**told, "condition": "law", "method": METHOD, "split": "test", "metric": metric, "value": score.value,
               "low": score.low, "high": score.high, "interval": OVER_ENCODERS, "n": found.observed.size}  # fmt: skip


def _shown(of: Trained, found: Foretold, told: Row) -> Iterator[Row]:
    if told["pairs"] != of.ns[-1]:
        return
    for i, x in enumerate(of.xs):
        for j, y in enumerate(of.ys):
            for condition, table in (("foretold", found.predicted), ("observed", found.observed)):
                yield {**told, **couple(x, y), "condition": condition, "method": METHOD, "split": "test",
                       "metric": "true_recall", "value": table[i, j]}  # fmt: skip


def _formula(of: Trained, alignment: Floats, cells: Floats, resamples: int, seed: int) -> Iterator[Row]:
    log = np.log(np.array(of.ns, dtype=np.float64))

    def fit(rows: Any, columns: Any) -> Floats:
        outcome = logit(cells[rows][:, columns])
        shape = outcome.shape
        design = np.stack([np.broadcast_to(alignment[rows][:, columns], shape), np.broadcast_to(log, shape)], axis=3)
        flat = design.reshape(shape[0], -1, 2), outcome.reshape(shape[0], -1)
        return least_squares(*flat, np.ones(flat[1].shape, np.bool_))

    found = fit(slice(None), slice(None))
    drawn = np.array([fit(*draw) for draw in resampled_groups(of.rows, of.columns, resamples, seed)])
    for place, name in enumerate(("constant", f"log {FORMULA}", "log pairs")):
        low, high = interval_of(drawn[:, place])
        yield {"condition": "formula", "method": METHOD, "split": "test", "foretold": "true_recall", "predictor": name,
               "metric": "coefficient", "value": found[place], "low": low, "high": high, "interval": OVER_ENCODERS,
               "n": cells.size}  # fmt: skip
