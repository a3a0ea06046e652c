"""What alignment destroys of the private factors of each side, and what reconstruction saves: by factor, paired.

All differences are between readouts of the same test items, and their intervals resample seeds and items together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from jam.align.adapter import Adapter
from jam.align.items import Items
from jam.align.objective import Joint
from jam.align.setting import first, listed
from jam.evaluation.private import FROZEN, WHITENED, Private, Views
from jam.evaluation.scores import Key, Outcome, PerRow, summarise
from jam.metrics import private_recall
from jam.metrics.private import FEW, Told
from jam.results import results_table, select
from jam.sweep.cells import Cell
from jam.sweep.cells import Outcome as Finished
from jam.sweep.fronts import SETTING, VARIANT
from jam.sweep.grids import Entry

PROJECTED, UNTRAINED, DESTROYED, SAVED, LEFT = "projected", "untrained", "destroyed", "saved", "left"
Runs = dict[int, dict[Key, Outcome]]


def references(views: Mapping[str, Views], cells: Sequence[Cell], items: Items) -> Runs:
    """What is told, by seed, by the frozen layers and their whitening, and by bottlenecks that never learned anything.

    These are adapters of the cells' shape before any training, and as many random directions.
    """
    sides = {name: Private(name, mine, cells[0].k) for name, mine in views.items()}
    runs: Runs = {}
    for cell in {cell.seed: cell for cell in cells}.values():
        setting = first(listed(cell.objective, cell.training))
        joint = Joint(cell.objective, cell.training, setting, items, cell.pairs, cell.seed).eval()
        found: dict[Key, Outcome] = {}
        for name, side in sides.items():
            told = {FROZEN: side.frozen, WHITENED: side.whitened}
            told[UNTRAINED] = views[name].told(joint.adapters[name], permutations=FEW)
            told[PROJECTED] = _projected(views[name], joint.adapters[name], cell.seed)
            for condition, shares in told.items():
                found |= {Key("private", name, label=label, condition=condition): _per_row(of)
                          for label, of in shares.items()}  # fmt: skip
        runs[cell.seed] = found
    return runs


def _projected(views: Views, adapter: Adapter, seed: int) -> dict[str, Told]:
    """What as many random directions of the same inputs tell as the adapter has latents: a bottleneck, no more."""
    d, latent = adapter.config["d_in"], adapter.config["d_latent"]
    matrix = torch.as_tensor(np.random.default_rng(seed).standard_normal((d, latent)), dtype=torch.float32)
    mapped = {
        split: (adapter.standardise(torch.as_tensor(of)) @ matrix).numpy() for split, of in views.features.items()
    }
    return private_recall(mapped, views.private)


def _per_row(told: Told) -> PerRow:
    return PerRow(told.rows, np.arange(len(told.rows)), null=float(np.quantile(told.null, 0.95)))


def kept_table(
    entries: Sequence[Entry],
    outcomes: Sequence[Finished],
    known: Runs,
    best: pd.DataFrame,
    resamples: int,
    units: np.ndarray | None = None,
) -> pd.DataFrame:
    """Of each side and factor the references, and of each loss and α what becomes of the frozen layer's share.

    What alignment alone (λ = 0) destroys of it, what the λ that aligns best saves of that, and what is left to save.

    Args:
        entries: of the grid.
        outcomes: of its cells.
        known: as of `references`.
        best: rows ``best`` of `jam.sweep.fronts.fronts`, one for each loss and α.
        resamples: of the bootstrap.
        units: as of `jam.evaluation.scores.summarise`.

    Returns:
        Rows of experiment ``pareto``; no rows where nothing is private.
    """
    if not any(known.values()):
        return results_table("pareto", [])
    n = len(next(iter(next(iter(known.values())).values())).values)  # type: ignore[union-attr]
    tables = [_rows(known, n, resamples, units)]
    for line in best.to_dict("records"):
        variant = {name: line[name] for name in VARIANT}
        alone, chosen = (
            {**variant, **of} for of in (dict.fromkeys(SETTING, 0), {name: line[name] for name in SETTING})
        )
        runs: Runs = {}
        for seed, shares in known.items():
            zero, saved = (_told(entries, outcomes, {**of, "seed": seed}) for of in (alone, chosen))
            if zero is None or saved is None:
                continue
            runs[seed] = {}
            for name, factors in zero.items():
                for label, rows in factors.items():
                    frozen = shares[Key("private", name, label=label, condition=FROZEN)].values  # type: ignore[union-attr]
                    after, before = np.array(saved[name][label]), np.array(rows)
                    for condition, change in ((DESTROYED, before - frozen), (SAVED, after - before),
                                              (LEFT, after - frozen)):  # fmt: skip
                        against = "alignment alone" if condition == SAVED else FROZEN
                        key = Key("private", name, label=label, condition=condition, against=against)
                        runs[seed][key] = PerRow(change, np.arange(n))
        if runs:
            tables.append(_rows(runs, n, resamples, units).assign(**chosen))
    return results_table("pareto", pd.concat(tables, ignore_index=True))


def _rows(runs: Runs, n: int, resamples: int, units: np.ndarray | None) -> pd.DataFrame:
    found = summarise(runs, n, resamples, units=units)
    found = found[found["seed"].isna()].assign(split="test", direction=found["x"])
    return found.drop(columns=["x", "y", "k", "seed"])


def _told(
    entries: Sequence[Entry], outcomes: Sequence[Finished], where: Mapping[str, Any]
) -> dict[str, dict[str, list[float]]] | None:
    """What each test item contributes, side → factor, in the one cell that is asked for; None where it failed."""
    columns = pd.DataFrame([entry.columns for entry in entries]).astype(object)
    wanted = {name: None if pd.isna(value) else value for name, value in where.items()}
    places = select(columns.reindex(columns=[*{*columns, *wanted}]), **wanted).index
    if len(places) != 1 or "error" in outcomes[places[0]]:
        return None
    told: dict[str, dict[str, list[float]]] = outcomes[places[0]]["private"]
    return told
