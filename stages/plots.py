"""Draw the figures of the README.

Reads   plots/data/*.csv, data/pairs/test.parquet (samples)
Writes  plots/figures/*.png

By hand:  python -m stages.plots
"""

import argparse

import pandas as pd

from jam import plots
from jam.config import load_params
from jam.data.schema import read_pairs
from jam.io import atomic_folder
from stages.common import PAIRS, PLOTS, run


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    params = load_params()
    methods = params.align.methods
    text = {"group": str, "seed": str}
    data = {
        name: pd.read_csv(PLOTS / "data" / f"{name}.csv", dtype=text, keep_default_na=False, na_values=[""])
        for name in ("objectives", "hard_negatives", "curves", "kernels", "reality")
    }
    for name in ("objectives", "hard_negatives"):
        data[name]["group"] = data[name]["group"].fillna("")

    figures = {
        "objectives": plots.objectives(data["objectives"], methods),
        "training_curves": plots.training_curves(data["curves"]),
    }
    kinds = [kind for kind in plots.NEGATIVE_KINDS if kind in set(data["hard_negatives"]["group"])]
    if kinds:
        figures["hard_negatives"] = plots.hard_negatives(data["hard_negatives"], methods, kinds)
    mismatched = data["kernels"][data["kernels"]["condition"].isin(["matched", "hard", "easy"])]
    if len(mismatched):
        best = params.align.objectives[-1]
        rows = [("frozen", "frozen features"), (best, f"after {plots.label(best)}")]
        figures["fine_detail"] = plots.conditions(mismatched, params.kernels.metrics, rows)
    if len(data["reality"]):
        vision, language = params.names("vision"), params.names("text")
        subjects = [(name, name, plots.BLUE) for name in vision] + [(name, name, plots.ORANGE) for name in language]
        for objective in params.align.objectives:
            for side in ("image", "text"):
                subjects.append((f"{objective}/{side}", f"{plots.label(objective)}, {side}", plots.GREEN))
        figures["reality"] = plots.reality(data["reality"], params.kernels.metrics, subjects)
    samples = read_pairs(PAIRS / "test.parquet").slice(0, 8).to_pylist()
    figures["world"] = plots.samples(samples)

    with atomic_folder(PLOTS / "figures") as folder:
        for name, figure in figures.items():
            plots.save(figure, folder / f"{name}.png")
    return f"{len(figures)} figures in {PLOTS / 'figures'}"


if __name__ == "__main__":
    run(main)
