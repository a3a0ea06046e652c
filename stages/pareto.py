"""What does alignment cost each modality's own structure? A grid of losses, α, λ and cross-reconstruction.

Reads   the two layers that align names
Writes  metrics/tables/pareto.csv (a row a cell), metrics/tables/pareto_fronts.csv (hypervolume and front of each loss),
        plots/pareto.png, plots/pareto_heatmap.png

Two goals, both to be maximised: alignment (test recall, and hard-negative accuracy beside it) and preservation (mutual
kNN between features and latents, mean of both modalities). Which settings are on a front is decided on validation rows;
the front's hypervolume is measured on test rows, seed by seed.

By hand:  python -m stages.pareto
"""

import argparse
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from jam import sweep_plots
from jam.config import Objective, Params, load_params
from jam.io import write_csv
from jam.metrics import hypervolume, pareto_front, t_interval
from jam.plots import save
from jam.sweep import Cell
from stages.common import METRICS, PLOTS, run
from stages.inputs import layer_path
from stages.sweeps import short_training, sweep, told

ALIGNMENTS = ("recall", "hard_negatives")
TITLES = {
    "test_recall": "recall", "test_hard_negatives": "hard negatives", "test_preservation": "preservation",
    "test_r2_image": "R² of image features",
}  # fmt: skip
ORIGIN = {"recall": 0.0, "hard_negatives": 0.5}  # chance: what the hypervolume is measured from


def settings(params: Params) -> list[dict[str, Any]]:
    """Every setting of the grid: its loss, with α in its name where there is one, λ and cross-reconstruction."""
    grid = params.pareto
    variants: list[tuple[str, str, tuple[Any, ...]]] = []
    for loss in grid.losses:
        if loss == "spread":
            variants += [(f"{loss} α {_arrow(alpha)}", loss, (alpha,)) for alpha in grid.alphas]
        else:
            variants.append((loss, loss, ()))
    found = []
    for (variant, loss, alphas), weights, cross in product(variants, grid.reconstruction, grid.cross):
        if weights == (0, 0) and cross != grid.cross[0]:
            continue  # nothing is reconstructed: cross-reconstruction changes nothing
        found.append({"variant": variant, "loss": loss, "alphas": alphas, "reconstruction": weights, "cross": cross})
    return found


def _arrow(value: float | tuple[float, float]) -> str:
    """``0.5``, or ``0.1→0.9`` of a curriculum."""
    return "→".join(f"{end:g}" for end in (value if isinstance(value, tuple) else (value,)))


def cells(params: Params) -> tuple[list[dict[str, Any]], list[Cell]]:
    """What each cell is, and its training."""
    base, training = short_training(params)
    image, text = layer_path(params.align.image), layer_path(params.align.text)
    what, found = [], []
    for setting, seed in product(settings(params), params.pareto.seeds):
        first, last = setting["reconstruction"]
        changes = {
            "loss": setting["loss"], "alphas": setting["alphas"], "reconstruction": setting["reconstruction"],
            "cross_reconstruction": setting["cross"],
        }  # fmt: skip
        objective = Objective.model_validate({**base.model_dump(), **changes})
        what.append(
            {"variant": setting["variant"], "lambda": f"{first:g}→{last:g}", "cross": setting["cross"], "seed": seed}
        )
        found.append(Cell(image, text, objective, training, seed, params.evaluate.k))
    return what, found


def fronts(table: pd.DataFrame) -> pd.DataFrame:
    """For each loss and each measure of alignment: the settings on its front, and the hypervolume over seeds."""
    rows = []
    measures = [name for name in ALIGNMENTS if told(table, [f"test_{name}"])]
    for (variant, mine), alignment in product(table.groupby("variant", sort=False), measures):
        goals = [f"{alignment}", "preservation"]
        means = mine.groupby(["lambda", "cross"], sort=False)[[f"val_{goal}" for goal in goals]].mean()
        front = means.index[pareto_front(means.to_numpy())]
        volumes = []
        for _, run_ in mine.groupby("seed"):
            points = run_.set_index(["lambda", "cross"]).reindex(front)[[f"test_{goal}" for goal in goals]].dropna()
            if len(points):
                volumes.append(hypervolume(points.to_numpy(), [ORIGIN[alignment], 0.0]))
        low, high = t_interval(volumes) if len(volumes) > 1 else (np.nan, np.nan)
        names = "; ".join(f"λ {weights}{' cross' if cross else ''}" for weights, cross in front)
        rows.append(
            {
                "variant": variant, "alignment": alignment, "hypervolume": float(np.mean(volumes)), "low": low,
                "high": high, "seeds": len(volumes), "settings": len(means), "front": names,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    table = sweep("pareto", *cells(load_params()))
    done = table[table["error"] == ""]
    volumes = fronts(done)
    write_csv(METRICS / "tables" / "pareto.csv", table)
    write_csv(METRICS / "tables" / "pareto_fronts.csv", volumes)
    save(sweep_plots.pareto(done, volumes), PLOTS / "pareto.png")
    done = done.assign(setting="λ " + done["lambda"] + np.where(done["cross"] > 0, "\ncross", ""))
    variants, weights = (list(dict.fromkeys(done[column])) for column in ("variant", "setting"))
    maps = {
        title: done.groupby(["variant", "setting"])[score].mean().unstack().reindex(index=variants, columns=weights)
        for score, title in TITLES.items()
        if told(done, [score])
    }
    figure = sweep_plots.heatmaps(
        {title: values.to_numpy() for title, values in maps.items()}, variants, weights, ("loss", "reconstruction")
    )
    save(figure, PLOTS / "pareto_heatmap.png")
    best = volumes[volumes["alignment"] == "recall"].sort_values("hypervolume").iloc[-1]
    return f"largest hypervolume: {best['variant']}; all in {METRICS / 'tables' / 'pareto.csv'}"


if __name__ == "__main__":
    run(main)
