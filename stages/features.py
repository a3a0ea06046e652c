"""Encode all pairs with one frozen encoder, every layer in one pass, and measure how good the encoder is.

Reads   data/encoders/NAME/, data/pairs/{train,val,test}.parquet
Writes  data/features/NAME/ (layer_N.npy, index.parquet, manifest.json), metrics/tables/encoders/NAME.csv

Killed, it takes up its work where it stood (scratch/features/), and ends with the same bytes.

By hand:  python -m stages.features minilm
          torchrun --nproc_per_node 2 -m stages.features minilm    the batches shared by two processes, the same bytes
"""

from jam.align.rows import one_row_each
from jam.data.schema import SPLITS, read_pairs
from jam.distributed import connected
from jam.encoders import Encoder
from jam.features import extract_features
from jam.features.quality import layer_probes, perplexity
from jam.params import load_params
from jam.progress import track
from jam.results import write_results
from stages.common import ENCODERS, FEATURES, PAIRS, SCRATCH, TABLES, run


def main(name: str) -> str:
    """Run the stage and say where its results are."""
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
            captions_per_pair=None if features.train_captions == "all" else {"train": features.train_captions},
            negatives_per_pair=None if features.train_negatives == "all" else {"train": features.train_negatives},
            progress=track,
            world=world,
        )
    if not world.first:
        return "rows filled; the first process writes the rest"
    n = len(one_row_each(store.index, "test"))
    rows = [{"metric": "parameters", "value": encoder.describe()["parameters"]}]
    rows += [
        {"metric": "probe", "label": label, "value": score, "n": n, "split": "test"}
        for label, score in layer_probes(store, tables).items()
    ]
    if encoder.manifest.source == "cave" and encoder.modality == "text":
        captions = read_pairs(tables["test"], ["captions"]).column("captions").to_pylist()
        told = perplexity(ENCODERS / name, [own[0] for own in captions])
        rows += [{"metric": metric, "value": value, "n": n, "split": "test"} for metric, value in told.items()]
    write_results(TABLES / "encoders" / f"{name}.csv", "encoders", [{"subject": name, **row} for row in rows])
    return f"{len(store.index)} rows, {store.layers} layers in {FEATURES / name}"


if __name__ == "__main__":
    run(main, every_process=True, name="a name among encoders in params.yaml")
