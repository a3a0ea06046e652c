"""Encode all pairs with one frozen encoder, every layer in one pass, and measure how good the encoder is.

Reads   data/encoders/NAME/, data/pairs/{train,val,test}.parquet
Writes  data/features/NAME/ (layer_NN.npy, index.parquet, manifest.json), metrics/encoders/NAME.json

Killed, it takes up its work where it stood (scratch/features/), and ends with the same bytes.

By hand:  python -m stages.features minilm
          torchrun --nproc_per_node 2 -m stages.features minilm    the batches shared by two processes, the same bytes
"""

import argparse

from jam.config import load_params
from jam.data.schema import SPLITS, read_pairs
from jam.distributed import connected
from jam.encoders import Encoder
from jam.features import extract_features
from jam.features.quality import layer_probes, perplexity
from jam.io import write_json
from jam.progress import track
from stages.common import ENCODERS, FEATURES, METRICS, PAIRS, SCRATCH, run


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a name among encoders in params.yaml")
    name = parser.parse_args(argv).name
    features = load_params().features
    tables = {split: PAIRS / f"{split}.parquet" for split in SPLITS}

    encoder = Encoder.load(ENCODERS / name)
    with connected() as world:
        store = extract_features(
            encoder,
            tables,
            FEATURES / name,
            scratch=SCRATCH / "features",
            batch_size=features.batch_size,
            dtype=features.dtype,
            captions_per_pair={"train": features.train_captions} if features.train_captions else None,
            negatives_per_pair={"train": features.train_negatives} if features.train_negatives else None,
            progress=track,
            world=world,
        )
    if not world.first:
        return "rows filled; the first process writes the rest"
    quality = {"parameters": encoder.describe()["parameters"]}
    quality |= {f"probe_{label}": round(score, 4) for label, score in layer_probes(store, tables).items()}
    if encoder.manifest.source == "cave" and encoder.modality == "text":
        captions = read_pairs(tables["test"], ["captions"]).column("captions").to_pylist()
        told = perplexity(ENCODERS / name, [own[0] for own in captions])
        quality |= {key: round(value, 4) for key, value in told.items()}
    write_json(METRICS / "encoders" / f"{name}.json", quality)
    return f"{len(store.index)} rows, {store.layers} layers in {FEATURES / name}"


if __name__ == "__main__":
    run(main, every_process=True)
