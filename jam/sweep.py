"""Sweeps: many short trainings, each a cell of a grid; resumable cell by cell, a failing cell by itself.

On a CPU the cells run in as many processes as there are cores, one thread each: small matrix products do not speed up
with threads, and one thread gives the same bytes on any number of cores. On an accelerator equal shapes run stacked
(`jam.stacked`).
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from jam.config import Objective, Training
from jam.evaluation import SCORES, PerRow, evaluate
from jam.io import file_sha256, read_json, write_json
from jam.pairing import Pairs, negative_rows, pair_rows
from jam.stacked import Run, train_stacked
from jam.training import Trained, train

# What decides a cell's numbers, beside its configuration and its features
CODE = (
    "joint.py",
    "training.py",
    "stacked.py",
    "pairing.py",
    "evaluation.py",
    "losses/*.py",
    "models/*.py",
    "metrics/**/*.py",
)
STACK = 32  # runs stacked at once on an accelerator


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


Scored = tuple[Pairs, pd.DataFrame]  # rows to score on, and their false captions
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
        device: an accelerator runs stacked, the CPU in processes.
        workers: processes, on the CPU.
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
    run = _in_processes if torch.device(device).type == "cpu" else _stacked
    for key, outcome in run(open_cells, workers, torch.device(device)):
        found[key] = dict(sorted(outcome.items()))  # the order that a finished cell is read back in
        if "error" in outcome:
            report(f"cell {len(found)}/{len(unique)} failed: {outcome['error']}")
        else:
            write_json(files[key], outcome)
            report(f"cell {len(found)}/{len(unique)}: validation recall {outcome['validation_recall']:.3f}")
    return [found[key] for key in keys]


def run_cell(cell: Cell) -> Outcome:
    """Train and score one cell on the CPU."""
    run, scored = _load(cell)
    trained = train(run.pairs, run.validation, run.objective, run.training, seed=run.seed)
    return _score(cell, trained, scored)


def _load(cell: Cell) -> tuple[Run, dict[str, Scored]]:
    """The training of a cell, and what it is scored on."""
    image, text = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (cell.image, cell.text))
    image_index, text_index = (pd.read_parquet(path.with_name("index.parquet")) for path in (cell.image, cell.text))
    pairs = {split: pair_rows(image, image_index, text, text_index, split) for split in ("train", "val", "test")}
    scored = {split: (pairs[split], negative_rows(text_index, image_index, split)) for split in ("val", "test")}
    return Run(pairs["train"], pairs["val"], cell.objective, cell.training, cell.seed), scored


def _score(cell: Cell, trained: Trained, scored: Mapping[str, Scored]) -> Outcome:
    """Scores of a trained cell on validation and on test rows."""
    scores: Outcome = {"epoch": trained.chosen["epoch"], "validation_recall": trained.chosen["validation_recall"]}
    for split, (pairs, negatives) in scored.items():
        outcomes = evaluate(trained.image, trained.text, pairs, negatives, cell.k)
        for name, key in SCORES.items():
            if key in outcomes:
                value = outcomes[key]
                scores[f"{split}_{name}"] = float(np.mean(value.values)) if isinstance(value, PerRow) else value
    return scores


def _in_processes(cells: Mapping[str, Cell], workers: int, device: torch.device) -> Iterator[tuple[str, Outcome]]:
    """Cells as they finish, over a pool of processes.

    When a process dies, the cells in flight are run again one by one, so that only the one to blame is lost.
    """
    queue, suspects = list(cells), list[str]()
    while queue or suspects:
        alone = bool(suspects)
        source, size = (suspects, 1) if alone else (queue, workers)
        with ProcessPoolExecutor(size, get_context("spawn"), initializer=_start_worker) as pool:
            flying: dict[Future[Outcome], str] = {}
            broken = False
            while flying or (source and not broken):
                while source and len(flying) < size and not broken:
                    try:
                        flying[pool.submit(run_cell, cells[source[0]])] = source[0]
                    except BrokenProcessPool:  # noticed before the death of a cell in flight is told
                        broken = True
                    else:
                        source.pop(0)
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    key, error = flying.pop(future), future.exception()
                    if isinstance(error, BrokenProcessPool):
                        broken = True
                        if not alone:
                            suspects.append(key)
                            continue
                    yield key, {"error": _one_line(error)} if error else future.result()


def _start_worker() -> None:
    """One thread a process; and a process does not outlive the stage that started it, however that ended."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _stacked(cells: Mapping[str, Cell], workers: int, device: torch.device) -> Iterator[tuple[str, Outcome]]:
    """Cells of equal shape together, in stacks of at most ``STACK``."""
    groups: dict[Hashable, list[tuple[str, Run, dict[str, Scored]]]] = {}
    for key, cell in cells.items():
        try:
            run, scored = _load(cell)
        except Exception as error:  # as in a process: whatever it is, the others go on
            yield key, {"error": _one_line(error)}
        else:
            groups.setdefault(run.shape, []).append((key, run, scored))
    for group in groups.values():
        for start in range(0, len(group), STACK):
            stack = group[start : start + STACK]
            results: Sequence[Trained | Exception]
            try:
                results = train_stacked([run for _, run, _ in stack], device)
            except Exception as error:
                results = [error] * len(stack)
            for (key, _, scored), result in zip(stack, results, strict=True):
                if isinstance(result, Exception):
                    yield key, {"error": _one_line(result)}
                else:
                    yield key, _score(cells[key], result, scored)


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


def _one_line(error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return "its process died (out of memory?)"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
