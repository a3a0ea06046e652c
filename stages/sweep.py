"""One grid of short trainings, and what its cells tell together.

layers  which layers align best, and does their frozen alignment tell?
scale   do bigger or better encoders agree more?
pareto  what does alignment cost each side's own structure?

Reads   data/features/, metrics/tables/encoders/
Writes  metrics/tables/NAME/: cells.csv and, as it has them, frozen.csv, trends.csv, fronts.csv

Finished cells stay in scratch/sweeps/, so that a sweep that was stopped, or one with a layer more, computes only what
is new.

By hand:  python -m stages.sweep layers
"""

import numpy as np
import pandas as pd

from jam.align.rows import one_row_each
from jam.device import pick_device
from jam.errors import InputError
from jam.io import atomic_folder
from jam.parallel import processes
from jam.params import Layer, Params, load_params
from jam.results import read_results, results_table, select, write_results
from jam.sweep import frozen
from jam.sweep.cells import run_sweep
from jam.sweep.fronts import fronts
from jam.sweep.grids import GRIDS
from jam.sweep.table import best_cell, cells_table
from jam.sweep.trends import PROBES, layer_trends, scale_trends
from stages.common import SCRATCH, TABLES, require_listed, run, say
from stages.inputs import layer_path, load_layer

Tables = dict[str, pd.DataFrame]


def first_views(layer: Layer, split: str) -> np.ndarray:
    """The first view of every item of a split, (n, d)."""
    table, index = load_layer(layer)
    return np.array(table[one_row_each(index, split)])


def of_layers(params: Params, cells: pd.DataFrame) -> Tables:
    """Frozen alignment of all layers with a null of its maximum, and how far it tells what comes of training."""
    grid, options = params.sweeps.layers, params.kernels
    rows = []
    for split in ("val", "test"):
        x, y = (
            (side.encoder, {i: first_views(Layer(encoder=side.encoder, layer=i), split) for i in numbers})
            for side, numbers in ((params.align.x, grid.x), (params.align.y, grid.y))
        )
        rows += frozen.layer_rows(x, y, split, options.k, options.permutations, options.seed)
    alike = results_table("layers", rows)
    return {
        "frozen": alike,
        "best": best_cell(cells, len(x[1][grid.x[0]])),
        "trends": layer_trends(pd.concat([cells, alike]), grid.x, grid.y),
    }


def of_scale(params: Params, cells: pd.DataFrame) -> Tables:
    """Frozen alignment of all encoders, their size and quality, and what goes with what."""
    grid, options = params.sweeps.scale, params.kernels.model_dump(exclude={"metrics", "spaces"})
    xs, ys = ({layer.encoder: first_views(layer, "test") for layer in side} for side in (grid.x, grid.y))
    facts = []
    for name in dict.fromkeys([*xs, *ys]):
        told = read_results([TABLES / "encoders" / f"{name}.csv"])
        family = params.encoders[name].family
        for fact, of in (("parameters", {"metric": "parameters"}), ("quality", {"metric": "probe", "label": PROBES})):
            if len(found := select(told, **of)):
                value = float(found["value"].mean())
                facts.append({"subject": name, "metric": fact, "value": value, "family": family})
    alike = results_table("scale", [*facts, *frozen.encoder_rows(xs, ys, **options)])
    return {"frozen": alike, "trends": scale_trends(pd.concat([cells, alike]), list(xs), list(ys))}


def of_pareto(params: Params, cells: pd.DataFrame) -> Tables:
    """The front of each loss."""
    return {"fronts": fronts(cells[cells["error"].isna()])}


EXPERIMENTS = {"trends": "trends", "fronts": "pareto_fronts"}  # that are none of the sweep's own
TOGETHER = {"layers": of_layers, "scale": of_scale, "pareto": of_pareto}


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    require_listed("sweep", name, GRIDS)
    params, workers = load_params(), processes()
    entries = GRIDS[name](params, layer_path)
    say(f"{name}: {len(entries)} cells")
    outcomes = run_sweep(
        [entry.cell for entry in entries], SCRATCH / "sweeps" / name, device=pick_device(), workers=workers, report=say
    )
    cells = cells_table(name, entries, outcomes)
    failed = cells[cells["error"].notna()]
    if len(failed) == len(entries):
        raise InputError(f"none of {len(failed)} cells could be computed; the first: {failed['error'].iloc[0]}")
    for row in failed.dropna(axis="columns").to_dict("records"):
        say(f"{name}: left out: {', '.join(f'{key} {value}' for key, value in row.items() if key != 'experiment')}")
    tables = {"cells": cells, **TOGETHER[name](params, cells)}
    with atomic_folder(TABLES / name) as folder:
        for what, table in tables.items():
            write_results(folder / f"{what}.csv", EXPERIMENTS.get(what, name), table)
    return f"{len(entries) - len(failed)} trainings; all in {TABLES / name}"


if __name__ == "__main__":
    run(main, name="layers, scale or pareto")
