"""What stages read of features and of the world, by the names of params.yaml."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jam.align.items import Items
from jam.align.rows import FeatureTable, join_sides, one_row_each
from jam.data.schema import DENSE, FINE, read_items
from jam.errors import InputError
from jam.features.store import layer_name, read_layer
from jam.params import Layer, Side, load_params
from stages.common import FEATURES, WORLD

if TYPE_CHECKING:  # stages that ask for neither do not hang on this code
    from jam.evaluation.known import Relevance
    from jam.evaluation.private import Views


def layer_path(layer: Layer) -> Path:
    """The file of one layer of frozen features."""
    return FEATURES / layer.encoder / layer_name(layer.layer)


def load_layer(layer: Layer, form: str | None = None) -> FeatureTable:
    """One layer of frozen features as a memory map, and the table that says what its rows of a form are.

    Raises:
        InputError: there is no such layer.
    """
    path = layer_path(layer)
    if not path.is_file():
        found = sorted(int(file.stem.removeprefix("layer_")) for file in path.parent.glob("layer_*.npy"))
        raise InputError(f"{path}: no such layer; {layer.encoder} has layers {found} (run its features stage first)")
    return read_layer(path, form)


def first_views(layer: Layer, split: str) -> np.ndarray:
    """The first view of every item of a split, (n, d)."""
    table, index = load_layer(layer)
    return np.array(table[one_row_each(index, split)])


def load_sides(sides: Sequence[Side], form: str | None = None) -> dict[str, FeatureTable]:
    """The layers of the sides of a space, by side; the rows of one form, see `jam.features.store.of_form`."""
    return {side.side: load_layer(side, form) for side in sides}


def load_items(sides: Sequence[Side], split: str) -> Items:
    """The items of a split as the sides of a space see them, with their contexts where the data tells them."""
    items = join_sides(load_sides(sides), split)
    told = read_items(WORLD, split, ["id", "context"]).to_pandas().set_index("id")["context"]
    contexts, _ = pd.factorize(told.reindex(items.ids))  # −1 where there is none
    return replace(items, contexts=contexts)


def load_states(split: str = "test") -> np.ndarray | None:
    """The true state (n, d) of every item of a split; None where the data does not tell it."""
    states = read_items(WORLD, split, ["state"]).column("state")
    return None if states.null_count else np.array(states.to_pylist(), dtype=np.float32)


def load_relevance(sides: Sequence[Side], split: str, pairs: Sequence[tuple[str, str]]) -> "Relevance":
    """Which views of the sides of each pair are true of which, see `jam.evaluation.known.read_relevance`."""
    from jam.evaluation.known import read_relevance

    texts = [side.side for side in sides if load_params().encoders[side.encoder].modality == "text"]
    return read_relevance(WORLD, load_sides(sides), texts, split, pairs)


def load_private(sides: Sequence[Side]) -> "dict[str, Views]":
    """First views of items with what is private to them, by side, see `jam.evaluation.known.private_views`."""
    from jam.evaluation.known import private_views

    encoders = load_params().encoders
    return private_views(WORLD, load_sides(sides), {side.side: encoders[side.encoder].modality for side in sides})


def load_fine(sides: Sequence[Side]) -> tuple[Items, np.ndarray, np.ndarray] | None:
    """The fine gallery as the sides of a space see it (`jam.evaluation.scores.fine_recall`); None where there is none.

    Of its items the group, and of the groups the test item whose scene they are edits of.
    """
    context = read_items(WORLD, FINE, ["context"]).column("context").to_numpy()
    states, edited = load_states("test"), load_states(FINE)
    if not len(context) or states is None or edited is None:
        return None
    _, first, group = np.unique(context, return_index=True, return_inverse=True)
    item_of = {state.tobytes(): item for item, state in reversed(list(enumerate(states)))}
    scene = np.array([item_of[state.tobytes()] for state in edited[first]])
    return join_sides(load_sides(sides, DENSE), FINE), group, scene


def items_as_units(split: str) -> np.ndarray:
    """For each item the number of its state, or its own: items of one state are no independent draws."""
    states = load_states(split)
    if states is None:
        return np.arange(len(read_items(WORLD, split, ["id"])))
    return np.unique(states, axis=0, return_inverse=True)[1]
