"""Adapters that read all tokens, reduced by a resampler that sides share, its variants, and what latents read.

Reads   data/tokens/ (of the sides), data/world/; of the spaces of pooled features that are scored beside them:
        data/spaces/, data/features/
Writes  data/token_spaces/NAME/VARIANT/SEED/ (as data/spaces/); metrics/siblings/resampler/NAME/: scores.csv with
        monitors, curves.csv (a row an epoch), attention.csv (what each latent takes of each position, or of each sort
        of word)

Trainings run in processes of one thread: the same bytes on any number of cores.

By hand:  python -m stages.resampler image_text
"""

from typing import Any

import pandas as pd

from jam.align.resampler import Resampler as Latents
from jam.align.space import Space, load_adapters
from jam.align.token_adapter import TokenAdapter
from jam.align.validation import Validation
from jam.device import pick_device
from jam.encoders import Encoder
from jam.errors import InputError
from jam.evaluation.scores import Key, Outcome
from jam.io import atomic_folder, write_csv
from jam.parallel import in_processes, one_thread, processes
from jam.params import Resampler, load_params
from jam.resampler.attended import by_position, by_sort, sorts_of
from jam.resampler.monitors import Monitor, monitors
from jam.resampler.rows import difference_rows, monitor_rows, score_rows
from jam.resampler.train import Measured, measured, token_adapters, tokens_of, train_tokens, worth
from jam.results import write_results
from stages.common import ENCODERS, SIBLINGS, SPACES, TOKEN_SPACES, keyed, require_listed, run, say
from stages.inputs import items_as_units
from stages.questions import questions
from stages.token_inputs import load_token_items, texts_of, token_questions

FOLDER = SIBLINGS / "resampler"
Scores = dict[Key, Outcome]


def fit(of: str, name: str, seed: int, known: Measured) -> tuple[Space, Scores, dict[Monitor, float]]:
    """A variant trained with one seed: the space, its scores on test items, and what is watched of it there.

    Raises:
        InputError: the tokens do not allow it.
    """
    params, spec = load_params(), load_params().resampler[of]
    pair, test = (spec.x.side, spec.y.side), token_questions(spec.sides)
    items, validation = (load_token_items(spec.sides, split) for split in ("train", "val"))
    looks = Validation(validation, [pair], params.training.criterion)
    how: dict[str, Any] = {"pair": pair, "temperature": params.training.temperature, "seed": seed, "known": known}
    how |= {"device": pick_device(), "report": lambda line: say(f"{name}, seed {seed}, {line}")}
    try:
        space = train_tokens(items, looks, spec.variant(name), {side.side: side.grid for side in spec.sides}, **how)
    except ValueError as error:
        raise InputError(f"resampler.{of}.variants.{name}: {error}") from error
    adapters = token_adapters(space)
    firsts = {side: tokens_of(test.items, side)[test.items.sides[side].true[:, 0]] for side in pair}
    watched = monitors(adapters, firsts)
    watched["gradient_norm", None] = float(space.history["gradient_norm"].iloc[-1])
    return space, test.answers(test.vectors(adapters)) | worth(adapters, firsts), watched


def constants(of: str) -> dict[float | None, Measured]:
    """Of training tokens what is measured of them, once for all variants of a whitening.

    Raises:
        InputError: the tokens do not vary or are not finite.
    """
    spec = load_params().resampler[of]
    items = load_token_items(spec.sides, "train")
    try:
        with one_thread():
            return {each: measured(items, each) for each in {spec.variant(name).whitening for name in spec.variants}}
    except ValueError as error:
        raise InputError(f"resampler.{of}: {error}") from error


def pooled(name: str) -> dict[int, Scores]:
    """By seed the scores of a space of pooled features, on the same items."""
    params = load_params()
    test = questions((params.align.x, params.align.y))
    found = {seed: load_adapters(SPACES / name / str(seed)) for seed in params.space(name).seeds}
    return {seed: test.answers(test.vectors(adapters)) for seed, adapters in found.items()}


def attended(spec: Resampler, adapters: dict[str, TokenAdapter]) -> pd.DataFrame:
    """What the latents of the sides read of test items: of a map by position, of a text by sort of word."""
    test, parts = load_token_items(spec.sides, "test"), []
    for side in spec.sides:
        rows = test.sides[side.side].true[:, 0]
        tokens, adapter = tokens_of(test, side.side)[rows], adapters[side.side]
        if side.grid is not None:
            parts.append(pd.DataFrame(by_position(adapter, tokens)).assign(side=side.side))
        elif load_params().encoders[side.encoder].modality == "text":
            encoder = Encoder.load(ENCODERS / side.encoder, device="cpu")
            sorts = [sorts_of(encoder.processor, text, encoder.max_tokens) for text in texts_of(side, rows)]
            parts.append(pd.DataFrame(by_sort(adapter, tokens, sorts)).assign(side=side.side))
    return pd.concat(parts)


def main(of: str) -> str:
    """Run the stage and say where its results are."""
    require_listed("resampler", of, load_params().resampler)
    spec, tables_at = load_params().resampler[of], FOLDER / of
    known = constants(of)
    names = [(name, seed) for name in spec.variants for seed in spec.of_seeds(name)]
    # Trainings begin first and those that stand last, which take longest, before others: no process waits for one.
    calls: list[tuple[Any, ...]] = [
        ((name, seed), fit, of, name, seed, known[spec.variant(name).whitening]) for name, seed in names[::-1]
    ]
    calls.append((spec.pooled, pooled, spec.pooled))
    done = dict(in_processes(keyed, calls, min(processes(), len(calls))))
    made = {key: done[key] for key in names}
    with atomic_folder(TOKEN_SPACES / of) as folder:
        for (name, seed), (space, *_) in made.items():
            sources = {side.side: {"encoder": side.encoder, "layer": layer_of(side.encoder)} for side in spec.sides}
            space.save(folder / name / str(seed), sources)
    runs = {name: {seed: made[name, seed][1] for seed in spec.of_seeds(name)} for name in spec.variants}
    runs[spec.pooled] = done[spec.pooled]
    resamples, units = load_params().evaluate.resamples, items_as_units("test")
    watched = {call: told for call, (_, _, told) in made.items()}
    tables = [score_rows(runs, resamples, units), difference_rows(runs, resamples, units, spec.pooled)]
    tables.append(monitor_rows(watched, spec.bands, len(units)))
    write_results(tables_at / "scores.csv", "resampler", pd.concat(tables, ignore_index=True).assign(split="test"))
    curves = [space.history.assign(variant=name, seed=seed) for (name, seed), (space, *_) in made.items()]
    write_csv(tables_at / "curves.csv", pd.concat(curves, ignore_index=True))
    first, (space, *_) = next(iter(made.items()))
    adapters = token_adapters(space)
    if all(isinstance(adapter.reducer, Latents) for adapter in adapters.values()):
        write_csv(tables_at / "attention.csv", attended(spec, adapters).assign(variant=first[0], seed=first[1]))
    return f"{len(made)} trainings of {len(spec.variants)} variants, tables in {tables_at}"


def layer_of(encoder: str) -> int:
    """Whose tokens are kept."""
    return load_params().tokens[encoder].layer


if __name__ == "__main__":
    run(main, of="a name among the entries of resampler of params.yaml")
