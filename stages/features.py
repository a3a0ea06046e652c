"""Encode all views of one encoder's modality, every layer in one pass; of a language model, its perplexity too.

Reads   data/encoders/NAME/, data/world/ (the views of its modality, the items)
Writes  data/features/NAME/ (layer_N.npy, index.parquet, manifest.json; in checkpoints/PERCENTAGE/ and seeds/SEED/
        one layer of these), metrics/tables/encoders/NAME.csv

Killed, it takes up its work where it stood (scratch/features/), and ends with the same bytes. The batches of small
encoders are shared out to processes of one thread, one a core: the same bytes on any number of cores.

By hand:  python -m stages.features minilm
          torchrun --nproc_per_node 2 -m stages.features minilm    the batches shared by two processes, the same bytes
"""

from typing import Any

from jam.data.arrays import layers_of
from jam.data.schema import FINE, VIEWS, read_rows
from jam.distributed import World, launched
from jam.encoders.manifest import Manifest
from jam.features.controls import control_features
from jam.features.given import place_features
from jam.features.store import MANIFEST, FeatureStore
from jam.io import read_json
from jam.params import load_params
from jam.progress import track
from jam.results import write_results
from stages.common import ENCODERS, FEATURES, SCRATCH, TABLES, WORLD, require_listed, run
from stages.shared import limits, share_out

# Of an encoder's checkpoints and further seeds: one view of an item is enough to tell what they know.
LEAN = {"train": (1, 0, 4000), "val": (1, 0), "test": (1, 0), FINE: (0, 0)}


def fill(name: str, world: World) -> list[dict[str, Any]]:
    """One process' batches of an encoder, and of its checkpoints and further seeds; what the first tells of it."""
    from jam.encoders import Encoder
    from jam.features import extract_features

    params = load_params()
    spec, features = params.encoders[name], params.features
    prepared: Any = {}
    for variant in ("", *spec.variants):
        encoder = Encoder.load(ENCODERS / name / variant)
        lean: dict[str, Any] = {"limits": LEAN, "layers": [spec.layer], "scratch": SCRATCH / "features" / name}
        lean |= {"prepared": prepared}
        how = lean if variant else {"limits": limits(), "scratch": SCRATCH / "features"}
        how |= {"batch_size": features.batch_size, "dtype": features.dtype, "progress": track, "world": world}
        extract_features(encoder, WORLD / VIEWS / f"{spec.modality}.parquet", FEATURES / name / variant, **how)
    return predicted(name) if world.first else []


def predicted(name: str) -> list[dict[str, Any]]:
    """Of a language model pretrained here its perplexity on the first caption of every test item."""
    if Manifest.read(ENCODERS / name).recipe.get("objective") not in ("causal", "masked"):
        return []
    from jam.features.perplexity import perplexity

    first = [row["captions"][0] for row in read_rows(WORLD, "test")]
    told = perplexity(ENCODERS / name, first)
    return [{"metric": metric, "value": value, "n": len(first), "split": "test"} for metric, value in told.items()]


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    require_listed("encoder", name, params.encoders)
    manifest, views = Manifest.read(ENCODERS / name), WORLD / VIEWS / f"{params.encoders[name].modality}.parquet"
    rows: list[dict[str, Any]] = []
    if manifest.source == "arrays":  # the user's own; nothing is known of what made them
        told = {"id": manifest.id, "modality": manifest.modality, "source": manifest.source, "sha256": manifest.sha256}
        store = place_features(layers_of(manifest.id), views, FEATURES / name, told, params.features.dtype)
    elif manifest.source == "control":
        store = control_features(manifest.id, WORLD, manifest.modality, FEATURES / name, limits())
    else:
        rows = share_out(fill, name, manifest)
        if not launched().first:
            return "rows filled; the first process writes the rest"
        store = FeatureStore.load(FEATURES / name)
        parameters = read_json(FEATURES / name / MANIFEST)["encoder"]["parameters"]
        rows = [{"metric": "parameters", "value": parameters}, *rows]
    rows.append({"metric": "width", "value": store.dims[-1]})
    write_results(TABLES / "encoders" / f"{name}.csv", "encoders", [{"subject": name, **row} for row in rows])
    return f"{len(store.index)} rows, {store.layers} layers in {FEATURES / name}"


if __name__ == "__main__":
    run(main, every_process=True, name="a name among encoders in params.yaml")
