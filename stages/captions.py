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
from stages.caption_parts import bounds, fit, keep, size
from stages.common import CAPTIONS, SIBLINGS, require_listed, run
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
    calls = [(of, name, seed) for name in spec.variants for seed in spec.of_seeds(name)]
    # Those that stand last take longest: they begin first, so that no process waits for the end of one.
    ended = in_processes(fit, calls[::-1], min(processes(), len(calls)))
    done = {(made[0], made[1]): made for made in ended}
    made = {call[1:]: done[call[1:]] for call in calls}
    with atomic_folder(CAPTIONS / of) as folder:
        keep(folder, of, made)
    runs = {name: {seed: made[name, seed][3] for seed in spec.of_seeds(name)} for name in spec.variants}
    sizes = {name: {seed: size(made[name, seed]) for seed in of_seeds} for name, of_seeds in runs.items()}
    told = [*variant_tables(runs, test), *size_rows(sizes, test), *bounds(spec, test)]
    write_results(tables / "scores.csv", "captions", pd.concat(told, ignore_index=True).assign(split="test"))
    curves = [history.assign(variant=name, seed=seed) for (name, seed), (_, _, history, *_) in made.items()]
    write_csv(tables / "curves.csv", pd.concat(curves, ignore_index=True))
    shown = {name: of_seeds[spec.seeds[0]].captions[:SHOWN] for name, of_seeds in runs.items()}
    write_csv(tables / "examples.csv", pd.DataFrame({name: lines for name, lines in shown.items() if lines}))
    return f"{len(made)} trainings of {len(spec.variants)} variants, tables in {tables}"


if __name__ == "__main__":
    run(main, of="a name among the entries of captions of params.yaml")
