"""Write the pairs tables: the embedded world, a user's own images and captions, or a published set.

Reads   params.yaml; for source "folder", that folder (dataset.reads); for source "hub", files of the hub by its cache
Writes  data/pairs/{train,val,test}.parquet, data/pretrain/{images,views,text}.parquet (cave only; else an empty
        folder), metrics/tables/dataset.json

By hand:  python -m stages.dataset
"""

from pathlib import Path
from typing import Any

from jam.data.cave.build import write_cave
from jam.data.folder import load_folder
from jam.data.hub import load_hub
from jam.data.rows import LoadedPairs
from jam.errors import InputError
from jam.io import atomic_folder, write_json
from jam.params import Params, load_params
from jam.progress import track
from stages.common import METRICS, PAIRS, PRETRAIN, run, say


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    dataset = params.dataset

    with atomic_folder(PAIRS) as pairs, atomic_folder(PRETRAIN) as pretrain:
        if dataset.source == "cave":
            summary = write_cave(pairs, pretrain, seed=dataset.seed, **dataset.cave.model_dump())
            counts = {name: part["rows"] for name, part in summary["sets"].items()}
        else:
            summary = _write_found(params, pairs)
            counts = {name: part["rows"] for name, part in summary["splits"].items()}
    write_json(METRICS / "tables" / "dataset.json", {"source": dataset.source, **summary})
    return f"{', '.join(f'{count} {name}' for name, count in counts.items())} rows in {PAIRS} and {PRETRAIN}"


def _write_found(params: Params, pairs: Path) -> dict[str, Any]:
    """Write the tables of images and captions that were found, and tell what of them could not be used."""
    dataset = params.dataset
    found: LoadedPairs
    if dataset.hub is not None and dataset.source == "hub":
        found = load_hub(dataset.hub, seed=dataset.seed, scratch=pairs, progress=track)
    else:
        found = load_folder(dataset.reads, dataset.folder, seed=dataset.seed)
    for problem in found.problems:
        say(f"left out: {problem}")
    for cause in params.too_small({split: len(rows) for split, rows in found.splits.items()}):
        raise InputError(cause)
    summary = found.write(pairs)
    say(f"kept {summary['kept']} images of {summary['rows']} rows")
    return summary


if __name__ == "__main__":
    run(main)
