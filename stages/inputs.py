"""What stages read of features and of the world, by the names of params.yaml."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from jam.align.items import Items
from jam.align.rows import FeatureTable, join_sides
from jam.errors import InputError
from jam.features.store import layer_name
from jam.params import Layer, Side
from stages.common import FEATURES, WORLD


def layer_path(layer: Layer) -> Path:
    """The file of one layer of frozen features."""
    return FEATURES / layer.encoder / layer_name(layer.layer)


def load_layer(layer: Layer) -> FeatureTable:
    """One layer of frozen features as a memory map, and the table that says what each of its rows is.

    Raises:
        InputError: there is no such layer.
    """
    path = layer_path(layer)
    folder = path.parent
    if not path.is_file():
        found = sorted(int(file.stem.removeprefix("layer_")) for file in folder.glob("layer_*.npy"))
        raise InputError(f"{path}: no such layer; {layer.encoder} has layers {found} (run its features stage first)")
    return np.load(path, mmap_mode="r"), pd.read_parquet(folder / "index.parquet")


def load_sides(sides: Sequence[Side]) -> dict[str, FeatureTable]:
    """The layers of the sides of a space, by side."""
    return {side.side: load_layer(side) for side in sides}


def load_items(sides: Sequence[Side], split: str) -> Items:
    """The items of a split as the sides of a space see them."""
    return join_sides(load_sides(sides), split)


def load_states() -> np.ndarray | None:
    """The true state (n, d) of every test item; None where the data does not tell it."""
    from jam.data.schema import read_items

    states = read_items(WORLD, "test", ["state"]).column("state")
    return None if states.null_count else np.array(states.to_pylist(), dtype=np.float32)
