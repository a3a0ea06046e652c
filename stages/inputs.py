"""What stages read of features and of the world, by the names of params.yaml."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from jam.align.items import Items
from jam.align.rows import FeatureTable, join_sides
from jam.data.schema import DENSE, FINE, RELEVANCE, read_items, read_table
from jam.errors import InputError
from jam.features.store import layer_name, read_layer
from jam.params import Layer, Side, load_params
from stages.common import FEATURES, WORLD


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


def load_sides(sides: Sequence[Side], form: str | None = None) -> dict[str, FeatureTable]:
    """The layers of the sides of a space, by side; the rows of one form, see `jam.features.store.of_form`."""
    return {side.side: load_layer(side, form) for side in sides}


def load_items(sides: Sequence[Side], split: str) -> Items:
    """The items of a split as the sides of a space see them."""
    return join_sides(load_sides(sides), split)


def load_states(split: str = "test") -> np.ndarray | None:
    """The true state (n, d) of every item of a split; None where the data does not tell it."""
    states = read_items(WORLD, split, ["state"]).column("state")
    return None if states.null_count else np.array(states.to_pylist(), dtype=np.float32)


def load_relevance(
    sides: Sequence[Side], split: str, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], np.ndarray]:
    """Of each pair of a side of texts and one of others which views are true of which, see `jam.evaluate.evaluate`.

    Nothing where the data does not tell it.
    """
    path = WORLD / RELEVANCE
    if not path.is_file():
        return {}
    told = read_table(path).to_pandas()
    told = told[told["split"] == split]
    tables, params = load_sides(sides), load_params()
    texts = {side.side for side in sides if params.encoders[side.encoder].modality == "text"}
    items, index = join_sides(tables, split), {name: lines for name, (_, lines) in tables.items()}
    found = {}
    for x, y in pairs:
        if (x in texts) == (y in texts):
            continue
        text, other = (x, y) if x in texts else (y, x)
        captions, seen = (index[name].loc[items.sides[name].flat()[0]] for name in (text, other))
        place = pd.Series(np.arange(len(captions)), index=pd.MultiIndex.from_frame(captions[["id", "k"]]))
        rows = place.reindex(pd.MultiIndex.from_frame(told[["id", "k"]])).to_numpy()
        true = np.zeros((len(captions), len(seen)), np.bool_)
        views = pd.Series(np.arange(len(seen)), index=seen["id"].to_numpy())
        known = ~np.isnan(rows)
        true[rows[known].astype(int), views[told["true_of"][known]].to_numpy()] = True
        found[x, y] = true if text == x else true.T
    return found


def load_fine(sides: Sequence[Side]) -> tuple[Items, np.ndarray, np.ndarray] | None:
    """The fine gallery as the sides of a space see it, see `jam.evaluate.fine_recall`; None where there is none.

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


def states_as_units(split: str) -> np.ndarray | None:
    """For each item the number of its state: items of one state are no independent draws. None where it is unknown."""
    states = load_states(split)
    return None if states is None else np.unique(states, axis=0, return_inverse=True)[1]
