"""Score every space on test rows, over its seeds: retrieval, hard negatives, what is kept of each side, geometry.

Then: is one better than another on the same sides? Differences of every two of `spaces`, paired on items, over seeds.

Reads   data/spaces/, data/features/ (the layers of their sides), data/world/ (what is true of what, the fine gallery)
Writes  metrics/tables/evaluate.csv (everything, by seed, with intervals), metrics/tables/contrasts.csv,
        metrics/evaluate/NAME.json (the headline, for `dvc metrics show`)

Spaces are scored in processes of one thread: the same bytes on any number of cores.

By hand:  python -m stages.evaluate
"""

from itertools import combinations
from typing import Any

import pandas as pd

from jam.align.rows import join_sides, negative_rows
from jam.align.space import load_adapters
from jam.device import pick_device
from jam.evaluation.contrasts import contrast_rows, observations
from jam.evaluation.private import Private
from jam.evaluation.scores import evaluate, fine_recall, summarise
from jam.io import atomic_folder, write_json
from jam.parallel import in_processes, processes
from jam.params import load_params
from jam.results import select, write_results
from stages.common import METRICS, SPACES, TABLES, run, say
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


def score(name: str) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """The name of a space, all its scores, and what each item adds to those by which spaces are compared."""
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
    say(f"{name}: seeds {list(spec.seeds)} scored on {len(items)} items")
    found = summarise(runs, len(items), params.evaluate.resamples, units=items_as_units("test"))
    return name, found.assign(subject=name, split="test"), observations(runs)


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    calls = [(name,) for name in params.space_names]
    found = {name: told for name, *told in in_processes(score, calls, min(processes(), len(calls)))}
    parts = [found[name][0] for name in params.space_names]
    table = write_results(TABLES / "evaluate.csv", "evaluate", pd.concat(parts, ignore_index=True))
    observed = {name: found[name][1] for name in params.spaces}
    pairs, resamples = list(combinations(observed, 2)), params.evaluate.resamples
    rows = contrast_rows(observed, pairs, items_as_units("test"), resamples)
    write_results(TABLES / "contrasts.csv", "contrasts", rows)
    with atomic_folder(METRICS / "evaluate") as folder:
        for name in params.space_names:
            write_json(folder / f"{name}.json", headline(select(table, subject=name)))
    return f"everything in {TABLES}/evaluate.csv and contrasts.csv, the headline in {METRICS}/evaluate"


if __name__ == "__main__":
    run(main)
