"""Gather every result in one tidy table, and say what came out.

Reads   metrics/tables/, metrics/encoders/, metrics/curves/: of the names that params.yaml lists, no others
Writes  metrics/results.csv (one row a number), plots/data/*.csv (what `dvc plots show` draws)

By hand:  python -m stages.collect           collect
          python -m stages.collect --show    print the result table of the last run, collect nothing
"""

import argparse
from pathlib import Path

import pandas as pd

from jam.config import Objective, Params, load_params
from jam.errors import InputError
from jam.io import read_json, write_csv
from jam.report import result_table
from stages.common import METRICS, PLOTS, run, say

COLUMNS = [
    "table",
    "subject",
    "metric",
    "group",
    "seed",
    "value",
    "low",
    "high",
    "interval",
    "null",
    "p_value",
    "n",
    "seeds",
]

# The sweeps, and what tells their cells apart
SWEEPS = {"layers": ["image", "text"], "scale": ["image", "text"], "pareto": ["variant", "lambda", "cross"]}


def read_table(path: Path) -> pd.DataFrame:
    """One table of an earlier stage."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)")
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"seed": str, "group": str})


def evaluations(params: Params) -> pd.DataFrame:
    """Retrieval, hard negatives, preservation and geometry of every method."""
    tables = [read_table(METRICS / "tables" / "evaluate" / f"{name}.csv") for name in params.align.methods]
    return pd.concat(tables, ignore_index=True).fillna({"group": ""})


def curves(params: Params) -> pd.DataFrame:
    """Training curves of every trained method and seed."""
    names = [f"{name}-{seed}" for name in params.align.objectives for seed in params.align.seeds]
    names += [name for name in params.align.baselines if isinstance(params.objectives[name], Objective)]
    return pd.concat([read_table(METRICS / "curves" / f"{name}.csv") for name in names], ignore_index=True)


def encoders(params: Params) -> pd.DataFrame:
    """Held-out quality of every encoder, one row a number."""
    rows = []
    for name in params.encoder_names:
        path = METRICS / "encoders" / f"{name}.json"
        if not path.is_file():
            raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)")
        rows += [{"subject": name, "metric": metric, "value": value} for metric, value in read_json(path).items()]
    return pd.DataFrame(rows)


def sweeps() -> pd.DataFrame:
    """Every cell and every trend of the sweeps, one row a number; cells that failed have none."""
    parts = []
    for name, what in SWEEPS.items():
        cells = read_table(METRICS / "tables" / f"{name}.csv")
        cells = cells[cells["error"].isna()]
        subject = cells[what].astype(str).agg(", ".join, axis=1)
        scores = [column for column in cells if column.startswith(("test_", "val_"))]
        long = cells.assign(subject=subject).melt(["subject", "seed"], scores, "metric", "value")
        parts.append(long.dropna(subset="value").assign(table=name))
    for name in ("layers", "scale"):
        trends = read_table(METRICS / "tables" / f"{name}_trends.csv").dropna(subset="value")
        trends = trends.rename(columns={"predictor": "subject", "outcome": "metric"})
        parts.append(trends.assign(table=f"{name} trends", interval="pigeonhole bootstrap over encoders or layers"))
    raw = read_table(METRICS / "tables" / "scale_kernels.csv")
    parts.append(raw.assign(subject=raw["left"] + " ~ " + raw["right"], table="scale kernels"))
    fronts = read_table(METRICS / "tables" / "pareto_fronts.csv").rename(
        columns={"variant": "subject", "alignment": "group", "hypervolume": "value"}
    )
    parts.append(fronts.assign(table="pareto fronts", metric="hypervolume", interval="t over seeds"))
    return pd.concat(parts, ignore_index=True)


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print the result table of the last run")
    args = parser.parse_args(argv)
    params = load_params()
    where = f"results in {METRICS / 'results.csv'} and {METRICS}/, figures in {PLOTS}/"
    if args.show:
        say(result_table(pd.read_csv(METRICS / "results.csv", dtype={"seed": str, "group": str}), params.align.methods))
        return where

    evaluated, kernels, trained = evaluations(params), read_table(METRICS / "tables" / "kernels.csv"), curves(params)
    kernels["subject"] = kernels["left"] + " ~ " + kernels["right"]
    results = pd.concat(
        [
            encoders(params).assign(table="encoders"),
            evaluated.rename(columns={"method": "subject"}).assign(table="evaluate"),
            kernels.rename(columns={"condition": "group"}).assign(table="kernels"),
            sweeps(),
        ],
        ignore_index=True,
    )
    write_csv(METRICS / "results.csv", results.reindex(columns=COLUMNS))

    means = evaluated[evaluated["seed"] == "mean"]
    shown = means["metric"].isin(["i2t_r1", "t2i_r1"]) | (
        (means["metric"] == "negatives_by_tier") & (means["group"] == "hard")
    )
    write_csv(PLOTS / "data" / "objectives.csv", means[shown])
    write_csv(PLOTS / "data" / "hard_negatives.csv", means[means["metric"] == "negatives_by_kind"])
    write_csv(PLOTS / "data" / "curves.csv", trained)
    write_csv(PLOTS / "data" / "kernels.csv", kernels[kernels["condition"] != "reality"])
    write_csv(PLOTS / "data" / "reality.csv", kernels[kernels["condition"] == "reality"])
    return where


if __name__ == "__main__":
    run(main)
