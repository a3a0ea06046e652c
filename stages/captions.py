"""Captions of a frozen language model from a prefix: what it is made of, variants, and bounds.

Reads   data/world/, data/encoders/ (the language model), data/tokens/, data/spaces/, data/features/ of their sides,
        data/token_spaces/
Writes  data/captions/NAME/VARIANT/SEED/ (captioners), metrics/siblings/captions/NAME/: scores.csv, curves.csv (a row an
        epoch), examples.csv (what was said of some test images, of each variant's first seed)

The rows of a variant under condition ``real`` are of its own sentences; under ``shuffled`` those of another image's
prefix, under ``mean`` the sentence of the mean prefix. Of the input itself, ``nearest`` is the sentence of the training
image that is nearest, ``template`` a plain sentence filled by linear probes. ``none`` is the language model alone.
n-gram scores are against the test images' dense sentences, where the data has such.

Trainings run in processes of one thread: the same bytes on any number of cores.

By hand:  python -m stages.captions cave
"""

import pandas as pd

from jam.caption.rows import Truths, size_rows, variant_tables
from jam.data.schema import DENSE
from jam.io import atomic_folder, write_csv
from jam.parallel import in_processes, processes
from jam.params import load_params
from jam.results import write_results
from stages.caption_inputs import references, require_states, states_of
from stages.caption_parts import alone, bound, fit, inputs_once, keep, size
from stages.common import CAPTIONS, SIBLINGS, keyed, require_listed, run
from stages.inputs import items_as_units

FOLDER = SIBLINGS / "captions"
SHOWN = 50  # test images whose sentences are kept as examples


def main(of: str) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    require_listed("captions", of, params.captions)
    require_states(of)
    spec, tables = params.captions[of], FOLDER / of
    test = Truths(states_of("test"), references("test", DENSE), items_as_units("test"), params.evaluate.resamples)
    names = [(name, seed) for name in spec.variants for seed in spec.of_seeds(name)]
    bounds = [*(((name,), bound, of, name, test) for name in inputs_once(spec)), ((), alone, of, test)]
    # Trainings begin first and those that stand last, which take longest, before others: no process waits for one.
    calls = [((name, seed), fit, of, name, seed, test) for name, seed in names[::-1]] + bounds
    done = dict(in_processes(keyed, calls, min(processes(), len(calls))))
    made = {key: done[key] for key in names}
    with atomic_folder(CAPTIONS / of) as folder:
        keep(folder, of, made)
    runs = {name: {seed: made[name, seed] for seed in spec.of_seeds(name)} for name in spec.variants}
    sizes = {name: {seed: size(one) for seed, one in seeds.items()} for name, seeds in runs.items()}
    scored = {name: {seed: one.scored for seed, one in seeds.items()} for name, seeds in runs.items()}
    told = [*variant_tables(scored, test), *size_rows(sizes, test), *(done[key] for key, *_ in bounds)]
    write_results(tables / "scores.csv", "captions", pd.concat(told, ignore_index=True).assign(split="test"))
    curves = [one.history.assign(variant=name, seed=seed) for (name, seed), one in made.items()]
    write_csv(tables / "curves.csv", pd.concat(curves, ignore_index=True))
    shown = {name: seeds[spec.seeds[0]].said.captions[:SHOWN] for name, seeds in runs.items()}
    write_csv(tables / "examples.csv", pd.DataFrame({name: lines for name, lines in shown.items() if lines}))
    return f"{len(made)} trainings of {len(spec.variants)} variants, tables in {tables}"


if __name__ == "__main__":
    run(main, of="a name among the entries of captions of params.yaml")
