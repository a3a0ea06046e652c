"""Draw all figures.

Reads   metrics/results.csv, metrics/tables/retrieved.csv, plots/data/curves.csv, data/world/ (samples); where the
        control world has been run, its metrics/tables/when.csv
Writes  plots/figures/*.png

By hand:  python -m stages.plots
"""

import pandas as pd

from jam.data.schema import SPLITS, first_views, read_items, read_rows
from jam.io import atomic_folder
from jam.params import load_params
from jam.report import figures, reality_figures, sweep_figures, world_figures
from jam.report.labels import KINDS, MISMATCHES, label
from jam.report.style import save
from jam.results import read_results, select
from stages.common import METRICS, PLOTS, TABLES, UNIFORM, WORLD, run


def scenes() -> tuple[pd.DataFrame, dict[str, bytes]]:
    """All scenes of pairs, and the images of those of the test split by id."""
    columns = ["id", "context", "state"]
    parts = {split: read_items(WORLD, split, columns).to_pandas() for split in SPLITS}
    images = first_views(WORLD, "image", parts["test"]["id"].tolist())
    return pd.concat(parts.values()), {name: image["bytes"] for name, image in images.items()}


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    results = read_results([METRICS / "results.csv"])
    of = {name: select(results, experiment=name) for name in results["experiment"].unique()}
    evaluated = select(of["evaluate"], subject=tuple(params.spaces))
    names, sides = list(params.spaces), (params.align.x.side, params.align.y.side)
    drawn = {
        "spaces": figures.spaces(evaluated, names, sides),
        "layers": sweep_figures.layers(of["layers"]),
        "scale_heatmap": sweep_figures.scale_maps(of["scale"]),
        "pareto": sweep_figures.pareto(of["pareto"], of["pareto_fronts"]),
        "pareto_heatmap": sweep_figures.pareto_maps(of["pareto"]),
    }
    curves = pd.read_csv(PLOTS / "data" / "curves.csv")
    if len(curves):  # some space is no closed form
        drawn["training_curves"] = figures.training_curves(curves, names)
    if params.dataset.source != "arrays":  # there is something to look at
        if params.dataset.source == "cave":
            rows = read_rows(WORLD, "test", 7)
            drawn["captions"] = world_figures.captions([rows[1], rows[6]])
            drawn["habitats"] = world_figures.habitats(*scenes())
        else:
            drawn["world"] = figures.samples(read_rows(WORLD, "test", 8))
        found = pd.read_csv(TABLES / "retrieved.csv", dtype=str)
        ids = found.filter(like="place_").to_numpy().ravel().tolist()
        drawn["retrieved"] = figures.retrieved(found, first_views(WORLD, "image", ids))
    if len(select(of["scale"], metric="parameters")):  # what the figure is drawn over
        drawn["scale"] = sweep_figures.scale(of["scale"], select(results, experiment="reality"))
    if evaluated["kind"].isin(KINDS).any():  # not only captions of other images
        drawn["hard_negatives"] = figures.hard_negatives(evaluated, names)
    if len(select(of["kernels"], condition=MISMATCHES)):
        last = params.kernels.spaces[-1]
        lines = [(None, "frozen features"), (last, f"after {label(last)}")]
        drawn["fine_detail"] = figures.conditions(of["kernels"], params.kernels.metrics, lines)
    if "reality" in of:  # the state is known
        control = read_results([UNIFORM]) if UNIFORM.is_file() else None
        drawn["reality"] = reality_figures.reality_map(of["reality"])
        drawn["when"] = reality_figures.when(of["when"], control)

    with atomic_folder(PLOTS / "figures") as folder:
        for name, figure in drawn.items():
            save(figure, folder / f"{name}.png")
    return f"{len(drawn)} figures in {PLOTS / 'figures'}"


if __name__ == "__main__":
    run(main)
