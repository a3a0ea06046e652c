"""One grid of short trainings, and what its cells tell together.

layers  which layers align best, and does their frozen alignment tell?
pareto  what does alignment destroy of what is private to each side, and what does reconstruction save?

Reads   data/features/, data/world/
Writes  metrics/tables/NAME/: cells.csv and, as it has them, frozen.csv, trends.csv, fronts.csv, private.csv

Finished cells stay in scratch/sweeps/, so that a sweep that was stopped, or one with a layer more, computes only what
is new.

By hand:  python -m stages.sweep layers
"""

from jam.device import pick_device
from jam.errors import InputError
from jam.io import atomic_folder
from jam.parallel import processes
from jam.params import load_params
from jam.results import write_results
from jam.sweep.cells import run_sweep
from jam.sweep.grids import GRIDS
from jam.sweep.table import cells_table
from stages.common import SCRATCH, TABLES, require_listed, run, say
from stages.inputs import layer_path
from stages.sweep_tables import of_layers, of_pareto

EXPERIMENTS = {"trends": "trends", "fronts": "pareto_fronts"}  # that are none of the sweep's own
TOGETHER = {"layers": of_layers, "pareto": of_pareto}


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    require_listed("sweep", name, TOGETHER)
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
    tables = {"cells": cells, **TOGETHER[name](params, cells, entries, outcomes)}
    with atomic_folder(TABLES / name) as folder:
        for what, table in tables.items():
            write_results(folder / f"{what}.csv", EXPERIMENTS.get(what, name), table)
    return f"{len(entries) - len(failed)} trainings; all in {TABLES / name}"


if __name__ == "__main__":
    run(main, name="layers or pareto")
