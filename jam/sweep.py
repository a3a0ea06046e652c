"""Sweeps: many short trainings, each a cell of a grid; resumable cell by cell, a failing cell by itself.

Cells run in processes of one thread: small matrix products do not speed up with threads, and one thread gives the same
bytes on any number of cores. Hosts that share the folder of finished cells each take those that are not there.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import sleep
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from jam.config import Objective, Training
from jam.evaluation import SCORES, PerRow, evaluate
from jam.io import file_sha256, read_json, write_json
from jam.pairing import negative_rows, pair_rows
from jam.training import train

# What decides a cell's numbers, beside its configuration and its features
CODE = (
    "joint.py",
    "training.py",
    "pairing.py",
    "evaluation.py",
    "losses/*.py",
    "models/*.py",
    "metrics/**/*.py",
)


@dataclass(frozen=True)
class Cell:
    """One training of a sweep.

    Attributes:
        image: a layer file of image features; ``index.parquet`` lies beside it.
        text: a layer file of text features.
        objective: with at most one α.
        training: the schedule.
        seed: of the training.
        k: neighbours, for preservation.
    """

    image: Path
    text: Path
    objective: Objective
    training: Training
    seed: int
    k: int

    def key(self, versions: Mapping[Path, str]) -> str:
        """A hash of all that decides the cell's numbers; ``versions`` has one of each file's content."""
        content = [
            versions[self.image],
            versions[self.text],
            self.objective.model_dump(mode="json"),
            self.training.model_dump(mode="json"),
            [self.seed, self.k, torch.__version__, versions[Path(__file__).parent]],
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
        For each cell its scores, ``val_X`` and ``test_X`` for X in `jam.evaluation.SCORES`, the chosen epoch, and the
        validation recall; or ``{"error": …}``, one line. An error is not kept: another call tries the cell again.
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
        found[key] = dict(sorted(outcome.items()))  # the order that a finished cell is read back in
        if "error" in outcome:
            report(f"cell {len(found)}/{len(unique)} failed: {outcome['error']}")
        else:
            write_json(files[key], outcome)
            report(f"cell {len(found)}/{len(unique)}: validation recall {outcome['validation_recall']:.3f}")
    return [found[key] for key in keys]


def run_cell(cell: Cell, device: str = "cpu") -> Outcome:
    """Train one cell; its scores on validation and on test rows."""
    image, text = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (cell.image, cell.text))
    image_index, text_index = (pd.read_parquet(path.with_name("index.parquet")) for path in (cell.image, cell.text))
    pairs = {split: pair_rows(image, image_index, text, text_index, split) for split in ("train", "val", "test")}
    trained = train(pairs["train"], pairs["val"], cell.objective, cell.training, seed=cell.seed, device=device)
    scores: Outcome = {"epoch": trained.chosen["epoch"], "validation_recall": trained.chosen["validation_recall"]}
    for split in ("val", "test"):
        negatives = negative_rows(text_index, image_index, split)
        outcomes = evaluate(trained.image, trained.text, pairs[split], negatives, cell.k)
        for name, key in SCORES.items():
            if key in outcomes:
                value = outcomes[key]
                scores[f"{split}_{name}"] = float(np.mean(value.values)) if isinstance(value, PerRow) else value
    return scores


def _in_processes(cells: Mapping[str, Cell], workers: int, device: str) -> Iterator[tuple[str, Outcome]]:
    """Cells as they finish. When a process dies, those in flight run again one by one, so that one alone is lost."""
    left = dict(cells)
    while left:
        flying: dict[str, Cell] = {}
        try:
            for key, outcome in _parallel(left, workers, device, flying):
                del left[key], flying[key]
                yield key, outcome
        except TerminatedWorkerError:
            for key, cell in list(flying.items()):
                try:
                    [(_, outcome)] = _parallel({key: cell}, 2, device, {})
                except TerminatedWorkerError:
                    outcome = {"error": "its process died (out of memory?)"}
                del left[key]
                yield key, outcome


def _parallel(
    cells: Mapping[str, Cell], workers: int, device: str, flying: dict[str, Cell]
) -> Iterator[tuple[str, Outcome]]:
    """Outcomes of cells in any order; ``flying`` has those that were handed to a process."""

    def tasks() -> Iterator[Any]:
        for key, cell in list(cells.items()):
            flying[key] = cell
            yield joblib.delayed(_attempt)(key, cell, device)

    with joblib.parallel_config("loky", inner_max_num_threads=1):
        pool = joblib.Parallel(workers, return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)
        yield from pool(tasks())


def _attempt(key: str, cell: Cell, device: str) -> tuple[str, Outcome]:
    _follow(os.getppid())
    torch.set_num_threads(1)
    try:
        return key, run_cell(cell, device)
    except Exception as error:  # whatever it is, the others go on
        return key, {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}


@cache
def _follow(parent: int) -> None:
    """End this process when the stage that started it has ended, however that came about."""

    def watch() -> None:
        while os.getppid() == parent:
            sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _versions(cells: Sequence[Cell]) -> dict[Path, str]:
    """A hash of each layer file with its index, and one of the code that trains and scores under its folder."""
    library = Path(__file__).parent
    code = [path for name in CODE for path in sorted(library.glob(name))]
    versions = {library: _hash_of(code)}
    for path in {path for cell in cells for path in (cell.image, cell.text)}:
        # A missing layer fails as a cell, with its own message.
        versions[path] = _hash_of([path, path.with_name("index.parquet")]) if path.is_file() else "missing"
    return versions


def _hash_of(paths: Sequence[Path]) -> str:
    return hashlib.sha256("".join(file_sha256(path) for path in paths).encode()).hexdigest()
