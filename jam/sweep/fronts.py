"""What alignment costs a side: Pareto fronts of settings, and their hypervolumes.

Two goals at a time, both to be maximised: alignment (recall of any true item, or of an item's own where it is not known
what is true; accuracy on hard negatives) and what is kept of the sides (their private factors, their neighbourhoods),
each the mean over both sides. Which settings are on a front, and which aligns best, is decided on validation rows;
hypervolumes are measured on test rows, seed by seed.
"""

from typing import Any

import numpy as np
import pandas as pd

from jam.metrics import hypervolume, pareto_front, t_interval
from jam.results import results_table, select
from jam.sweep.table import OUTCOMES, told

VARIANT = ["loss", "alpha_first", "alpha_last"]
SETTING = ["lambda_first", "lambda_last", "cross"]
KEPT = ("private", "preservation")


def goals(table: pd.DataFrame) -> dict[str, float]:
    """Those alignments that there are, the first what settings are chosen by; of each its chance."""
    found = told(table)
    recall = "true_recall" if "true_recall" in found else "recall"
    return {goal: chance for goal, chance in ((recall, 0.0), ("hard_negatives", 0.5)) if goal in found}


def fronts(table: pd.DataFrame) -> pd.DataFrame:
    """Of each loss, each goal and each thing kept: the hypervolume over seeds, and its settings.

    A row ``on_front`` for each setting on the front; and of each goal a row ``best``, the setting that aligns best on
    validation rows.
    """
    rows: list[dict[str, Any]] = []
    table = table[table["seed"].notna()]
    known, asked = told(table), goals(table)
    for variant, mine in table.groupby(VARIANT, sort=False, dropna=False):
        told_of = dict(zip(VARIANT, variant, strict=True))
        scores = {
            (split, name): by_setting(select(mine, split=split, **OUTCOMES[name]))
            for split in ("val", "test")
            for name in known
        }
        for goal, chance in asked.items():
            best = scores["val", goal].mean(axis=1).idxmax()
            rows.append({**told_of, "goal": goal, **_at(best), "metric": "best", "value": 1, "split": "val"})
            for kept in [name for name in KEPT if name in known]:
                rows += _front(scores, {**told_of, "goal": goal, "kept": kept}, [chance, 0.0])
    return results_table("pareto_fronts", rows)


def _front(
    scores: dict[tuple[str, str], pd.DataFrame], told_of: dict[str, Any], corner: list[float]
) -> list[dict[str, Any]]:
    """Rows of one front."""
    both = told_of["goal"], told_of["kept"]
    means = pd.concat([scores["val", name].mean(axis=1) for name in both], axis=1)
    front = means.index[pareto_front(means.to_numpy())]
    volumes = []
    for seed in scores["test", both[0]]:
        points = pd.concat([scores["test", name][seed].reindex(front) for name in both], axis=1).dropna()
        if len(points):
            volumes.append(hypervolume(points.to_numpy(), corner))
    low, high = t_interval(volumes) if len(volumes) > 1 else (np.nan, np.nan)
    volume = {
        "metric": "hypervolume", "value": float(np.mean(volumes)), "low": low, "high": high,
        "interval": "t over seeds", "seeds": len(volumes), "settings": len(means), "split": "test",
    }  # fmt: skip
    places = [{**told_of, **_at(at), "metric": "on_front", "value": 1, "split": "val"} for at in front]
    return [{**told_of, **volume}, *places]


def _at(setting: Any) -> dict[str, Any]:
    return dict(zip(SETTING, setting, strict=True))


def by_setting(table: pd.DataFrame) -> pd.DataFrame:
    """Settings in the order of the grid × seeds."""
    found = table.pivot(index=SETTING, columns="seed", values="value").astype(float)
    order = table[SETTING].drop_duplicates()
    return found.reindex(pd.MultiIndex.from_frame(order))
