"""What the cells of the grids over layers and over what an alignment costs tell together. No stage by itself."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from jam.align.rows import join_sides, varies
from jam.data.schema import RELEVANCE
from jam.errors import InputError
from jam.features.store import FeatureStore
from jam.parallel import processes
from jam.params import Layer, Params, Side
from jam.results import results_table, select
from jam.sweep import deep, frozen
from jam.sweep.cells import Outcome
from jam.sweep.depth import Layers, fit_layers
from jam.sweep.fronts import fronts, goals
from jam.sweep.grids import Entry
from jam.sweep.kept import kept_table, references
from jam.sweep.table import best_cell
from jam.sweep.trends import layer_trends
from stages.common import FEATURES, WORLD
from stages.inputs import (
    first_views,
    items_as_units,
    load_items,
    load_layer,
    load_private,
    load_relevance,
)

Tables = dict[str, pd.DataFrame]
DEEP = 4000  # training items of which all layers are fitted


def of_layers(params: Params, cells: pd.DataFrame, *_: Any) -> Tables:
    """Frozen alignment of all layers with a null of its maximum, and how far it tells what comes of training."""
    grid, options = params.sweeps.layers, params.kernels
    rows = []
    for split in ("val", "test"):
        x, y = (
            (side.encoder, {i: first_views(Layer(encoder=side.encoder, layer=i), split) for i in numbers})
            for side, numbers in ((params.align.x, grid.x), (params.align.y, grid.y))
        )
        rows += frozen.layer_rows(x, y, split, options.k, options.permutations, options.seed)
    alike = results_table("layers", rows)
    closed, foretold = of_depth(params)
    return {
        "frozen": alike,
        "best": best_cell(cells, len(x[1][grid.x[0]])),
        "depth": closed,
        "trends": pd.concat([layer_trends(pd.concat([cells, alike]), grid.x, grid.y), foretold]),
    }


def of_depth(params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All layers of many pairs of encoders in closed form, and whether their frozen alignment foretells the best."""
    grid, k, resamples = params.sweeps.layers, params.kernels.k, params.evaluate.resamples
    xs = load_depth(dict.fromkeys([params.align.x.encoder, *grid.also_x]))
    ys = load_depth(dict.fromkeys([params.align.y.encoder, *grid.also_y]))
    metric, relevant = load_first_relevance(params.align.x, params.align.y)
    fitted, numbers = fit_layers(xs, ys, relevant, processes()), deep.numbers_of(xs, ys)
    rows, before = (
        deep.layer_rows(fitted, numbers, metric, float(relevant["test"].mean()), resamples),
        deep.frozen_grids(xs, ys, "val", k),
    )
    rows += deep.frozen_rows(before, numbers, "val", k)
    return results_table("layers", rows), results_table(
        "trends", deep.trend_rows(before, fitted, numbers, metric, resamples)
    )


def of_pareto(params: Params, cells: pd.DataFrame, entries: list[Entry], outcomes: list[Outcome]) -> Tables:
    """The front of each loss; what alignment destroys of what is private to either side, and reconstruction saves."""
    found = fronts(cells[cells["error"].isna()])
    grid, resamples = params.sweeps.pareto, params.evaluate.resamples
    layers = {"x": grid.x or params.align.x, "y": grid.y or params.align.y}
    sides = [Side(side=name, encoder=layer.encoder, layer=layer.layer) for name, layer in layers.items()]
    best = select(found, metric="best", goal=next(iter(goals(cells))))
    known = references(load_private(sides), [entry.cell for entry in entries], load_items(sides, "train"))
    kept = kept_table(entries, outcomes, known, best, resamples, items_as_units("test"))
    return {"fronts": found, "private": kept}


def load_depth(encoders: Iterable[str], train: int = DEEP) -> dict[str, Layers]:
    """All layers of some encoders: the mean view of the first training items, the first view of all others.

    Layers that are the same for all items are left out.

    Raises:
        InputError: encoders that have features of other items.
    """
    found: dict[str, Layers] = {}
    ids: np.ndarray | None = None
    for name in encoders:
        store = FeatureStore.load(FEATURES / name)
        layers = {}
        for number in range(store.layers):
            tables = {name: load_layer(Layer(encoder=name, layer=number))}
            items = join_sides(tables, "train")
            ids = items.ids if ids is None else ids
            if items.ids is None or not np.array_equal(items.ids, ids):  # type: ignore[arg-type]
                raise InputError(f"{name}: got features of other items than those of the encoders before it")
            layer = {"train": replace(items.sides[name], true=items.sides[name].true[:train]).mean()}
            layer |= {split: first_views(Layer(encoder=name, layer=number), split) for split in ("val", "test")}
            if varies(layer["val"]):
                layers[number] = layer
        found[name] = layers
    return found


def load_first_relevance(x: Side, y: Side) -> tuple[str, dict[str, np.ndarray]]:
    """Which first view of x is true of which first view of y, by split; what the recall of such answers is called.

    Where it is not known, each is of its own item alone.
    """
    found = {}
    for split in ("val", "test"):
        items, told = load_items([x, y], split), load_relevance([x, y], split, [(x.side, y.side)])
        if not told:
            found[split] = np.eye(len(items), dtype=np.bool_)
            continue
        first = [np.unique(items.sides[side.side].flat()[1], return_index=True)[1] for side in (x, y)]
        found[split] = told[x.side, y.side][np.ix_(*first)]
    return "true_recall" if (WORLD / RELEVANCE).is_file() else "recall", found
