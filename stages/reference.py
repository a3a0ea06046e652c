"""Are spaces nearer to an encoder that none was made of, and to the true state, than their inputs, and why?

Reads   data/spaces/ (of ``align``'s sides), data/features/, data/encoders/ (that of y), data/world/, metrics/curves/
        (which configuration of each space was chosen)
Writes  metrics/siblings/reference.csv: gains and those of controls (`jam.reference.gains` says what each ``condition``
        means), and what captions without the words for one attribute teach (`jam.reference.ablation`)

Where the state is not known, it is no reference and no words are ablated. Controls with something to learn are trained
here, all in processes of one thread: the same bytes on any number of cores.

By hand:  python -m stages.reference
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jam.align.space import load_adapters
from jam.metrics.kernels.nulls import deal
from jam.parallel import in_processes, processes
from jam.params import Reference, load_params
from jam.reference.ablation import WITH, WITHOUT, ablation_rows
from jam.reference.controls import FROZEN, SHUFFLED, principal, random_map, whitened
from jam.reference.gains import Aligned, Row, gain_rows
from jam.reference.scoring import Distinct, scored
from jam.results import write_results
from stages.common import SIBLINGS, SPACES, keyed, run, say
from stages.inputs import first_views, items_as_units, load_states
from stages.reference_parts import autoencoded, recalled, reference_rows, trained_on_shuffled, wordless

TABLE = SIBLINGS / "reference.csv"
VAL, TEST = "val", "test"


def done(calls: list[tuple[Any, ...]]) -> dict[Any, Any]:
    """What each call gives, by its name."""
    return dict(in_processes(keyed, calls, min(processes(), len(calls))))


def gains(spec: Reference, made: dict[Any, Any]) -> Iterator[Row]:
    """Rows of results of every space and side, beside controls, of which those made elsewhere are given by name."""
    params = load_params()
    kernels, seeds = params.kernels, params.align.seeds
    references = {"encoder": (reference_rows(spec, VAL), reference_rows(spec, TEST))}
    states = load_states(VAL), load_states(TEST)
    if states[0] is not None and states[1] is not None:
        references["state"] = states[0], states[1]
    distinct, named = Distinct(), {}
    for side in (params.align.x, params.align.y):
        train, val, test = (first_views(side, split) for split in ("train", VAL, TEST))
        for name in spec.spaces:
            own = [load_adapters(SPACES / name / str(seed))[side.side] for seed in seeds]
            width = own[0].config["d_latent"]
            maps = {
                "": own,
                "whitened": [whitened(own[0])],
                "pca": [principal(train, width)],
                "random": [random_map(own[0], seed) for seed in seeds],
                "autoencoder": [made["autoencoder", side, width, seed] for seed in seeds],
                SHUFFLED: [made[SHUFFLED, name, seed][side.side] for seed in seeds],
            }
            found = {
                what: [distinct.add((one.encode(val), one.encode(test))) for one in some] for what, some in maps.items()
            }
            named[name, side.side] = {FROZEN: [distinct.add((val, test))], **found}
    units = items_as_units(TEST)
    given = list(references.values()), kernels.metrics, kernels.k, deal(len(units), kernels.folds, kernels.seed, units)
    scores = done([(place, scored, some, *given) for place, some in enumerate(distinct.chunks())])
    of_val, of_test = (np.concatenate([scores[place][i] for place in range(len(scores))]) for i in (0, 1))
    for (name, where), numbers in named.items():
        of = Aligned(
            {"subject": name, "x": where, "y": spec.encoder},
            *({what: table[some] for what, some in numbers.items()} for table in (of_test, of_val)),
        )
        yield from gain_rows(of, kernels.metrics, list(references), kernels.k, seeds, len(np.unique(units)))


def ablated(texts: dict[str, np.ndarray]) -> Iterator[Row]:
    """Rows of results of the pairs with and without words, of which the features of the captions without are given."""
    params = load_params()
    assert params.reference is not None
    spec = params.reference.ablated
    assert spec is not None
    seeds, captions = params.align.seeds, {WITH: None, WITHOUT: texts}
    found = done([((how, seed), recalled, spec, of, seed) for how, of in captions.items() for seed in seeds])
    names = (spec.attribute, *spec.against)
    rows = {how: {name: np.stack([found[how, seed][name] for seed in seeds]) for name in names} for how in captions}
    for row in ablation_rows(rows, spec.attribute, spec.against, items_as_units(TEST), params.evaluate.resamples):
        yield {**row, "subject": spec.space, "x": params.align.x.side}


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    spec, seeds = params.reference, params.align.seeds
    if spec is None:
        write_results(TABLE, "reference", [])
        return f"no reference is asked for; {TABLE} is empty"
    sides = (params.align.x, params.align.y)
    first = [load_adapters(SPACES / name / str(seeds[0]))[sides[0].side] for name in spec.spaces]
    widths = list(dict.fromkeys(adapter.config["d_latent"] for adapter in first))
    splits = ("train", VAL) if spec.ablated is not None and load_states(TEST) is not None else ()
    calls: list[tuple[Any, ...]] = [(split, wordless, split) for split in splits]
    calls += [((SHUFFLED, name, seed), trained_on_shuffled, name, seed) for name in spec.spaces for seed in seeds]
    ways = [(side, width, seed) for side in sides for width in widths for seed in seeds]
    calls += [(("autoencoder", *way), autoencoded, *way) for way in ways]
    made = done(calls)
    say(f"{len(calls) - len(splits)} controls trained")
    rows = list(gains(spec, made))
    say(f"{len(rows)} gains")
    rows += ablated({split: made[split] for split in splits}) if splits else []
    write_results(TABLE, "reference", rows)
    return f"{len(rows)} results in {TABLE}"


if __name__ == "__main__":
    run(main)
