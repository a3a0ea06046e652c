"""From finished cells to rows of results, and from these to grids of numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jam.metrics import t_interval, wilson_interval
from jam.metrics.private import MEAN
from jam.results import results_table, select
from jam.sweep.cells import Outcome
from jam.sweep.grids import Entry

# What a trained cell is judged by, as columns of its rows
OUTCOMES: dict[str, dict[str, Any]] = {
    "true_recall": {"metric": "true_recall", "direction": "both"},
    "recall": {"metric": "recall", "direction": "both"},
    "hard_negatives": {"metric": "hard_negatives", "tier": "hard"},
    "private": {"metric": "private", "label": MEAN, "direction": "both"},
    "preservation": {"metric": "preservation", "direction": "both"},
}
BOTH = ("true_recall", "recall", "private", "preservation")  # told of each direction or side, and as their mean


def cells_table(experiment: str, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """The scores of all cells, and means: of those told both ways, and over seeds; of a cell that failed its error."""
    rows = [row for entry, outcome in zip(entries, outcomes, strict=True) for row in _rows(entry, outcome)]
    table = results_table(experiment, rows)
    scores = table[table["error"].isna()]
    what = [name for name in scores if name not in ("seed", "value") and scores[name].notna().any()]
    means = []
    for key, values in scores.groupby(what, sort=False, dropna=False)["value"]:
        row = {**dict(zip(what, key, strict=True)), "value": values.mean(), "seeds": len(values)}
        if len(values) > 1:
            row["low"], row["high"] = t_interval(values.astype(float))
            row["interval"] = "t over seeds"
        means.append(row)
    return pd.concat([table, results_table(experiment, means)], ignore_index=True)


def _rows(entry: Entry, outcome: Outcome) -> Iterator[dict[str, Any]]:
    if "error" in outcome:
        yield {**entry.columns, "error": outcome["error"]}
        return
    ways: dict[tuple[Any, ...], list[float]] = {}
    for found in outcome["rows"]:
        told = {name: found[name] for name in ("split", "metric", "k", "tier", "kind", "value")}
        told |= {"label": found["label"]} if found["label"] else {}
        told["direction"] = found["direction"] if found["y"] else found["x"]  # of one side: its name, x or y
        yield {**entry.columns, **told}
        if found["metric"] in BOTH and found["label"] in (None, MEAN):
            ways.setdefault((found["split"], found["metric"], found["k"], found["label"]), []).append(found["value"])
    for (split, metric, k, label), values in ways.items():
        told = {"split": split, "metric": metric, "k": k, "direction": "both", "value": sum(values) / len(values)}
        yield {**entry.columns, **told, **({"label": label} if label else {})}


def told(table: pd.DataFrame) -> list[str]:
    """Those of `OUTCOMES` that there are: without hard negatives in the data, a sweep has none of theirs."""
    return [name for name, where in OUTCOMES.items() if len(select(table, **where))]


def grid(
    table: pd.DataFrame, rows: tuple[str, Sequence[Any]], columns: tuple[str, Sequence[Any]], **where: Any
) -> np.ndarray:
    """The values of some rows of means, (rows, columns), NaN where there is none.

    Args:
        table: results.
        rows: the column that tells the rows of the grid apart, and its values in their order.
        columns: likewise.
        where: as of `select`.
    """
    means = select(table, seed=None, **where).pivot(index=rows[0], columns=columns[0], values="value")
    found: np.ndarray = means.reindex(index=list(rows[1]), columns=list(columns[1])).to_numpy(dtype=np.float64)
    return found


def best_cell(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """The layers of the highest recall on validation rows, and what they reach on test rows, means over seeds.

    Of the direction in which every item asks once, with Wilson's interval over the n test items.
    """
    means = table[table["seed"].isna()]
    cells = select(means, split="val", **OUTCOMES["recall"]).set_index(["x_layer", "y_layer"])["value"].astype(float)
    x_layer, y_layer = cells.idxmax()
    found = select(means, split="test", x_layer=x_layer, y_layer=y_layer).assign(condition="best of all", n=n)
    asked = select(found, metric="recall", direction="x_to_y").index
    low, high = wilson_interval(round(float(found.loc[asked[0], "value"]) * n), n)
    found.loc[asked, ["low", "high"]] = low, high
    found.loc[asked, "interval"] = "Wilson over items"
    return found
