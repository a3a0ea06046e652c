"""Score one space on test rows: retrieval, hard negatives, what is kept of each side, geometry; over all of its seeds.

Reads   data/spaces/NAME/, the layers of its sides, data/world/ (what is true of what, the fine gallery)
Writes  metrics/tables/evaluate/NAME.csv (everything, by seed, with intervals),
        data/outcomes/NAME.parquet (what each item adds to it, for paired comparisons),
        metrics/evaluate/NAME.json (the headline, for `dvc metrics show`)

By hand:  python -m stages.evaluate spread
"""

from typing import Any

import pandas as pd

from jam.align.rows import join_sides, negative_rows
from jam.align.space import load_adapters
from jam.contrasts import observations
from jam.device import pick_device
from jam.evaluate import evaluate, fine_recall, summarise
from jam.io import write_json, write_parquet
from jam.params import load_params
from jam.private import Private
from jam.results import select, write_results
from stages.common import METRICS, OUTCOMES, SPACES, TABLES, run, say
from stages.inputs import items_as_units, load_fine, load_private, load_relevance, load_sides

# What `dvc metrics show` prints, a row a space: few and short names, so that the table fits a terminal of 100 columns.
HEADLINE: dict[str, dict[str, Any]] = {
    "r1": {"metric": "recall", "k": 1},
    "true_r1": {"metric": "true_recall", "k": 1},
    "fine_r1": {"metric": "fine_recall", "k": 1},
    "hard_negatives": {"metric": "hard_negatives", "tier": "hard"},
    "structure": {"metric": "preservation"},
}


def headline(table: pd.DataFrame) -> dict[str, float]:
    """Means over seeds, directions, and the pairs or sides of the space, of each headline metric that it has."""
    means = {name: select(table, seed=None, **where)["value"].mean() for name, where in HEADLINE.items()}
    return {name: round(float(value), 4) for name, value in means.items() if pd.notna(value)}


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    spec = params.space(name)
    tables = load_sides(spec.sides)
    items, order = join_sides(tables, "test"), next(iter(tables.values()))[1]
    negatives = {y: negative_rows(tables[y][1], order, "test") for _, y in spec.pairs}
    relevant, fine = load_relevance(spec.sides, "test", spec.pairs), load_fine(spec.sides)
    private = [Private(side, views, params.evaluate.k) for side, views in load_private(spec.sides).items()]
    runs = {}
    for seed in spec.seeds:
        adapters = load_adapters(SPACES / name / str(seed), pick_device())
        runs[seed] = evaluate(adapters, items, spec.pairs, negatives, params.evaluate.k, relevant)
        if fine is not None:
            runs[seed] |= fine_recall(adapters, *fine, spec.pairs)
        for side in private:
            runs[seed] |= side.outcomes(adapters[side.side])
        say(f"seed {seed}: scored on {len(items)} items")
    units = items_as_units("test")
    found = summarise(runs, len(items), params.evaluate.resamples, units=units).assign(subject=name, split="test")
    write_parquet(OUTCOMES / f"{name}.parquet", observations(runs))
    path = TABLES / "evaluate" / f"{name}.csv"
    table = write_results(path, "evaluate", found)
    write_json(METRICS / "evaluate" / f"{name}.json", headline(table))
    return f"everything in {path}, the headline in {METRICS / 'evaluate' / f'{name}.json'}"


if __name__ == "__main__":
    run(main, name="a name among the spaces of params.yaml")
