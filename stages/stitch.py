"""Towers of two multimodal models stitched: whole towers through a map of vectors, and image towers layer by layer.

Reads   data/multimodal/, data/multimodal_features/, data/world/
Writes  metrics/siblings/stitch/NAME.csv: ``condition`` own, stitched, and the controls shuffled, untrained, unmapped;
        with layers where a tower is cut. Rows with ``against`` are paired differences from the own pair of the text
        tower's model (own) or the image tower's (own_x), ``kept`` the share of its score.

By hand:  python -m stages.stitch cave
"""

from typing import Any

import numpy as np
import pandas as pd
import torch

from jam.compare.stitch.layers import Above, Bottoms, Learning, Told, layer_rows, states_of
from jam.compare.stitch.towers import Towers, tower_rows
from jam.data.images import decode_image
from jam.encoders import Encoder
from jam.parallel import in_processes, processes
from jam.params import Stitch, load_params
from jam.results import write_results
from stages.common import MULTIMODAL, SIBLINGS, keyed, require_listed, run, say
from stages.multimodal_inputs import UNTRAINED, first_contents, item_ids, test_draws, untrained, vectors

Row = dict[str, Any]


def whole_towers(name: str) -> list[Row]:
    """Every image tower with every text tower."""
    params = load_params()
    spec = params.stitch[name]
    models = [
        Towers(model, vectors(model, "image"), vectors(model, "text")["test"], untrained(model, "image"))
        for model in spec.models
    ]
    drawn = test_draws(spec.models[0], params.evaluate.resamples)
    return list(tower_rows(models, spec.methods, spec.anchors, drawn, spec.seed))


def images_of(model: str, split: str, most: int | None = None) -> list[Any]:
    """The images of the items that models have rows of, in their order."""
    return [decode_image(each["bytes"]) for each in first_contents("image", split, item_ids(model, split)[:most])]


def by_layer(name: str, below: str, above: str) -> list[Row]:
    """The image tower of one model under that of another."""
    params = load_params()
    spec = params.stitch[name]
    torch.set_num_threads(1)
    shown = {"train": images_of(below, "train", spec.images), "test": images_of(below, "test")}

    def cut(folder: Any) -> tuple[Encoder, Bottoms]:
        encoder = Encoder.load(folder, device="cpu")
        return encoder, Bottoms(*(states_of(encoder, images) for images in shown.values()))

    (_, a), (encoder, b) = (cut(MULTIMODAL / model / "image") for model in (below, above))
    start = MULTIMODAL / below / "image" / UNTRAINED
    bare = cut(start)[1] if start.is_dir() else None
    texts = vectors(above, "text")
    told = Told(texts["train"][: spec.images], texts["test"])
    trained = None if spec.trained is None else Learning(**spec.trained.model_dump())
    how: dict[str, Any] = {"methods": spec.methods, "learning": trained, "seed": spec.seed}
    rows = layer_rows(a, Above(encoder, b, told), bare, drawn=test_draws(above, params.evaluate.resamples), **how)
    return [{"x": below, "y": above, **row} for row in rows]


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    require_listed("stitch", name, load_params().stitch)
    spec: Stitch = load_params().stitch[name]
    calls: list[tuple[Any, ...]] = [("towers", whole_towers, name)]
    calls += [(f"{pair.bottom} under {pair.top}", by_layer, name, pair.bottom, pair.top) for pair in spec.layers]
    found: dict[str, list[Row]] = {}
    for what, rows in in_processes(keyed, calls, min(processes(), len(calls))):
        found[what] = rows
        say(f"{what}: {len(rows)} numbers")
    table = pd.DataFrame([row for what, *_ in calls for row in found[what]])
    path = SIBLINGS / "stitch" / f"{name}.csv"
    write_results(path, "stitch", table.assign(split="test", seeds=np.where(table["n"].notna(), 1, 0)))
    return f"{len(table)} numbers in {path}"


if __name__ == "__main__":
    run(main, name="a name among the entries of stitch of params.yaml")
