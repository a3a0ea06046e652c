"""Write items and their views: the embedded world, a user's own images and captions, or a published set.

Reads   params.yaml; for source "folder", that folder (dataset.reads); for source "hub", files of the hub by its cache
Writes  data/world/ (items.parquet, views/MODALITY.parquet), data/pretrain/{images,views,text}.parquet (cave only; else
        an empty folder), metrics/tables/dataset.json

By hand:  python -m stages.dataset
"""

from pathlib import Path
from typing import Any

from jam.data.arrays import write_arrays
from jam.data.cave.build import write_cave
from jam.data.folder import load_folder
from jam.data.hub import load_hub
from jam.data.rows import Loaded
from jam.errors import InputError
from jam.io import atomic_folder, write_json
from jam.params import Params, load_params
from jam.progress import track
from stages.common import METRICS, PRETRAIN, WORLD, run, say


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    dataset = params.dataset

    with atomic_folder(WORLD) as world, atomic_folder(PRETRAIN) as pretrain:
        if dataset.source == "cave":
            summary = write_cave(world, pretrain, seed=dataset.seed, **dataset.cave.model_dump())
            counts = {name: part["rows"] for name, part in summary["sets"].items()}
        elif dataset.source == "arrays" and dataset.arrays is not None:
            told = dataset.arrays
            shares = {"val": told.val, "test": 1 - told.train - told.val}
            summary = write_arrays(world, told.rows, shares, dataset.seed)
            counts = {split: part["rows"] for split, part in summary["splits"].items()}
            refuse_small(params, counts)
        else:
            summary = _write_found(params, world)
            counts = {name: part["rows"] for name, part in summary["splits"].items()}
    write_json(METRICS / "tables" / "dataset.json", {"source": dataset.source, **summary})
    return f"{', '.join(f'{count} {name}' for name, count in counts.items())} rows in {WORLD} and {PRETRAIN}"


def refuse_small(params: Params, rows: dict[str, int]) -> None:
    """Raise InputError where a split has too few items for what will be measured on them."""
    for cause in params.too_small(rows):
        raise InputError(cause)


def _write_found(params: Params, world: Path) -> dict[str, Any]:
    """Write the tables of images and captions that were found, and tell what of them could not be used."""
    dataset = params.dataset
    found: Loaded
    if dataset.hub is not None and dataset.source == "hub":
        found = load_hub(dataset.hub, seed=dataset.seed, scratch=world, progress=track)
    else:
        found = load_folder(dataset.reads, dataset.folder, seed=dataset.seed)
    for problem in found.problems:
        say(f"left out: {problem}")
    refuse_small(params, {split: len(rows) for split, rows in found.splits.items()})
    summary = found.write(world)
    say(f"kept {summary['kept']} images of {summary['rows']} rows")
    return summary


if __name__ == "__main__":
    run(main)
