"""Encode all views of one encoder's modality, every layer in one pass; of a language model, its perplexity too.

Reads   data/encoders/NAME/, data/world/ (the views of its modality, the items)
Writes  data/features/NAME/ (layer_N.npy, index.parquet, manifest.json; in checkpoints/PERCENTAGE/ and seeds/SEED/
        one layer of these), metrics/tables/encoders/NAME.csv

Killed, it takes up its work where it stood (scratch/features/), and ends with the same bytes.

By hand:  python -m stages.features minilm
          torchrun --nproc_per_node 2 -m stages.features minilm    the batches shared by two processes, the same bytes
"""

from typing import Any

import torch

from jam.data.arrays import layers_of
from jam.data.schema import FINE, VIEWS, read_rows
from jam.distributed import connected
from jam.encoders import Encoder
from jam.encoders.manifest import Manifest
from jam.features import FeatureStore, extract_features
from jam.features.controls import control_features
from jam.features.given import place_features
from jam.features.perplexity import perplexity
from jam.params import load_params
from jam.progress import track
from jam.results import write_results
from stages.common import ENCODERS, FEATURES, SCRATCH, TABLES, WORLD, require_listed, run

# Of an encoder's checkpoints and further seeds: one view of an item is enough to tell what they know.
LEAN = {"train": (1, 0, 4000), "val": (1, 0), "test": (1, 0), FINE: (0, 0)}


def given(name: str, manifest: Manifest) -> tuple[FeatureStore, list[dict[str, Any]]]:
    """Features from the user's own arrays; nothing is known of what made them."""
    views = WORLD / VIEWS / f"{manifest.modality}.parquet"
    told = {"id": manifest.id, "modality": manifest.modality, "source": manifest.source, "sha256": manifest.sha256}
    return place_features(layers_of(manifest.id), views, FEATURES / name, told, load_params().features.dtype), []


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    require_listed("encoder", name, params.encoders)
    spec, features, manifest = params.encoders[name], params.features, Manifest.read(ENCODERS / name)
    rows: list[dict[str, Any]]
    most = tuple(None if n == "all" else n for n in (features.train_captions, features.train_negatives))
    limits: Any = {"train": most}
    if manifest.source == "arrays":
        store, rows = given(name, manifest)
    elif manifest.source == "control":
        store, rows = control_features(manifest.id, WORLD, manifest.modality, FEATURES / name, limits), []
    else:
        # Small nets take no longer than the preparation of their images: a core for each, instead of all for both.
        torch.set_num_threads(max(1, torch.get_num_threads() - (spec.image is not None)))
        encoder = Encoder.load(ENCODERS / name)
        how: Any = {"batch_size": features.batch_size, "dtype": features.dtype, "progress": track}
        with connected() as world:
            views = WORLD / VIEWS / f"{encoder.modality}.parquet"
            how |= {"world": world, "scratch": SCRATCH / "features"}
            store = extract_features(encoder, views, FEATURES / name, limits=limits, **how)
            for variant in spec.variants:
                kept = {"limits": LEAN, "layers": [spec.layer], "scratch": SCRATCH / "features" / name}
                extract_features(
                    Encoder.load(ENCODERS / name / variant), views, FEATURES / name / variant, **how | kept
                )
        if not world.first:
            return "rows filled; the first process writes the rest"
        rows = [{"metric": "parameters", "value": encoder.describe()["parameters"]}]
    if manifest.recipe.get("objective") in ("causal", "masked"):
        first = [row["captions"][0] for row in read_rows(WORLD, "test")]
        told = perplexity(ENCODERS / name, first)
        rows += [{"metric": metric, "value": value, "n": len(first), "split": "test"} for metric, value in told.items()]
    rows.append({"metric": "width", "value": store.dims[-1]})
    write_results(TABLES / "encoders" / f"{name}.csv", "encoders", [{"subject": name, **row} for row in rows])
    return f"{len(store.index)} rows, {store.layers} layers in {FEATURES / name}"


if __name__ == "__main__":
    run(main, every_process=True, name="a name among encoders in params.yaml")
