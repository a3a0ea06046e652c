"""Encode one view of each item by both towers of a multimodal model, all layers and the vector of its own space.

Reads   data/multimodal/NAME/, data/world/views, data/multimodal_pairs/shifted/views (where there is a shifted domain)
Writes  data/multimodal_features/NAME/{image,text}/ (layer_N.npy, index.parquet, manifest.json; in
        checkpoints/PERCENTAGE/ and in shifted/ the same)

Killed, it takes up its work where it stood (scratch/multimodal/), and ends with the same bytes.

By hand:  python -m stages.multimodal_features clip_a
"""

from typing import Any

from jam.data.schema import FINE, VIEWS
from jam.distributed import World, launched
from jam.encoders.manifest import Manifest
from jam.params import load_params
from jam.params.multimodal import TOWERS
from jam.progress import track
from stages.common import (
    MULTIMODAL,
    MULTIMODAL_FEATURES,
    MULTIMODAL_PAIRS,
    SCRATCH,
    SHIFTED,
    WORLD,
    require_listed,
    run,
)
from stages.shared import share_out

# One view of an item is enough to compare what models make of it.
LEAN = {"train": (1, 0, 4000), "val": (1, 0), "test": (1, 0), FINE: (0, 0)}


def fill(name: str, world: World) -> None:
    """One process' batches of both towers and their checkpoints."""
    from jam.encoders import Encoder
    from jam.features import extract_features

    params = load_params()
    spec, features = params.multimodal[name], params.features
    for modality in TOWERS:
        places = {"": WORLD / VIEWS / f"{modality}.parquet"}
        if (shifted := MULTIMODAL_PAIRS.parent / SHIFTED / VIEWS / f"{modality}.parquet").is_file():
            places[SHIFTED] = shifted
        for place, views in places.items():
            prepared: Any = {}  # checkpoints read the same inputs
            for variant in ("", *(() if place else spec.variants)):
                encoder = Encoder.load(MULTIMODAL / name / modality / variant)
                how: dict[str, Any] = {"limits": LEAN, "prepared": prepared, "progress": track, "world": world}
                how |= {"batch_size": features.batch_size, "dtype": features.dtype}
                how["scratch"] = SCRATCH / "multimodal" / name / modality / place
                extract_features(encoder, views, MULTIMODAL_FEATURES / name / modality / place / variant, **how)


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    require_listed("model", name, load_params().multimodal)
    share_out(fill, name, Manifest.read(MULTIMODAL / name / TOWERS[0]))
    if not launched().first:
        return "rows filled; the first process writes the rest"
    return f"features of {' and '.join(TOWERS)} in {MULTIMODAL_FEATURES / name}"


if __name__ == "__main__":
    run(main, every_process=True, name="a name among multimodal in params.yaml")
