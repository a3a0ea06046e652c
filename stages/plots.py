"""Draw the figures of the paper's questions, and write the data of those that `dvc plots show` draws.

Reads   metrics/tables/, metrics/curves/, data/world/ (samples); where the control world was run, its
        metrics/tables/when.csv
Writes  plots/figures/*.png, plots/data/*.csv

By hand:  python -m stages.plots
"""

import pandas as pd

from jam.data.schema import SPLITS, first_views, read_items, read_rows
from jam.io import atomic_folder, write_csv
from jam.params import Params, load_params
from jam.report import (
    audit_figure,
    figures,
    pair_figures,
    pareto_figures,
    reality_figures,
    sweep_figures,
    world_figures,
)
from jam.report.depth_figures import depth
from jam.report.labels import KINDS, MISMATCHES, label
from jam.report.style import save
from jam.results import read_results, select
from stages.common import PLOTS, TABLES, UNIFORM, WORLD, run
from stages.results import curves, tables


def scenes() -> tuple[pd.DataFrame, dict[str, bytes]]:
    """All scenes of pairs, and the images of those of the test split by id."""
    columns = ["id", "context", "state"]
    parts = {split: read_items(WORLD, split, columns).to_pandas() for split in SPLITS}
    images = first_views(WORLD, "image", parts["test"]["id"].tolist())
    return pd.concat(parts.values()), {name: image["bytes"] for name, image in images.items()}


def plot_data(params: Params, results: pd.DataFrame, epochs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What `dvc plots show` draws, by the name of its file."""
    means = select(
        results, experiment="evaluate", seed=None, subject=tuple(params.spaces), condition=None, against=None
    )
    headline = select(means, metric="recall", k=1), select(means, metric="hard_negatives", tier="hard")
    recall = {"metric": "reality_recall", "label": "mean", "condition": "best", "against": None}
    return {
        "curves": epochs,
        "spaces": pd.concat(headline),
        "hard_negatives": means[means["kind"].notna()],
        "reality": select(results, experiment="reality", **recall),
    }


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    results, trained = read_results(tables(params)), curves(params)
    of = {name: select(results, experiment=name) for name in results["experiment"].unique()}
    evaluated = select(of["evaluate"], subject=tuple(params.spaces))
    names, sides = list(params.spaces), (params.align.x.side, params.align.y.side)
    drawn = {
        "spaces": figures.spaces(evaluated, names, sides),
        "layers": depth(of["layers"]),
        "layers_trained": sweep_figures.layers(of["layers"]),
        "pareto": pareto_figures.pareto(of["pareto"]),
        "pareto_heatmap": sweep_figures.pareto_maps(of["pareto"]),
    }
    if len(select(of["pareto"], condition="left")):  # something is private
        drawn["private"] = pareto_figures.private(of["pareto"])
    epochs = trained[trained["epoch"].notna() & trained["kept"]]
    if len(epochs):  # some space is no closed form
        drawn["training_curves"] = figures.training_curves(epochs, names)
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
    if "pairs" in of and len(select(of["pairs"], condition=("mean", "curve"))):
        drawn["pairs"] = pair_figures.pairs(of["pairs"])
    if "scale" in of and len(select(of["scale"], effect="none")):
        drawn["scale"] = pair_figures.scale(of["scale"])
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
        drawn["audit"] = audit_figure.audit(of["audit"])

    for name, table in plot_data(params, results, epochs).items():
        write_csv(PLOTS / "data" / f"{name}.csv", table.dropna(axis="columns", how="all") if len(table) else table)
    with atomic_folder(PLOTS / "figures") as folder:
        for name, figure in drawn.items():
            save(figure, folder / f"{name}.png")
    return f"{len(drawn)} figures in {PLOTS / 'figures'}"


if __name__ == "__main__":
    run(main)
