"""What the stages that sweep share: their trainings, their tables, and the raw alignment that they compare with."""

import os
from collections.abc import Sequence
from typing import Any

import joblib
import pandas as pd

from jam.config import Objective, Params, Training
from jam.device import pick_device
from jam.errors import InputError
from jam.sweep import Cell, run_sweep
from stages.common import SCRATCH, say

GRAM = ("mutual_knn", "unbiased_cka", "cknna")
RAW = (*GRAM, "svcca")
TITLES = {"test_recall": "JAM, test recall", "test_hard_negatives": "JAM, test hard negatives"}
OUTCOMES = ("test_recall", "test_hard_negatives", "test_preservation")


def short_training(params: Params) -> tuple[Objective, Training]:
    """The objective and the schedule of the cells of a sweep."""
    objective = params.objectives[params.sweeps.objective]
    assert isinstance(objective, Objective)  # as the schema promises
    return objective, params.training.model_copy(update={"epochs": params.sweeps.epochs})


def sweep(name: str, descriptions: list[dict[str, Any]], cells: list[Cell]) -> pd.DataFrame:
    """Run the cells of a sweep: one row a cell, what it is and what came out; ``error`` says why a cell has no scores.

    Finished cells stay in ``scratch/sweeps``, so that a sweep that was stopped, or one with a layer more, computes only
    what is new.

    Raises:
        InputError: no cell could be computed, or JAM_WORKERS is no number of processes.
    """
    workers = processes()
    say(f"{name}: {len(cells)} cells")
    outcomes = run_sweep(cells, SCRATCH / "sweeps" / name, device=pick_device(), workers=workers, report=say)
    table = pd.DataFrame([{**what, "error": "", **found} for what, found in zip(descriptions, outcomes, strict=True)])
    failed = table[table["error"] != ""]
    if len(failed) == len(table):
        raise InputError(f"none of {len(table)} cells could be computed; the first: {failed['error'].iloc[0]}")
    for row in failed.to_dict("records"):
        say(f"{name}: left out: {', '.join(f'{key} {row[key]}' for key in descriptions[0])}: {row['error']}")
    table["val_recall"] = (table["val_i2t_r1"] + table["val_t2i_r1"]) / 2
    table["test_recall"] = (table["test_i2t_r1"] + table["test_t2i_r1"]) / 2
    table["test_preservation"] = (table["test_preservation_image"] + table["test_preservation_text"]) / 2
    table["val_preservation"] = (table["val_preservation_image"] + table["val_preservation_text"]) / 2
    return table


def processes() -> int:
    """How many processes a sweep takes: JAM_WORKERS of the environment, else one a core, at most 8.

    Raises:
        InputError: JAM_WORKERS is not a whole number of at least 1.
    """
    asked = os.environ.get("JAM_WORKERS", str(min(joblib.cpu_count(), 8)))
    if not asked.isdecimal() or int(asked) < 1:
        raise InputError(f"JAM_WORKERS: got {asked!r} in the environment, expected a whole number of at least 1")
    return int(asked)


def told(table: pd.DataFrame, scores: Sequence[str]) -> list[str]:
    """Those of the scores that there are: without hard negatives in the data, a sweep has none of theirs."""
    return [score for score in scores if score in table and table[score].notna().any()]
