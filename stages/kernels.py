"""Kernel alignment on test rows: between frozen encoders, before and after alignment, and with reality.

Reads   data/features/, data/adapters/ (first seed), data/pairs/test.parquet (the true state)
Writes  metrics/tables/kernels.csv (each score with interval and null)

Three questions, in the column ``condition``:
  encoders               how alike are a frozen vision and a frozen text encoder?
  matched, hard, easy    images against their captions, against captions with one thing changed, against captions of
                         other scenes, frozen and aligned: does the metric see fine detail? (JAM's first figure)
  reality                how alike are a representation and the true state of the world?

Each encoder is seen at one layer, chosen on validation rows: the one with the highest mutual kNN with the other
modality, each encoder of that modality at its own best layer. A text is an image's first caption.

By hand:  python -m stages.kernels
"""

import argparse
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from jam.config import Params, load_params
from jam.data.schema import read_pairs
from jam.features import FeatureStore
from jam.io import write_csv
from jam.metrics import layer_alignment
from jam.metrics.kernels import kernel_table
from jam.models import Adapter
from jam.pairing import mismatched_rows, one_row_each, varies
from stages.common import ADAPTERS, FEATURES, METRICS, PAIRS, run, say
from stages.inputs import load_layer


def choose_layers(stores: dict[str, FeatureStore], params: Params) -> dict[str, int]:
    """For each encoder the layer with the highest mutual kNN with the other modality, on validation rows.

    Layers that are the same for all rows take no part.
    """
    layers: dict[str, dict[int, np.ndarray]] = {}
    for name, store in stores.items():
        rows = one_row_each(store.index, "val")
        found = {i: np.array(store.layer(i)[rows]) for i in range(store.layers)}
        layers[name] = {i: features for i, features in found.items() if varies(features)}
    totals = {name: np.zeros(len(found)) for name, found in layers.items()}
    for vision in params.names("vision"):
        for text in params.names("text"):
            images, texts = (list(layers[name].values()) for name in (vision, text))
            scores = layer_alignment(images, texts, ("mutual_knn",), params.kernels.k).scores["mutual_knn"]
            totals[vision] += scores.max(axis=1)
            totals[text] += scores.max(axis=0)
    return {name: list(layers[name])[int(total.argmax())] for name, total in totals.items()}


def aligned_texts(params: Params) -> Iterator[tuple[str, np.ndarray, dict[str, np.ndarray]]]:
    """The aligned layers frozen and under each objective: subject, images, and texts by condition."""
    images, image_index = load_layer(params.align.image)
    texts, text_index = load_layer(params.align.text)
    image_rows, text_rows = mismatched_rows(image_index, text_index, "test")
    n, fewest = len(image_rows), max(params.kernels.k + 1, 4)
    if n - math.ceil(n / params.kernels.folds) < fewest:
        if n:
            say(f"matched, hard and easy pairs left out: {n} test images have hard negatives, too few for k and folds")
        return
    yield "frozen", images[image_rows], {condition: texts[rows] for condition, rows in text_rows.items()}
    for objective in params.align.objectives:
        folder = ADAPTERS / objective / str(params.align.seeds[0])
        image, text = Adapter.load(folder / "image"), Adapter.load(folder / "text")
        yield (
            objective,
            image.encode(images[image_rows]),
            {condition: text.encode(texts[rows]) for condition, rows in text_rows.items()},
        )


def representations(params: Params, stores: dict[str, FeatureStore], chosen: dict[str, int]) -> dict[str, np.ndarray]:
    """Test rows of every frozen encoder at its chosen layer, and of both sides of every objective."""
    found = {name: store.layer(chosen[name])[one_row_each(store.index, "test")] for name, store in stores.items()}
    for objective in params.align.objectives:
        for side, layer in (("image", params.align.image), ("text", params.align.text)):
            features = stores[layer.encoder].layer(int(layer.layer))[one_row_each(stores[layer.encoder].index, "test")]
            adapter = Adapter.load(ADAPTERS / objective / str(params.align.seeds[0]) / side)
            found[f"{objective}/{side}"] = adapter.encode(features)
    return found


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    params = load_params()
    options = params.kernels.model_dump()
    metrics = options.pop("metrics")
    stores = {name: FeatureStore.load(FEATURES / name) for name in params.encoder_names}
    chosen = choose_layers(stores, params)
    say(f"layers chosen on validation rows: {chosen}")
    found = representations(params, stores, chosen)

    def score(xs: dict[str, np.ndarray], ys: dict[str, np.ndarray]) -> pd.DataFrame:
        return kernel_table(xs, ys, metrics, **options).rename(columns={"x": "left", "y": "right"})

    tables = [
        score({n: found[n] for n in params.names("vision")}, {n: found[n] for n in params.names("text")}).assign(
            condition="encoders"
        )
    ]
    for subject, images, texts in aligned_texts(params):
        tables.append(score({subject: images}, texts).assign(condition=lambda table: table["right"]))
        say(f"{subject}: matched, easy and hard pairs scored")
    states = read_pairs(PAIRS / "test.parquet", ["reality"]).column("reality")
    if states.null_count == 0:
        reality = np.array(states.to_pylist(), dtype=np.float32)
        tables.append(score(found, {"reality": reality}).assign(condition="reality"))

    table = pd.concat(tables, ignore_index=True)
    table["layer"] = table["left"].map(lambda name: str(chosen.get(name, "")))
    write_csv(METRICS / "tables" / "kernels.csv", table)
    return f"{len(table)} scores in {METRICS / 'tables' / 'kernels.csv'}"


if __name__ == "__main__":
    run(main)
