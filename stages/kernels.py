"""Kernel alignment on test rows: between frozen encoders, before and after alignment.

Reads   data/features/, data/spaces/ (first seed)
Writes  metrics/tables/kernels.csv (each score with interval and null)

Three questions, in the column ``condition``:
  encoders               how alike are two frozen encoders, each of another modality?
  matched, hard, easy    one side against true views of the other, against such with one thing changed, against those of
                         other items, frozen and aligned: does the metric see fine detail? (JAM's first figure)
  fall                   the share of a score that is lost with the one thing changed, beside that of the state itself

Each encoder is seen at one layer, chosen on validation rows: the one with the highest mutual kNN with the other
modalities, each encoder of those at its own best layer. An item's view is its first.

By hand:  python -m stages.kernels
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from jam.align.rows import mismatched_rows, one_row_each
from jam.align.space import load_adapters
from jam.features import FeatureStore
from jam.metrics.kernels import kernel_table
from jam.parallel import in_processes, processes
from jam.params import Params, load_params
from jam.reality.detail import Views, detail_rows
from jam.reality.layers import choose_layers
from jam.results import write_results
from jam.sweep.frozen import kernel_rows
from jam.world.state import states_of_facts
from stages.common import FEATURES, SPACES, TABLES, run, say
from stages.inputs import load_sides, load_states

Named = dict[str, tuple[dict[str, Any], np.ndarray]]
"""By a name of its own: what a representation is, in columns of results for the side x, and its rows."""


def mismatched(params: Params) -> Iterator[tuple[Named, Named, np.ndarray]]:
    """The two sides frozen and in each space: the rows of x, and those of y by condition; which items they are of."""
    x, y = params.align.x, params.align.y
    (seen, order), (told, index) = load_sides((x, y)).values()
    rows, by_condition = mismatched_rows(order, index, "test")
    items = np.flatnonzero(np.isin(one_row_each(order, "test"), rows))
    n, fewest = len(rows), max(params.kernels.k + 1, 4)
    if n - math.ceil(n / params.kernels.folds) < fewest:
        if n:
            say(f"matched, hard and easy pairs left out: {n} test items have hard negatives, too few for k and folds")
        return
    frozen = {"x": x.encoder, "x_layer": x.layer, "y": y.encoder, "y_layer": y.layer}
    yield {"": (frozen, seen[rows])}, {name: ({}, told[there]) for name, there in by_condition.items()}, items
    for space in params.kernels.spaces:
        adapters = load_adapters(SPACES / space / str(params.align.seeds[0]))
        where = {"subject": space, "x": x.side, "y": y.side}
        latents: Named = {name: ({}, adapters[y.side].encode(told[there])) for name, there in by_condition.items()}
        yield {space: (where, adapters[x.side].encode(seen[rows]))}, latents, items


def score(
    place: int, xs: Named, ys: Named, condition: dict[str, Any], metrics: Sequence[str], options: dict[str, Any]
) -> tuple[int, list[dict[str, Any]]]:
    """Rows of results of every x with every y, with their place."""
    left, right = ({name: of for name, (_, of) in side.items()} for side in (xs, ys))
    rows = []
    for row in kernel_rows(kernel_table(left, right, metrics, **options)).to_dict("records"):
        x, y = row.pop("x"), row.pop("y")
        rows.append({**row, "condition": y, **xs[x][0], **ys[y][0], **condition, "split": "test"})
    say(f"{', '.join(filter(None, xs)) or 'frozen sides'}: scored with {len(ys)} others")
    return place, rows


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    options = params.kernels.model_dump(exclude={"spaces"})
    metrics = options.pop("metrics")
    stores = {name: FeatureStore.load(FEATURES / name) for name in params.encoders}
    pairs = params.pairs_of_modalities()
    chosen = choose_layers(stores, params.pairs_of_modalities(controls=False), params.kernels.k)
    say(f"layers chosen on validation rows: {chosen}")
    found = {name: store.layer(chosen[name])[one_row_each(store.index, "test")] for name, store in stores.items()}

    def named(side: str, names: Sequence[str]) -> Named:
        return {name: ({side: name, f"{side}_layer": chosen[name]}, found[name]) for name in names}

    tables: list[tuple[Named, Named, dict[str, Any]]] = [
        (named("x", x), named("y", y), {"condition": "encoders"}) for x, y in pairs
    ]
    compared, items = [], np.arange(0)
    for before, after, scored in mismatched(params):
        tables.append((before, after, {}))
        items = scored
        [(told, seen)] = before.values()
        compared.append(Views(told, seen, *(after[name][1] for name in ("matched", "hard"))))
    calls = [(place, *table, metrics, options) for place, table in enumerate(tables)]
    scores = dict(in_processes(score, calls, min(processes(), len(calls))))
    rows = [row for place in range(len(tables)) for row in scores[place]]
    facts = load_states("test")
    if compared and facts is not None:
        how = {name: options[name] for name in ("k", "folds", "seed")}
        rows += detail_rows(compared[0], compared[1:], states_of_facts(facts[items]), metrics, **how)
    write_results(TABLES / "kernels.csv", "kernels", pd.DataFrame(rows))
    return f"{len(rows)} scores in {TABLES / 'kernels.csv'}"


if __name__ == "__main__":
    run(main)
