"""What size, objective, stage of training and seed of encoders do to what alignment can bring, and to raw alignment.

Reads   data/pairs/ (closed forms of all couples of encoders), data/features/
Writes  metrics/tables/scale/: effects.csv; cells.csv and trends.csv, of JAM's trainings on some couples and whether
        the closed form stands for them

Finished trainings stay in scratch/sweeps/scale/.

By hand:  python -m stages.scale
"""

import pandas as pd

from jam.device import pick_device
from jam.io import atomic_folder
from jam.parallel import processes
from jam.params import load_params
from jam.results import write_results
from jam.sweep.cells import run_sweep
from jam.sweep.grids import scale
from jam.sweep.scale import effect_rows, stands_for, unit_rows, units_of
from jam.sweep.table import cells_table
from stages.common import PAIRS, SCRATCH, TABLES, run, say
from stages.inputs import layer_path

FOLDER = TABLES / "scale"


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    entries = scale(params, layer_path)
    outcomes = run_sweep(
        [entry.cell for entry in entries],
        SCRATCH / "sweeps/scale",
        device=pick_device(),
        workers=processes(),
        report=say,
    )
    trained = cells_table("scale", entries, outcomes)
    for error in trained["error"].dropna().unique():
        say(f"scale: left out: {error}")
    closed, raw = (pd.read_parquet(PAIRS / f"{name}.parquet") for name in ("cells", "raw"))
    units = units_of(closed, raw, params.encoders) if len(closed) else []
    pairs = int(closed["pairs"].max()) if len(closed) else 0
    with atomic_folder(FOLDER) as folder:
        write_results(folder / "cells.csv", "scale", trained)
        write_results(folder / "effects.csv", "scale", [*effect_rows(units, pairs), *unit_rows(units, pairs)])
        write_results(folder / "trends.csv", "trends", stands_for(trained, closed) if len(closed) else [])
    return f"{len(units)} encoders and checkpoints, {len(entries)} trainings; all in {FOLDER}"


if __name__ == "__main__":
    run(main)
