"""A space with several widths at fewer dimensions: the dims curve beside other ways to few, and adaptive retrieval.

Reads   data/spaces/NAME/, metrics/curves/PLAIN.csv (which configuration was best), data/features/ and data/world/
Writes  metrics/siblings/matryoshka/NAME.csv

Methods, each at each of ``dims``: ``matryoshka`` is the space's first coordinates; ``separate`` the plain loss trained
for this width; of the plain loss at the full width ``truncation`` are the first coordinates, ``principal`` the axes of
largest variance of training latents, ``random`` the mean of draws. Rows with ``against`` are paired differences. Rows
with a ``shortlist`` are adaptive retrieval: so many nearest by ``dims``, then the nearest of these by all.

By hand:  python -m stages.matryoshka matryoshka
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pandas as pd

from jam.align.adapter import Adapter
from jam.align.space import load_adapters
from jam.align.train import train
from jam.device import pick_device
from jam.evaluation.scores import Key, Outcome
from jam.parallel import in_processes, processes
from jam.params import Objective, Params, load_params
from jam.results import write_results
from jam.widths.curve import Questions, first, mean_outcomes, principal, principal_axes, random
from jam.widths.rows import METHODS, Cell, curve_tables, difference_tables
from stages.chosen import chosen
from stages.common import SIBLINGS, SPACES, require_listed, run, say
from stages.inputs import items_as_units, load_items
from stages.questions import questions

Found = dict[Cell, dict[Key, Outcome]]


def plain(params: Params, name: str, seed: int, dims: int) -> Mapping[str, Adapter]:
    """Adapters of a plain objective at a width, trained in the configuration that was chosen for it."""
    sides = params.align.x, params.align.y
    objective, configuration = chosen(name)
    changed, training = configuration.model_copy(update={"latent": dims}).of(objective, params.training)
    items, validation = (load_items(sides, split) for split in ("train", "val"))
    space = train(items, validation, changed, training, seed=seed, device=pick_device())
    return space.adapters


def adaptive(asked: Questions, vectors: Mapping[str, Any], method: str, params: Params, name: str) -> Found:
    """Adaptive retrieval by each number of dimensions and length of the shortlist."""
    widths = params.matryoshka[name]
    return {(method, by, k): asked.shortlisted(vectors, by, k) for by in widths.by for k in widths.shortlists}


def score(name: str, seed: int, dims: int | None) -> tuple[int, Found]:
    """All that is scored of the space, or of the plain loss trained at a width, with one seed."""
    params = load_params()
    widths, asked = params.matryoshka[name], questions((params.align.x, params.align.y))
    if dims is None:
        vectors = asked.vectors(load_adapters(SPACES / name / str(seed), pick_device()))
        found: Found = {("matryoshka", d, None): asked.answers(first(vectors, d)) for d in widths.dims}
        return seed, found | adaptive(asked, vectors, "matryoshka", params, name)
    adapters = plain(params, widths.plain, seed, dims)
    vectors = asked.vectors(adapters)
    found = {("separate", dims, None): asked.answers(vectors)} if dims in widths.dims else {}
    if dims < full_width(params, name):
        return seed, found
    seen = load_items((params.align.x, params.align.y), "train").sides
    axes = principal_axes([adapters[side].encode(rows.table[rows.flat()[0]]) for side, rows in seen.items()])
    for d in widths.dims:
        found["truncation", d, None] = asked.answers(first(vectors, d))
        found["principal", d, None] = asked.answers(principal(vectors, axes, d))
        drawn = [asked.answers(random(vectors, d, (seed, draw))) for draw in range(widths.draws)]
        found["random", d, None] = mean_outcomes(drawn)
    return seed, found | adaptive(asked, vectors, "truncation", params, name)


def full_width(params: Params, name: str) -> int:
    """Of the latents of a space."""
    objective = params.spaces[name]
    assert isinstance(objective, Objective)  # of one latent, as the schema promises
    return objective.latent[0]


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    require_listed("matryoshka", name, params.matryoshka)
    trained = sorted({*params.matryoshka[name].dims, full_width(params, name)}, reverse=True)
    calls = [(name, seed, dims) for dims in (trained[0], None, *trained[1:]) for seed in params.align.seeds]
    runs: defaultdict[Cell, dict[int, dict[Key, Outcome]]] = defaultdict(dict)
    for seed, found in in_processes(score, calls, min(processes(), len(calls))):
        say(f"seed {seed}: {', '.join(f'{method} {dims}' for method, dims, k in found if k is None)}")
        for cell, outcomes in found.items():
            runs[cell][seed] = outcomes
    order = sorted(runs, key=lambda cell: (METHODS.index(cell[0]), cell[2] or 0, cell[1]))
    ordered = {cell: {seed: runs[cell][seed] for seed in params.align.seeds} for cell in order}
    sides, full = (params.align.x, params.align.y), full_width(params, name)
    of = questions(sides), full, params.evaluate.resamples, items_as_units("test")
    parts = [*curve_tables(ordered, *of), *difference_tables(ordered, params.matryoshka[name].dims, *of[2:])]
    table = pd.concat(parts, ignore_index=True)
    path = SIBLINGS / "matryoshka" / f"{name}.csv"
    write_results(path, "matryoshka", table.assign(subject=name, split="test"))
    return f"{len(table)} numbers in {path}"


if __name__ == "__main__":
    run(main, name="a name among the entries of matryoshka of params.yaml")
