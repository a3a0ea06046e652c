"""Sweeps: many short trainings, each a cell of a grid; resumable cell by cell, a failing cell by itself.

Cells run in processes of one thread, see `jam.parallel`. Hosts that share the folder of finished cells each take those
that are not there.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jam.align.rows import join_sides
from jam.align.train import train
from jam.features.store import read_layer
from jam.io import file_sha256, read_json, write_json
from jam.parallel import in_processes
from jam.params import Objective, Training
from jam.sweep.scores import Known, scores

# What decides a cell's numbers, beside its configuration and its features
CODE = (
    "fit.py",
    "evaluate.py",
    "private.py",
    "known.py",
    "data/private.py",
    "sweep/scores.py",
    "align/*.py",
    "losses/*.py",
    "metrics/**/*.py",
)


@dataclass(frozen=True)
class Cell:
    """One training of a sweep.

    Attributes:
        sides: name → a layer file of features; ``index.parquet`` lies beside it.
        pairs: of sides that are aligned.
        objective: with at most one α.
        training: the schedule.
        seed: of the training.
        k: neighbours, for preservation.
        known: what the world tells of the views, and where; None where cells are not scored by it.
    """

    sides: Mapping[str, Path]
    pairs: Sequence[tuple[str, str]]
    objective: Objective
    training: Training
    seed: int
    k: int
    known: Known | None = None

    def key(self, versions: Mapping[Path, str]) -> str:
        """A hash of all that decides the cell's numbers; ``versions`` has one of each file's content."""
        content = [
            [[name, versions[path]] for name, path in self.sides.items()],
            [list(pair) for pair in self.pairs],
            self.objective.model_dump(mode="json"),
            self.training.model_dump(mode="json"),
            [self.seed, self.k, torch.__version__, versions[Path(__file__).parents[1]]],
            [versions[self.known.world], self.known.modalities] if self.known else None,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


Outcome = dict[str, Any]  # scores of a finished cell, or {"error": why it has none}


def run_sweep(
    cells: Sequence[Cell],
    scratch: str | Path,
    *,
    device: torch.device | str = "cpu",
    workers: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Train and score every cell; finished cells are kept in ``scratch``, so that a killed sweep takes up where it was.

    Args:
        cells: the grid, in any order; equal cells are computed once.
        scratch: folder of finished cells, a file each. The caller deletes it when the results are safe.
        device: where to train; an accelerator is shared by the processes.
        workers: processes.
        report: called with one line for each finished cell.

    Returns:
        For each cell the chosen ``epoch``, its ``validation_score``, and what `jam.sweep.scores.scores`
        tells of it; or ``{"error": …}``, one line. An error is not kept: another call tries it again.
    """
    scratch = Path(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    versions = _versions(cells)
    keys = [cell.key(versions) for cell in cells]
    unique = dict(zip(keys, cells, strict=True))
    files = {key: scratch / f"{key}.json" for key in unique}
    found: dict[str, Outcome] = {key: read_json(path) for key, path in files.items() if path.is_file()}
    if found:
        report(f"{len(found)} of {len(unique)} cells were finished before and are kept")
    open_cells = {key: cell for key, cell in unique.items() if key not in found}
    for key, outcome in _in_processes(open_cells, workers, str(device)):
        found[key] = outcome
        if "error" in outcome:
            report(f"cell {len(found)}/{len(unique)} failed: {outcome['error']}")
        else:
            write_json(files[key], outcome)
            report(f"cell {len(found)}/{len(unique)}: validation score {outcome['validation_score']:.3f}")
    return [found[key] for key in keys]


def run_cell(cell: Cell, device: str = "cpu") -> Outcome:
    """Train one cell; its scores on validation and on test rows."""
    tables = {name: read_layer(path) for name, path in cell.sides.items()}
    items = {split: join_sides(tables, split) for split in ("train", "val", "test")}
    space = train(
        items["train"], items["val"], cell.objective, cell.training, pairs=cell.pairs, seed=cell.seed, device=device
    )
    told = scores(space.adapters, cell.sides, items, cell.pairs, cell.k, cell.known)
    return {"epoch": space.chosen["epoch"], "validation_score": space.chosen["validation_score"], **told}


def _in_processes(cells: Mapping[str, Cell], workers: int, device: str) -> Iterator[tuple[str, Outcome]]:
    """Cells as they finish. When a process dies, those in flight run again one by one, so that one alone is lost."""
    left = dict(cells)
    while left:
        flying: dict[str, Cell] = {}
        try:
            for key, outcome in _parallel(left, workers, device, flying):
                del left[key], flying[key]
                yield key, outcome
        except BrokenProcessPool:
            for key, cell in list(flying.items()):
                try:
                    [(_, outcome)] = _parallel({key: cell}, 2, device, {})
                except BrokenProcessPool:
                    outcome = {"error": "its process died (out of memory?)"}
                del left[key]
                yield key, outcome


def _parallel(
    cells: Mapping[str, Cell], workers: int, device: str, flying: dict[str, Cell]
) -> Iterator[tuple[str, Outcome]]:
    """Outcomes of cells in any order; ``flying`` has those that were handed to a process."""

    def calls() -> Iterator[tuple[str, Cell, str]]:
        for key, cell in list(cells.items()):
            flying[key] = cell
            yield key, cell, device

    yield from in_processes(_attempt, calls(), workers)


def _attempt(key: str, cell: Cell, device: str) -> tuple[str, Outcome]:
    try:
        return key, run_cell(cell, device)
    except Exception as error:  # whatever it is, the others go on
        return key, {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}


def _versions(cells: Sequence[Cell]) -> dict[Path, str]:
    """A hash of each layer file with its index, and one of the code that trains and scores under its folder."""
    library = Path(__file__).parents[1]
    code = [path for name in CODE for path in sorted(library.glob(name))]
    versions = {library: _hash_of(code)}
    for path in {path for cell in cells for path in cell.sides.values()}:
        # A missing layer fails as a cell, with its own message.
        versions[path] = _hash_of([path, path.with_name("index.parquet")]) if path.is_file() else "missing"
    for world in {cell.known.world for cell in cells if cell.known}:
        versions[world] = _hash_of(sorted(world.glob("**/*.parquet")))
    return versions


def _hash_of(paths: Sequence[Path]) -> str:
    return hashlib.sha256("".join(file_sha256(path) for path in paths).encode()).hexdigest()
