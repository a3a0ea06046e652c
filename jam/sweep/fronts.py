"""What alignment costs a side's own structure: Pareto fronts of settings, and their hypervolumes.

Two goals, both to be maximised: alignment (recall, and hard-negative accuracy beside it) and preservation, the mean
over both sides. Which settings are on a front is decided on validation rows; its hypervolume is measured on test rows,
seed by seed.
"""

from typing import Any

import numpy as np
import pandas as pd

from jam.metrics import hypervolume, pareto_front, t_interval
from jam.results import results_table, select
from jam.sweep.table import OUTCOMES, told

VARIANT = ["loss", "alpha_first", "alpha_last"]
SETTING = ["lambda_first", "lambda_last", "cross"]
ORIGIN = {"recall": 0.0, "hard_negatives": 0.5}  # chance: what the hypervolume is measured from


def fronts(table: pd.DataFrame) -> pd.DataFrame:
    """Of each loss and each goal: the hypervolume over seeds, and a row ``on_front`` for each setting on its front."""
    rows: list[dict[str, Any]] = []
    table = table[table["seed"].notna()]
    for variant, mine in table.groupby(VARIANT, sort=False, dropna=False):
        scores = {
            (split, name): _by_setting(select(mine, split=split, **OUTCOMES[name]))
            for split in ("val", "test")
            for name in told(table)
        }
        for goal in [name for name in ORIGIN if ("val", name) in scores]:
            told_of = {**dict(zip(VARIANT, variant, strict=True)), "goal": goal}
            means = pd.concat([scores["val", name].mean(axis=1) for name in (goal, "preservation")], axis=1)
            front = means.index[pareto_front(means.to_numpy())]
            volumes = []
            for seed in scores["test", goal]:
                points = pd.concat(
                    [scores["test", name][seed].reindex(front) for name in (goal, "preservation")], axis=1
                )
                if len(points := points.dropna()):
                    volumes.append(hypervolume(points.to_numpy(), [ORIGIN[goal], 0.0]))
            low, high = t_interval(volumes) if len(volumes) > 1 else (np.nan, np.nan)
            rows.append(
                {
                    **told_of, "metric": "hypervolume", "value": float(np.mean(volumes)), "low": low, "high": high,
                    "interval": "t over seeds", "seeds": len(volumes), "settings": len(means), "split": "test",
                }
            )  # fmt: skip
            rows += [
                {**told_of, **dict(zip(SETTING, at, strict=True)), "metric": "on_front", "value": 1, "split": "val"}
                for at in front
            ]
    return results_table("pareto_fronts", rows)


def _by_setting(table: pd.DataFrame) -> pd.DataFrame:
    """Settings in the order of the grid × seeds."""
    found = table.pivot(index=SETTING, columns="seed", values="value").astype(float)
    order = table[SETTING].drop_duplicates()
    return found.reindex(pd.MultiIndex.from_frame(order))
