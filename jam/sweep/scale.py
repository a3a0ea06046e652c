"""What size, objective, stage of training and seed of an encoder do: effects over encoders, with tests that agree.

The unit is an encoder: its outcome is the mean over all trained encoders of the other modality. Labels of encoders are
rearranged among those that could as well have had them, see `jam.metrics.arrangements`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from jam.metrics import grid_rank_correlation
from jam.metrics.arrangements import Effect, sign_flips, stratified_slope
from jam.params import EncoderSpec
from jam.results import results_table, select
from jam.sweep.table import OUTCOMES, grid

METHOD = "cca"
ALIKE = ("mutual_knn", "unbiased_cka")
INVERTED = "inverted permutation test"
TRAINED = 100
Row = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """One encoder: what it is, and by metric its mean over the trained encoders of the other modality."""

    name: str
    seed: int
    checkpoint: int
    modality: str
    objective: str
    width: int
    outcomes: Mapping[str, float]


def units_of(cells: pd.DataFrame, raw: pd.DataFrame, specs: Mapping[str, EncoderSpec]) -> list[Unit]:
    """Encoders that are pretrained here, and their checkpoints.

    Args:
        cells: of `jam.sweep.pairs.run_grid`.
        raw: of `jam.sweep.pairs.raw_alignment`.
        specs: of all encoders.
    """
    here = cells[cells["couple"].isin(["trained", "stage"]) & (cells["method"] == METHOD)]
    here = here[here["pairs"] == here["pairs"].max()]
    trained = here[here["couple"] == "trained"]
    own = {side: set(trained[side]) for side in ("x", "y")}
    alike = raw[raw["metric"].isin(ALIKE) & raw["x"].isin(own["x"]) & raw["y"].isin(own["y"])]
    tables = {"true_recall": here.assign(value=here["true"])} | {m: alike[alike["metric"] == m] for m in ALIKE}
    found = []
    for side, other in (("x", "y"), ("y", "x")):
        key = [side, f"{side}_seed", f"{side}_checkpoint"]
        means = {
            metric: table[table[f"{other}_checkpoint"] == TRAINED].groupby(key, sort=False)["value"].mean()
            for metric, table in tables.items()
        }
        for name, seed, checkpoint in means["true_recall"].index:
            spec = specs[name]
            if (made := spec.image or spec.text) is None:
                continue
            width = spec.image.widths[-1] if spec.image else spec.text.width if spec.text else 0
            outcomes = {metric: float(of[name, seed, checkpoint]) for metric, of in means.items()}
            what = int(seed), int(checkpoint), spec.modality, str(made.objective), int(width)
            found.append(Unit(name, *what, outcomes))
    return found


def effect_rows(units: Sequence[Unit], pairs: int) -> Iterator[Row]:
    """Every effect on every outcome, of each modality."""
    for metric in ("true_recall", *ALIKE):
        for modality in dict.fromkeys(unit.modality for unit in units):
            mine = [unit for unit in units if unit.modality == modality]
            for told, effect in [*_size(mine, metric), *_objective(mine, metric), *_seed(mine, metric)]:
                yield _row(effect, {**told, "modality": modality, "metric": metric, "pairs": pairs})
            for told, effect in _stage(mine, metric):
                yield _row(effect, {**told, "modality": modality, "metric": metric, "pairs": pairs})
        if len({unit.modality for unit in units}) > 1:
            for told, effect in _stage(units, metric):
                yield _row(effect, {**told, "modality": "both", "metric": metric, "pairs": pairs})


Told = tuple[Row, Effect]


def _row(effect: Effect, told: Row) -> Row:
    ends = {"low": effect.low, "high": effect.high}
    return {
        **told, "value": effect.value, **{name: end for name, end in ends.items() if np.isfinite(end)},
        "interval": INVERTED, "p": effect.p, "smallest_p": effect.smallest_p, "n": effect.n,
    }  # fmt: skip


def _size(units: Sequence[Unit], metric: str) -> Iterator[Told]:
    """A step of size, within an objective: of all, and of each objective that has several."""
    trained = [unit for unit in units if unit.checkpoint == TRAINED]
    steps = {width: place for place, width in enumerate(sorted({unit.width for unit in trained}))}
    objectives = list(dict.fromkeys(unit.objective for unit in trained))
    several = [of for of in objectives if len({unit.width for unit in trained if unit.objective == of}) > 1]
    for level, some in [(None, several), *((of, [of]) for of in several if len(several) > 1)]:
        mine = [unit for unit in trained if unit.objective in some]
        if mine:
            y, step = ([of(unit) for unit in mine] for of in (lambda u: u.outcomes[metric], lambda u: steps[u.width]))
            yield {"effect": "size", "level": level}, stratified_slope(y, step, [unit.objective for unit in mine])


def _objective(units: Sequence[Unit], metric: str) -> Iterator[Told]:
    """One objective minus another, within a width that both have."""
    trained = [unit for unit in units if unit.checkpoint == TRAINED]
    for a, b in combinations(dict.fromkeys(unit.objective for unit in trained), 2):
        widths = [{unit.width for unit in trained if unit.objective == of} for of in (a, b)]
        both = widths[0] & widths[1]
        mine = [unit for unit in trained if unit.objective in (a, b) and unit.width in both]
        if mine:
            effect = stratified_slope(
                [unit.outcomes[metric] for unit in mine], [float(unit.objective == a) for unit in mine],
                [unit.width for unit in mine],
            )  # fmt: skip
            yield {"effect": "objective", "level": a, "reference": b}, effect


def _stage(units: Sequence[Unit], metric: str) -> Iterator[Told]:
    """The end of a training minus an earlier stage of the same net."""
    end = {(unit.name, unit.seed): unit.outcomes[metric] for unit in units if unit.checkpoint == TRAINED}
    for at in sorted({unit.checkpoint for unit in units} - {TRAINED}):
        gains = [end[u.name, u.seed] - u.outcomes[metric] for u in units if u.checkpoint == at]
        yield {"effect": "stage", "level": str(TRAINED), "reference": str(at)}, sign_flips(gains)


def _seed(units: Sequence[Unit], metric: str) -> Iterator[Told]:
    """A further seed minus the first of the same encoder: nothing, but for chance."""
    seeds: dict[str, list[float]] = {}
    for unit in units:
        if unit.checkpoint == TRAINED:
            seeds.setdefault(unit.name, []).append(unit.outcomes[metric])
    if gaps := [one - some[0] for some in seeds.values() for one in some[1:]]:
        yield {"effect": "seed"}, sign_flips(gaps)


def unit_rows(units: Sequence[Unit], pairs: int) -> Iterator[Row]:
    """The outcomes of every unit, for a figure."""
    for unit in units:
        for metric, value in unit.outcomes.items():
            yield {"effect": "none", "subject": unit.name, "seed": unit.seed, "level": str(unit.checkpoint),
                   "modality": unit.modality, "family": unit.objective, "k": unit.width, "metric": metric,
                   "value": value, "pairs": pairs}  # fmt: skip


def stands_for(trained: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Does the closed form rank pairs of encoders as JAM's trainings do? Rank correlations over the trained cells.

    Args:
        trained: of `jam.sweep.table.cells_table`.
        cells: of the closed forms.
    """
    told = select(trained, seed=None, split="test", **OUTCOMES["recall"])
    xs, ys = (list(dict.fromkeys(told[side])) for side in ("x", "y"))
    jam = grid(trained, ("x", xs), ("y", ys), split="test", **OUTCOMES["recall"])
    first = cells[(cells["method"] == METHOD) & cells["couple"].isin(["trained", "control"])]
    first = first[first["pairs"] == first["pairs"].max()]
    first = first.drop_duplicates(["x", "y"])  # the seeds of which JAM's trainings read: they come first
    rows = []
    for score, name in (("own", "recall"), ("true", "true_recall")):
        closed = first.pivot(index="x", columns="y", values=score).reindex(index=xs, columns=ys).to_numpy(np.float64)
        both = np.isfinite(closed) & np.isfinite(jam)
        if both.sum() < 3 or np.ptp(closed[both]) == 0 or np.ptp(jam[both]) == 0:
            continue  # one cell has no rank
        found = grid_rank_correlation(closed, jam)
        rows.append({
            "grid": "scale", "predictor": name, "condition": METHOD, **OUTCOMES["recall"], "value": found.value,
            "low": found.low, "high": found.high, "p": found.p_value, "n": found.n,
            "interval": "pigeonhole bootstrap over the grid's rows and columns",
        })  # fmt: skip
    return results_table("trends", rows)
