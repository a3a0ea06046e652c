"""What the world tells of views, row for row with their features: what is true of what, and what is private to them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from jam.align.rows import FeatureTable, join_sides, one_row_each
from jam.data.schema import RELEVANCE, SPLITS, read_table
from jam.evaluation.private import TRAIN, Views
from jam.evaluation.private_factors import read_private

Relevance = dict[tuple[str, str], np.ndarray]
"""Of pairs of sides where it is known, which views are true of which, see `jam.evaluation.scores.evaluate`."""


def read_relevance(
    world: str | Path,
    tables: Mapping[str, FeatureTable],
    texts: Collection[str],
    split: str,
    pairs: Sequence[tuple[str, str]],
) -> Relevance:
    """Of each pair of a side of texts and one of others which views are true of which; nothing where it is not told.

    Args:
        world: its folder.
        tables: features by side.
        texts: sides that are texts.
        split: of the items.
        pairs: of sides.
    """
    path = Path(world) / RELEVANCE
    if not path.is_file():
        return {}
    told = read_table(path).to_pandas()
    told = told[told["split"] == split]
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


def private_views(
    world: str | Path, tables: Mapping[str, FeatureTable], modalities: Mapping[str, str]
) -> dict[str, Views]:
    """First views of the first training items and of all others, with what is private to them, by side.

    Items are the same on all sides, and in the order of the first, as in `join_sides`. A side of which the data tells
    nothing private is left out.

    Args:
        world: its folder.
        tables: features by side.
        modalities: by side.
    """
    order = next(iter(tables.values()))[1]
    limits = {split: TRAIN if split == "train" else None for split in SPLITS}
    ids = {split: order["id"].loc[one_row_each(order, split)[:most]].to_numpy() for split, most in limits.items()}
    found = {}
    for name, (table, index) in tables.items():
        private = read_private(world, modalities[name], ids)
        if not private:
            continue
        features = {}
        for split, mine in ids.items():
            rows = one_row_each(index, split)
            place = pd.Series(rows, index=index["id"].loc[rows].to_numpy())
            features[split] = np.array(table[place.loc[mine].to_numpy()])
        found[name] = Views(features, private)
    return found
