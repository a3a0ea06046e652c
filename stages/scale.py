"""Do bigger or better encoders agree more, with each other and with reality? JAM on every pair of encoders.

Reads   data/features/, metrics/encoders/ (parameters and held-out quality), data/pairs/test.parquet (the true state)
Writes  metrics/tables/scale.csv (a row a pair and seed), scale_encoders.csv (size and quality), scale_kernels.csv (raw
        alignment of pairs, and of each encoder with reality), scale_trends.csv; plots/scale.png, scale_heatmap.png

An encoder's quality is the mean accuracy of linear probes for the attributes of unseen scenes, on its last layer.

By hand:  python -m stages.scale
"""

import argparse
from itertools import product

import numpy as np
import pandas as pd

from jam import sweep_plots
from jam.config import Layer, Params, load_params
from jam.data.schema import read_pairs
from jam.errors import InputError
from jam.io import read_json, write_csv
from jam.metrics import grid_rank_correlation
from jam.metrics.kernels import kernel_table
from jam.pairing import one_row_each
from jam.plots import save
from jam.sweep import Cell
from stages.common import METRICS, PAIRS, PLOTS, run
from stages.inputs import layer_path, load_layer
from stages.sweeps import GRAM, OUTCOMES, RAW, TITLES, short_training, sweep, told

PROBES = ("probe_digit", "probe_color", "probe_size", "probe_height")


def cells(params: Params) -> tuple[list[dict[str, object]], list[Cell]]:
    """What each cell is, and its training."""
    objective, training = short_training(params)
    what: list[dict[str, object]] = []
    found = []
    for image, text, seed in product(params.scale.image, params.scale.text, params.scale.seeds):
        what.append({"image": image.encoder, "text": text.encoder, "seed": seed})
        found.append(Cell(layer_path(image), layer_path(text), objective, training, seed, params.evaluate.k))
    return what, found


def encoders(params: Params) -> pd.DataFrame:
    """Family, size and held-out quality of every encoder of the study; quality is NaN where the data has no labels."""
    rows = []
    for side in ("image", "text"):
        for layer in getattr(params.scale, side):
            path = METRICS / "encoders" / f"{layer.encoder}.json"
            if not path.is_file():
                raise InputError(f"{path}: no such file; run the features stage of {layer.encoder} (dvc repro)")
            told = read_json(path)
            quality = float(np.mean([told.get(probe, np.nan) for probe in PROBES]))
            spec = params.encoders[layer.encoder]
            pretraining = spec.vision or spec.text
            family = pretraining.objective if pretraining else spec.source
            rows.append((layer.encoder, side, family, told["parameters"], quality))
    columns = ["encoder", "side", "family", "parameters", "quality"]
    return pd.DataFrame(rows, columns=columns).set_index("encoder")


def kernels(params: Params) -> pd.DataFrame:
    """Raw alignment on test rows: of every pair, and of every encoder with the true state where it is known."""
    options = params.kernels.model_dump(exclude={"metrics"})

    def features(layer: Layer) -> np.ndarray:
        table, index = load_layer(layer)
        return np.array(table[one_row_each(index, "test")])

    images, texts = (
        {layer.encoder: features(layer) for layer in side} for side in (params.scale.image, params.scale.text)
    )
    compared = [(images, texts)]
    states = read_pairs(PAIRS / "test.parquet", ["reality"]).column("reality")
    if states.null_count == 0:
        compared.append(({**images, **texts}, {"reality": np.array(states.to_pylist(), dtype=np.float32)}))
    # SVCCA takes a singular value decomposition a permutation: 20, the fewest that can tell 5 %.
    few = {**options, "permutations": min(20, options["permutations"])}
    tables = [kernel_table(*pair, GRAM, **options) for pair in compared]
    tables += [kernel_table(*pair, ("svcca",), **few) for pair in compared]
    return pd.concat(tables, ignore_index=True)


def trends(table: pd.DataFrame, raw: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of each outcome with the size and the quality of the encoders of each side."""
    images, texts = ([name for name in found.index if found["side"][name] == side] for side in ("image", "text"))
    scores = told(table, OUTCOMES)
    outcomes = {name: table.groupby(["image", "text"])[name].mean().unstack() for name in scores}
    for metric in RAW:
        outcomes[f"raw {metric}"] = raw[raw["metric"] == metric].pivot(index="x", columns="y", values="value")
    rows = []

    def add(predictor: str, x: np.ndarray, outcome: str, y: np.ndarray) -> None:
        if min(np.isfinite(np.broadcast_to(x, y.shape) + y).sum(), y.size) >= 2:
            rows.append({"predictor": predictor, "outcome": outcome, **vars(grid_rank_correlation(x, y))})

    for outcome, values in outcomes.items():
        grid = values.reindex(index=images, columns=texts).to_numpy()
        for what in ("parameters", "quality"):
            add(f"image {what}", found.loc[images, what].to_numpy()[:, None], outcome, grid)
            add(f"text {what}", found.loc[texts, what].to_numpy()[None, :], outcome, grid)
        if outcome.startswith("raw"):
            for score in scores:
                add(outcome, grid, score, outcomes[score].reindex(index=images, columns=texts).to_numpy())
    reality = raw[raw["y"] == "reality"]
    for metric, (side, names), what in product(RAW, (("image", images), ("text", texts)), ("parameters", "quality")):
        values = reality[reality["metric"] == metric].set_index("x")["value"].reindex(names).to_numpy()
        add(f"{side} {what}", found.loc[names, what].to_numpy()[:, None], f"reality {metric}", values[:, None])
    return pd.DataFrame(rows, columns=["predictor", "outcome", "value", "low", "high", "p_value", "n"])


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    params = load_params()
    found, raw = encoders(params), kernels(params)
    table = sweep("scale", *cells(params))
    write_csv(METRICS / "tables" / "scale.csv", table)
    write_csv(METRICS / "tables" / "scale_encoders.csv", found.reset_index())
    write_csv(METRICS / "tables" / "scale_kernels.csv", raw.rename(columns={"x": "left", "y": "right"}))
    write_csv(METRICS / "tables" / "scale_trends.csv", trends(table, raw, found))
    save(sweep_plots.scale(table, raw, found), PLOTS / "scale.png")
    images, texts = ([layer.encoder for layer in side] for side in (params.scale.image, params.scale.text))
    maps = {
        TITLES[score]: table.groupby(["image", "text"])[score].mean().unstack().reindex(index=images, columns=texts)
        for score in told(table, tuple(TITLES))
    }
    for metric, title in (("mutual_knn", "raw mutual kNN"), ("unbiased_cka", "raw CKA (unbiased)")):
        values = raw[raw["metric"] == metric].pivot(index="x", columns="y", values="value")
        maps[title] = values.reindex(index=images, columns=texts)
    panels = {title: values.to_numpy() for title, values in maps.items()}
    figure = sweep_plots.heatmaps(panels, images, texts, ("vision encoder", "text encoder"))
    save(figure, PLOTS / "scale_heatmap.png")
    return f"{len(table)} trainings; all in {METRICS / 'tables' / 'scale.csv'}"


if __name__ == "__main__":
    run(main)
