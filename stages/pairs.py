"""How many pairs does it take, by which method, and does raw alignment foretell it? Over all pairs of encoders.

Reads   data/features/ (one view an item), data/world/ (which caption is true of what),
        metrics/tables/reality.csv (recall of reality, a control of the law)
Writes  metrics/tables/pairs.csv, data/pairs/cells.parquet and raw.parquet (a line a couple of encoders)

Encoders are those of the first two modalities, with further seeds; checkpoints and controls stand outside of all
trends. All are aligned on the same items, the first of those that checkpoints and further seeds have features of.

By hand:  python -m stages.pairs
"""

from typing import Any

import pandas as pd

from jam.io import atomic_folder
from jam.parallel import processes
from jam.params import Params, load_params
from jam.results import read_results, results_table, write_results
from jam.sweep.curves import curve_of, point_rows, run_curves
from jam.sweep.law import law_rows, predictors_of, recalls
from jam.sweep.members import Member, answers_of, members, shared_ids
from jam.sweep.pair_rows import Trained, control_rows, curve_rows, needed_rows
from jam.sweep.pairs import raw_alignment, run_grid
from stages.common import FEATURES, PAIRS, TABLES, WORLD, run, say

TABLE = TABLES / "pairs.csv"


def curves(params: Params, xs: list[Member], ys: list[Member]) -> list[dict[str, Any]]:
    """The couples that are named, over more pairs, with trained methods too."""
    grid, options = params.sweeps.pairs, (params.evaluate.resamples, params.kernels.seed)
    named = [curve_of(one.x, one.y, xs, ys, WORLD) for one in grid.curves]
    ns = sorted({*grid.n, *grid.curves_n})
    found = run_curves(named, ns, grid.trained, grid.curves_n, params.training, params.kernels.seed, processes())
    return [row for one, points in zip(named, found, strict=True) for row in point_rows(one, points, *options)]


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    grid, kernels = params.sweeps.pairs, params.kernels
    sides = params.pairs_of_modalities()
    if not sides:
        with atomic_folder(PAIRS) as folder:
            for name in ("cells", "raw"):
                pd.DataFrame().to_parquet(folder / f"{name}.parquet")
        write_results(TABLE, "pairs", [])
        return f"encoders are of one modality; {TABLE} is empty"
    xs, ys = (members(params, FEATURES, names) for names in sides[0])
    ids = shared_ids(WORLD, [*xs, *ys])
    answers = answers_of(WORLD, ids, swapped=xs[0].spec.modality == "text")
    ns = [n for n in grid.n if n <= len(ids["train"])] or [len(ids["train"])]
    seen_x, seen_y = ([(one, one.rows(ids)) for one in side] for side in (xs, ys))
    found = run_grid(seen_x, seen_y, answers, ns, processes())
    say(f"{len(found.cells)} cells of {len(xs)} × {len(ys)} representations on {ns} pairs")
    options = kernels.k, kernels.permutations, kernels.seed
    raw = raw_alignment(seen_x, seen_y, *options, processes())
    rows: list[dict[str, Any]] = [*control_rows(found, params.evaluate.resamples, kernels.seed)]
    # With controls alone on a side there is no trend, and with so few items that one number of pairs fits no curve.
    if len(ns) > 1 and all(any(one.trained for one in side) for side in (xs, ys)):
        of = Trained(found, xs, ys, params.evaluate.resamples, kernels.seed)
        reality = read_results([TABLES / "reality.csv"])
        known = predictors_of(of, raw, recalls(reality, params.encoders))
        rows += [*curve_rows(of), *needed_rows(of), *law_rows(of, known, params.evaluate.resamples, kernels.seed)]
    table = results_table("pairs", rows + curves(params, xs, ys))
    with atomic_folder(PAIRS) as folder:
        found.cells.to_parquet(folder / "cells.parquet")
        raw.to_parquet(folder / "raw.parquet")
    write_results(TABLE, "pairs", table)
    return f"{len(table)} numbers in {TABLE}, all cells in {PAIRS}"


if __name__ == "__main__":
    run(main)
