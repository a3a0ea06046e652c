"""Gather all results in one table, and those that `dvc plots show` draws.

Reads   metrics/tables/, metrics/curves/: of the names that params.yaml lists, no others
Writes  metrics/results.csv (one row a number, see jam/results.py), plots/data/*.csv

By hand:  python -m stages.collect           collect
          python -m stages.collect --show    print the result table of the last run, collect nothing
"""

from pathlib import Path

import pandas as pd

from jam.errors import InputError
from jam.io import write_csv
from jam.params import Params, load_params
from jam.results import read_results, select, write_union
from stages.common import METRICS, PLOTS, TABLES, run, say

SWEEPS = {
    "layers": ("cells", "frozen", "best", "trends"),
    "scale": ("cells", "frozen", "trends"),
    "pareto": ("cells", "fronts"),
}


def tables(params: Params) -> list[Path]:
    """All tables of results."""
    return [
        *(TABLES / "encoders" / f"{name}.csv" for name in params.encoders),
        *(TABLES / "evaluate" / f"{name}.csv" for name in params.space_names),
        *(TABLES / f"{name}.csv" for name in ("blind", "kernels", "reality", "when")),
        *(TABLES / name / f"{what}.csv" for name, parts in SWEEPS.items() for what in parts),
    ]


def curves(params: Params) -> pd.DataFrame:
    """Training curves, and grids of closed forms, of every space and seed."""
    paths = [METRICS / "curves" / f"{name}.csv" for name in params.space_names]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)")
    told = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    return told if "epoch" in told else told.assign(epoch=pd.NA)  # all are closed forms


def main(show: bool) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    where = f"results in {METRICS / 'results.csv'} and {METRICS}/, figures in {PLOTS}/"
    if show:
        from jam.report.tables import result_table

        say(result_table(read_results([METRICS / "results.csv"]), list(params.spaces)))
        return where
    results, trained = read_results(tables(params)), curves(params)
    means = select(results, experiment="evaluate", seed=None, subject=tuple(params.spaces))
    headline = select(means, metric="recall", k=1), select(means, metric="hard_negatives", tier="hard")
    write_union(METRICS / "results.csv", results)
    drawn = {
        "curves": trained[trained["epoch"].notna()],
        "spaces": pd.concat(headline),
        "hard_negatives": means[means["kind"].notna()],
        "reality": select(
            results, experiment="reality", metric="reality_recall", label="mean", condition="best", against=None
        ),
    }
    for name, table in drawn.items():
        write_csv(PLOTS / "data" / f"{name}.csv", table.dropna(axis="columns", how="all") if len(table) else table)
    return where


if __name__ == "__main__":
    run(main, show="print the result table of the last run")
