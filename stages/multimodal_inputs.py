"""What stages read of multimodal models: their vectors, row by row of the same items, and what is known of these."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jam.align.rows import one_row_each
from jam.compare.resamples import Resamples
from jam.compare.transfer.heads import Labels
from jam.data.schema import SPLITS, VIEWS, read_items, read_table
from jam.errors import InputError
from jam.features.store import FeatureStore, of_form
from jam.world.state import factors, states_of_facts
from stages.common import MULTIMODAL_FEATURES, WORLD
from stages.inputs import items_as_units

Splits = dict[str, np.ndarray]
UNTRAINED = "checkpoints/0"


def tower(model: str, modality: str, variant: str = "") -> Path:
    """The features of one of a model's towers, or of a checkpoint of it."""
    return MULTIMODAL_FEATURES / model / modality / variant


def first_rows(store: FeatureStore, layer: int, splits: Sequence[str] = SPLITS) -> Splits:
    """The first view of every item, split → (n, d)."""
    table, index = store.layer(layer), of_form(store.index)
    return {split: np.array(table[one_row_each(index, split)]) for split in splits}


def vectors(model: str, modality: str, variant: str = "", layer: int = -1) -> Splits:
    """A tower's vectors, of the shared space by default."""
    return first_rows(FeatureStore.load(tower(model, modality, variant)), layer)


def untrained(model: str, modality: str) -> Splits | None:
    """As `vectors`, before the model's training; None where that was not kept."""
    return vectors(model, modality, UNTRAINED) if tower(model, modality, UNTRAINED).is_dir() else None


def item_ids(model: str, split: str) -> np.ndarray:
    """Of which items the rows of all towers are."""
    index = of_form(FeatureStore.load(tower(model, "image")).index)
    ids: np.ndarray = index.loc[one_row_each(index, split), "id"].to_numpy()
    return ids


def test_draws(model: str, resamples: int) -> Resamples:
    """The bootstrap of the test items that a model's rows are of; scenes of one state are drawn together."""
    units = pd.Series(items_as_units("test"), index=read_items(WORLD, "test", ["id"]).column("id").to_pandas())
    return Resamples(units.loc[item_ids(model, "test")].to_numpy(), resamples)


def first_contents(modality: str, split: str, ids: np.ndarray) -> list[Any]:
    """The content of the first view of some items of a split, in the order asked for."""
    views = read_table(WORLD / VIEWS / f"{modality}.parquet", ["id", "split", "k", "role", "content"])
    lines = views.drop_columns(["content"]).to_pandas()
    first = lines[(lines["split"] == split) & (lines["k"] == 0) & (lines["role"] == "true")]
    place = pd.Series(first.index.to_numpy(), index=first["id"]).loc[ids]
    found: list[Any] = views.column("content").take(place.to_numpy()).to_pylist()
    return found


def labels_of(model: str, attributes: Sequence[str]) -> dict[str, Labels]:
    """Split → attribute → classes (n, labels) of the items that a model's rows are of, from the true state.

    ``digit``, ``colour`` and ``size`` have a column a value, 1 where some thing has it; ``count`` and ``habitat`` one.

    Raises:
        InputError: the data does not tell the state.
    """
    found: dict[str, Labels] = {}
    for split in SPLITS:
        items = read_items(WORLD, split, ["id", "context", "state"]).to_pandas().set_index("id")
        items = items.loc[item_ids(model, split)]
        if items["state"].isna().any():
            raise InputError(f"{WORLD}: got items without a state in split {split}, expected a world that tells it")
        facts = factors(states_of_facts(np.stack(items["state"].to_numpy())))
        habitat, count = (items["context"].str.split("|").str[part].astype(int).to_numpy() for part in (0, 1))
        known = {"count": count[:, None], "habitat": habitat[:, None]}
        for name in ("digit", "colour", "size"):
            cells = facts[name].reshape(len(items), 6, -1)
            known[name] = cells.max(axis=1).astype(int)
        found[split] = {name: known[name] for name in attributes}
    return found
