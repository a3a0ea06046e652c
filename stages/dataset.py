"""Write items and their views: the embedded world, a user's own images and captions, or a published set.

Reads   params.yaml; for source "folder", that folder (dataset.reads); for source "hub", files of the hub by its cache
Writes  data/world/ (items.parquet, views/MODALITY.parquet), data/pretrain/{images,text}.parquet (cave only; else an
        empty folder), metrics/tables/dataset.json and blind.csv (a guess without looking, on hard negatives)

By hand:  python -m stages.dataset
"""

from itertools import count
from pathlib import Path
from typing import Any

from jam.errors import InputError
from jam.io import atomic_folder, write_json
from jam.params import Params, load_params
from jam.progress import track
from jam.results import write_results
from jam.sources.arrays import write_arrays
from jam.sources.folder import load_folder
from jam.sources.hub import load_hub
from jam.sources.rows import Loaded, split_sizes
from stages.common import PRETRAIN, TABLES, WORLD, run, say


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    dataset = params.dataset

    blind: list[dict[str, Any]] = []
    with atomic_folder(WORLD) as world, atomic_folder(PRETRAIN) as pretrain:
        if dataset.source == "cave":
            from jam.world.files import write_cave  # of this source alone: others do not hang on its code

            summary, blind = write_cave(world, pretrain, seed=dataset.seed, **dataset.cave.model_dump())
            counts = {name: part["rows"] for name, part in summary["sets"].items()}
        elif dataset.source == "arrays" and dataset.arrays is not None:
            told = dataset.arrays
            shares = {"val": told.val, "test": 1 - told.train - told.val}
            summary = write_arrays(world, told.rows, shares, dataset.seed)
            counts = {split: part["rows"] for split, part in summary["splits"].items()}
            refuse_small(params, counts, shares)
        else:
            summary = _write_found(params, world)
            counts = {name: part["rows"] for name, part in summary["splits"].items()}
    guess = {"subject": "blind", "metric": "hard_negatives", "x": "image", "y": "text", "split": "test"}
    write_results(TABLES / "blind.csv", "evaluate", [{**guess, **row} for row in blind])
    write_json(TABLES / "dataset.json", {"source": dataset.source, **summary})
    return f"{', '.join(f'{count} {name}' for name, count in counts.items())} rows in {WORLD} and {PRETRAIN}"


def refuse_small(params: Params, rows: dict[str, int], shares: dict[str, float] | None = None) -> None:
    """Raise InputError where a split has too few items for what will be measured on them.

    Args:
        params: what asks for them.
        rows: split → number of its images.
        shares: by which the splits are cut; None where they are the data's own.
    """
    fewest = params.fewest()
    for split in ("val", "test"):
        asking = {name: value for name, (value, least) in fewest.items() if rows[split] < least}
        if not asking:
            continue
        whole, least = sum(rows.values()), max(least for _, least in fewest.values())
        enough = ""
        if shares:
            enough = f" ({next(n for n in count(whole) if min(split_sizes(n, shares).values()) >= least)} in all)"
        raise InputError(
            f"dataset: got {rows[split]} images in the {split} split, {whole} in all, expected at least {least} there"
            f"{enough}, or smaller numbers than {', '.join(f'{name} {value}' for name, value in asking.items())}"
        )


def _write_found(params: Params, world: Path) -> dict[str, Any]:
    """Write the tables of images and captions that were found, and tell what of them could not be used."""
    dataset = params.dataset
    found: Loaded
    if dataset.hub is not None and dataset.source == "hub":
        shares = None
        found = load_hub(dataset.hub, seed=dataset.seed, scratch=world, progress=track)
    else:
        shares = {"val": dataset.folder.val, "test": 1 - dataset.folder.train - dataset.folder.val}
        found = load_folder(dataset.reads, dataset.folder, seed=dataset.seed)
    for problem in found.problems:
        say(f"left out: {problem}")
    refuse_small(params, {split: len(rows) for split, rows in found.splits.items()}, shares)
    summary = found.write(world)
    say(f"kept {summary['kept']} images of {summary['rows']} rows")
    return summary


if __name__ == "__main__":
    run(main)
