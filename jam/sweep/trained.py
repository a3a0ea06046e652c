"""Trained adapters on so many pairs, scored as the closed forms are: one view an item, R@1 of any true answer."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jam.align.items import Items, SideRows
from jam.align.rows import join_sides
from jam.align.train import train
from jam.features.store import read_layer
from jam.params import Objective, Training
from jam.sweep.closed import CHOOSE, Answers, hits

Booleans = npt.NDArray[np.bool_]

STEPS = 800  # of an optimizer: what trainings on few pairs get too
MOST = 60  # epochs
DECAYS = (0.0001, 0.03)  # of the weights, tried on validation rows
FEW = 64  # the batch on fewer than a thousand pairs


def train_on(
    paths: Mapping[str, Path],
    n: int,
    objective: Objective,
    training: Training,
    answers: Answers,
    whitening: float | None,
    seed: int,
) -> tuple[Booleans, Booleans]:
    """Train on the first n items and score on test items.

    Args:
        paths: side → layer file of features, x first.
        n: items.
        objective: with one value of everything.
        training: the schedule; epochs grow where n is small, until `STEPS` or `MOST`; the best epoch is kept.
        answers: which pairs are right, x down.
        whitening: of the inputs.
        seed: of the training.

    Returns:
        As `jam.sweep.closed.hits`.
    """
    tables = {name: read_layer(path) for name, path in paths.items()}
    items = {split: _first(join_sides(tables, split), most) for split, most in (("train", n), ("val", CHOOSE))}
    batch = training.batch_size if n >= 1000 else min(FEW, training.batch_size)
    epochs = max(training.epochs, min(MOST, math.ceil(STEPS / math.ceil(n / batch))))
    schedule = training.model_copy(
        update={
            "epochs": epochs,
            "patience": epochs,
            "batch_size": batch,
            "criterion": "recall",
            "whitening": (whitening,),
            "weight_decay": DECAYS,
        }
    )
    space = train(items["train"], items["val"], objective, schedule, seed=seed)
    test = join_sides(tables, "test")
    latents = [
        space.sides[name].adapter.encode(side.table[side.true[:, 0]]).astype(np.float32)
        for name, side in test.sides.items()
    ]
    return hits(latents[0], latents[1], answers.test)


def _first(items: Items, n: int) -> Items:
    """The first n items, the first view of each, and its false views."""
    sides = {
        name: SideRows(side.table, side.true[:n, :1], side.false[:n], None if side.origin is None else side.origin[:n])
        for name, side in items.sides.items()
    }
    return replace(items, sides=sides, ids=None if items.ids is None else items.ids[:n])
