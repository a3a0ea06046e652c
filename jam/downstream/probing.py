"""The frozen layer before, and spaces after alignment, scored on the same rows of every task; paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from jam.align.adapter import Adapter
from jam.align.space import load_adapters
from jam.downstream.scores import class_vectors, few_shot_correct, knn_correct, probe_correct, zero_shot_correct
from jam.downstream.tasks import Part, Task
from jam.evaluation.scores import Key, PerRow, summarise
from jam.parallel import in_processes, processes
from jam.params import Downstream

BEFORE, WHITENED, AFTER = "before", "whitened", "after"
Outcomes = dict[Key, PerRow]
Run = tuple[str, str | None, int]
"""A condition, the space (None of the frozen layer) and its seed."""


@dataclass(frozen=True)
class Spoken:
    """Prompts, each with its features of the frozen layer of the side of texts.

    Attributes:
        side: of texts.
        texts: prompt → its features (d,).
    """

    side: str
    texts: Mapping[str, np.ndarray]

    def encode(self, adapter: Adapter, texts: Sequence[str]) -> np.ndarray:
        """Prompts as vectors of a space, (n, d)."""
        return adapter.encode(np.stack([self.texts[text] for text in texts]))


def prompts_of(task: Task, options: Downstream) -> Sequence[str]:
    """The prompts of a task's label; none where it has none, or its classes have no words."""
    return options.prompts.get(task.label, ()) if task.words else ()


def probe_table(
    tasks: Sequence[Task],
    side: str,
    spaces: Mapping[str, Mapping[int, Path]],
    spoken: Spoken | None,
    options: Downstream,
    resamples: int,
) -> pd.DataFrame:
    """Accuracies by task, method and condition, in columns of results of experiment ``downstream``.

    Args:
        tasks: on features of the frozen layer.
        side: of images in the spaces.
        spaces: by name and seed the folder of a trained space.
        spoken: all prompts; None where no side is of texts, and nothing is sought by prompts.
        options: how to score.
        resamples: of the bootstrap over seeds and test images, images of one unit together.
    """
    runs: list[Run] = [(BEFORE, None, 0)]
    for name, folders in spaces.items():
        runs += [(WHITENED, name, next(iter(folders))), *((AFTER, name, seed) for seed in folders)]
    calls = ((run, spaces[run[1]][run[2]] if run[1] else None, side, tasks, spoken, options) for run in runs)
    found: dict[Run, list[Outcomes]] = dict(in_processes(_scored, calls, processes()))
    parts = []
    for number, task in enumerate(tasks):
        by_run = {run: found[run][number] for run in runs}
        parts.append(_summary(task, by_run, list(spaces), resamples, options.seed))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _scored(
    run: Run, folder: Path | None, side: str, tasks: Sequence[Task], spoken: Spoken | None, options: Downstream
) -> tuple[Run, list[Outcomes]]:
    """What a run tells of each task."""
    condition, _, _ = run
    adapters = load_adapters(folder) if folder else {}
    found = []
    for task in tasks:
        seen = _seen_by(task, condition, adapters.get(side))
        outcomes = _read(seen, side, options)
        if condition == AFTER and spoken and (prompts := prompts_of(task, options)):
            words = {name: seen.words[name] for name in seen.classes if name in seen.words}
            text = adapters[spoken.side]
            vectors = class_vectors(lambda texts, text=text: spoken.encode(text, texts), words, prompts)  # type: ignore[misc]
            right = zero_shot_correct(seen.test.features, seen.test.labels, vectors, list(words))
            outcomes[Key("zero_shot", side, spoken.side, label=task.name)] = _per_row(task, right)
            balanced = _per_row(task, right * _weights(seen.test.labels))
            outcomes[Key("zero_shot_balanced", side, spoken.side, label=task.name)] = balanced
        found.append({replace(key, condition=condition): outcome for key, outcome in outcomes.items()})
    return run, found


def _seen_by(task: Task, condition: str, adapter: Adapter | None) -> Task:
    """The task on vectors of a condition: as they are, as the adapter whitens them, or as it maps them."""
    if adapter is None:
        return task

    def seen(part: Part) -> Part:
        return replace(
            part, features=adapter.encode(part.features) if condition == AFTER else _whitened(adapter, part.features)
        )

    return replace(task, train=seen(task.train), test=seen(task.test))


@torch.inference_mode()
def _whitened(adapter: Adapter, features: np.ndarray) -> np.ndarray:
    found: np.ndarray = adapter.standardise(torch.tensor(features)).numpy()
    return found


def _read(task: Task, side: str, options: Downstream) -> Outcomes:
    train, test, seed = task.train, task.test, options.seed
    found = {
        Key("probe", side, label=task.name): probe_correct(train, test, options.c, options.validation, seed),
        Key("knn", side, label=task.name, k=options.neighbours): knn_correct(train, test, options.neighbours),
    }
    for shots in options.shots:  # for now as k; see `_summary`
        key = Key("few_shot", side, label=task.name, k=shots)
        found[key] = few_shot_correct(train, test, shots, options.draws, seed)
    return {key: _per_row(task, right) for key, right in found.items()}


def _weights(labels: np.ndarray) -> np.ndarray:
    """Of each image 1 / (classes · share of its own), with which a mean is the mean over classes of their means."""
    _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    found: np.ndarray = len(labels) / (len(counts) * counts[own])
    return found


def _per_row(task: Task, right: np.ndarray) -> PerRow:
    return PerRow(right, np.arange(len(right)), task.chance, ceiling=task.ceiling)


def _summary(
    task: Task, found: Mapping[Run, Outcomes], spaces: Sequence[str], resamples: int, seed: int
) -> pd.DataFrame:
    """All of one task: every condition, and what is after minus the others on the same rows."""
    units = np.unique(task.test.units, return_inverse=True)[1]
    [before] = (outcomes for (condition, *_), outcomes in found.items() if condition == BEFORE)
    groups: list[tuple[str | None, dict[int, Outcomes]]] = [(None, {0: before})]
    for space in spaces:
        white, mine = (
            {run[2]: outcomes for run, outcomes in found.items() if run[:2] == (condition, space)}
            for condition in (WHITENED, AFTER)
        )
        groups += [(space, white), (space, mine)]
        for condition, earlier in ((BEFORE, before), (WHITENED, next(iter(white.values())))):
            gained = {number: _differences(after, earlier, condition) for number, after in mine.items()}
            groups.append((space, gained))
    parts = []
    for subject, runs in groups:
        told = summarise(runs, len(task.test), resamples, seed, units=units)
        parts.append(told.assign(subject=subject))
    table = pd.concat(parts, ignore_index=True).drop(columns=["tier", "kind", "direction"])
    few = table["metric"].str.startswith("few_shot")
    table["shots"] = table["k"].where(few)
    table["k"] = table["k"].mask(few)
    plain = ~table["metric"].str.endswith("_difference")
    return table.assign(
        majority=pd.Series(task.majority, table.index).where(plain), units=len(np.unique(units)), split="test"
    )


def _differences(after: Outcomes, before: Outcomes, condition: str) -> Outcomes:
    """After minus an earlier condition, image by image, of what both have."""
    found = {}
    for key, outcome in after.items():
        earlier = before.get(replace(key, condition=condition))
        if earlier is not None:
            name = replace(key, metric=f"{key.metric}_difference", condition=None, against=condition)
            found[name] = PerRow(outcome.values - earlier.values, outcome.item, 0.0)
    return found
