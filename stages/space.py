"""Align the sides of one space: trained, once for each seed, or solved in closed form.

Reads   data/features/ENCODER/layer_N.npy and index.parquet of each side
Writes  data/spaces/NAME/SEED/ (a folder a side, space.json), metrics/curves/NAME.csv

Seeds run in processes of one thread: the same bytes on any number of cores.

By hand:  python -m stages.space spread
"""

from pathlib import Path

import pandas as pd

from jam.align.closed_form import fit_closed_form
from jam.align.space import Space
from jam.align.train import train
from jam.device import pick_device
from jam.errors import InputError
from jam.io import atomic_folder, write_csv
from jam.parallel import in_processes, processes
from jam.params import Objective, load_params
from stages.common import METRICS, SPACES, run, say
from stages.inputs import load_items


def fit(name: str, seed: int) -> Space:
    """Train or solve one space; a closed form heeds no seed.

    Raises:
        InputError: the features do not allow it.
    """
    params = load_params()
    spec, training = params.space(name), params.training
    items, validation = (load_items(spec.sides, split) for split in ("train", "val"))

    def report(line: str) -> None:
        say(f"seed {seed}, {line}")

    try:
        if isinstance(spec.fit, Objective):
            return train(
                items, validation, spec.fit, training, pairs=spec.pairs, seed=seed, device=pick_device(), report=report
            )
        closed = spec.fit
        return fit_closed_form(closed.loss, items, validation, closed.grid, closed.whitening, training.criterion)
    except ValueError as error:
        raise InputError(str(error)) from error


def fit_and_save(name: str, seed: int, folder: Path) -> pd.DataFrame:
    """Fit, and write what came out; the history."""
    space = fit(name, seed)
    sides = load_params().space(name).sides
    space.save(folder / str(seed), {side.side: {"encoder": side.encoder, "layer": side.layer} for side in sides})
    say(f"seed {seed}: chosen on validation rows: {space.chosen}")
    if doubt := space.doubt:
        say(f"seed {seed}: warning: {doubt}")
    return space.history.assign(space=name, seed=seed)


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    seeds = load_params().space(name).seeds
    with atomic_folder(SPACES / name) as folder:
        workers = min(processes(), len(seeds))
        found = list(in_processes(fit_and_save, ((name, seed, folder) for seed in seeds), workers))
    history = pd.concat(sorted(found, key=lambda table: int(table["seed"].iloc[0])), ignore_index=True)
    write_csv(METRICS / "curves" / f"{name}.csv", history)
    return f"adapters in {SPACES / name}"


if __name__ == "__main__":
    run(main, name="a name among the spaces of params.yaml")
