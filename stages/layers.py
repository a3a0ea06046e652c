"""Which layers align best? JAM on every vision layer × every text layer, and the raw kernel alignment beside each.

Reads   data/features/{image encoder}/, data/features/{text encoder}/ (those that align names)
Writes  metrics/tables/layers.csv (a row a cell), metrics/tables/layers_trends.csv (does raw alignment tell?),
        metrics/layers.json (the headline), plots/layers.png

The best pair of layers is the one of the highest validation recall; it is reported on test rows. Raw alignment is
measured on validation rows, before any training, and compared with what JAM reaches on test rows.

By hand:  python -m stages.layers
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from jam import sweep_plots
from jam.config import Layer, Params, load_params
from jam.errors import InputError
from jam.features import FeatureStore
from jam.io import write_csv, write_json
from jam.metrics import grid_rank_correlation, layer_alignment, wilson_interval
from jam.metrics.kernels import LayerAlignment
from jam.pairing import one_row_each, varies
from jam.plots import save
from jam.sweep import Cell
from stages.common import FEATURES, METRICS, PLOTS, run
from stages.inputs import layer_path
from stages.sweeps import GRAM, OUTCOMES, RAW, TITLES, short_training, sweep, told


def raw_alignment(params: Params, split: str) -> LayerAlignment:
    """Kernel alignment of all pairs of layers before any training; of the Gram metrics with the null of its maximum.

    SVCCA has none: thousands of singular value decompositions would take longer than all trainings of the sweep.
    """

    def features(encoder: str, numbers: Sequence[int]) -> list[np.ndarray]:
        store = FeatureStore.load(FEATURES / encoder)
        rows = one_row_each(store.index, split)
        found = [np.array(store.layer(number)[rows]) for number in numbers]
        same = [number for number, layer in zip(numbers, found, strict=True) if not varies(layer)]
        if same:
            raise InputError(f"layers: {encoder} has one and the same row throughout in layers {same}; leave them out")
        return found

    images = features(params.align.image.encoder, params.layers.image)
    texts = features(params.align.text.encoder, params.layers.text)
    options = params.kernels
    gram = layer_alignment(images, texts, GRAM, options.k, permutations=options.permutations, seed=options.seed)
    svcca = layer_alignment(images, texts, ("svcca",))
    return replace(gram, scores=gram.scores | svcca.scores, best=gram.best | svcca.best)


def cells(params: Params) -> tuple[list[dict[str, int]], list[Cell]]:
    """What each cell is, and its training."""
    objective, training = short_training(params)
    what, found = [], []
    for image, text, seed in product(params.layers.image, params.layers.text, params.layers.seeds):
        image_path = layer_path(Layer(encoder=params.align.image.encoder, layer=f"{image:02d}"))
        text_path = layer_path(Layer(encoder=params.align.text.encoder, layer=f"{text:02d}"))
        what.append({"image": image, "text": text, "seed": seed})
        found.append(Cell(image_path, text_path, objective, training, seed, params.evaluate.k))
    return what, found


def grid(table: pd.DataFrame, column: str, params: Params) -> np.ndarray:
    """Means over seeds of a column, vision layers × text layers."""
    means = table.groupby(["image", "text"])[column].mean().unstack()
    return means.reindex(index=list(params.layers.image), columns=list(params.layers.text)).to_numpy()


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    params = load_params()
    raw, raw_test = raw_alignment(params, "val"), raw_alignment(params, "test")
    table = sweep("layers", *cells(params))
    places = [
        (params.layers.image.index(i), params.layers.text.index(t))
        for i, t in zip(table["image"], table["text"], strict=True)
    ]
    for metric in RAW:
        table[f"val_raw_{metric}"] = [raw.scores[metric][place] for place in places]
        table[f"test_raw_{metric}"] = [raw_test.scores[metric][place] for place in places]

    trends = []
    for metric, outcome in product(RAW, told(table, OUTCOMES)):
        before, after = raw.scores[metric], grid(table, outcome, params)
        # Depth of the image layer moves everything; what is left of a score within one image layer may tell otherwise.
        within = (values - np.nanmean(values, axis=1, keepdims=True) for values in (before, after))
        for name, found in (
            (f"raw {metric}", grid_rank_correlation(before, after)),
            (f"raw {metric}, within an image layer", grid_rank_correlation(*within)),
        ):
            trends.append({"predictor": name, "outcome": outcome, **vars(found)})
    means = table[table["error"] == ""].groupby(["image", "text"]).mean(numeric_only=True)
    best = means["val_recall"].idxmax()
    n = raw_test.n
    low, high = wilson_interval(round(means.loc[best, "test_i2t_r1"] * n), n)
    headline = {
        "image": best[0], "text": best[1], "val_recall": means.loc[best, "val_recall"],
        "i2t_r1": means.loc[best, "test_i2t_r1"], "i2t_low": low, "i2t_high": high,
        "t2i_r1": means.loc[best, "test_t2i_r1"], "n": n, "failed": int((table["error"] != "").sum()),
    }  # fmt: skip
    if told(means, ["test_hard_negatives"]):
        headline["hard_negatives"] = means.loc[best, "test_hard_negatives"]
    for metric in GRAM:
        top = raw.best[metric]
        headline[f"raw_{metric}"] = {
            "image": params.layers.image[top.layers[0]], "text": params.layers.text[top.layers[1]],
            "score": top.score, "calibrated": top.calibrated, "p_value": top.p_value,
        }  # fmt: skip

    write_csv(METRICS / "tables" / "layers.csv", table)
    write_csv(METRICS / "tables" / "layers_trends.csv", pd.DataFrame(trends))
    write_json(METRICS / "layers.json", headline)
    panels = {TITLES[score]: grid(table, score, params) for score in told(table, tuple(TITLES))}
    panels |= {"raw mutual kNN": raw.scores["mutual_knn"], "raw CKA (unbiased)": raw.scores["unbiased_cka"]}
    names = (f"{params.align.image.encoder}, layer", f"{params.align.text.encoder}, layer")
    frame = (params.layers.image.index(best[0]), params.layers.text.index(best[1]))
    rows, columns = map(str, params.layers.image), map(str, params.layers.text)
    figure = sweep_plots.heatmaps(panels, list(rows), list(columns), names, frame)
    save(figure, PLOTS / "layers.png")
    where = METRICS / "tables" / "layers.csv"
    return f"best on validation rows: image layer {best[0]}, text layer {best[1]}; all in {where}"


if __name__ == "__main__":
    run(main)
