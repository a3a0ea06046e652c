"""Align the sides of one space: trained, once for each seed, or solved in closed form.

Of an objective with several ``configurations`` each is trained with the first seed; the one that is best on validation
rows is trained with all seeds.

Reads   data/features/ENCODER/layer_N.npy and index.parquet of each side
Writes  data/spaces/NAME/SEED/ (a folder a side, space.json), metrics/curves/NAME.csv

Trainings run in processes of one thread: the same bytes on any number of cores.

By hand:  python -m stages.space spread
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jam.errors import InputError
from jam.io import atomic_folder, write_csv
from jam.parallel import in_processes, processes
from jam.params import Configuration, Objective, load_params
from stages.common import METRICS, SPACES, run, say

if TYPE_CHECKING:
    from jam.align.space import Space


def fit(name: str, seed: int, configuration: Configuration, told: str) -> "Space":
    """Train or solve one space; a closed form heeds no seed.

    Raises:
        InputError: the features do not allow it.
    """
    from jam.align.closed_form import fit_closed_form  # torch, for the processes that train: two seconds to import
    from jam.align.train import train
    from jam.device import pick_device
    from stages.inputs import load_items

    params = load_params()
    spec = params.space(name)
    items, validation = (load_items(spec.sides, split) for split in ("train", "val"))
    try:
        if isinstance(spec.fit, Objective):
            objective, training = configuration.of(spec.fit, params.training)
            how = {"pairs": spec.pairs, "seed": seed, "device": pick_device(), "report": lambda line: say(told + line)}
            return train(items, validation, objective, training, **how)  # type: ignore[arg-type]
        closed, criterion = spec.fit, params.training.criterion
        return fit_closed_form(closed.loss, items, validation, closed.grid, closed.whitening, criterion)
    except ValueError as error:
        raise InputError(str(error)) from error


def fitted(key: int, *call: Any) -> tuple[int, "Space"]:
    """What `fit` gives, under a number, as processes end in any order."""
    return key, fit(*call)


def fit_all(name: str) -> tuple[dict[int, "Space"], pd.DataFrame]:
    """A space for each seed, and the history of everything that was tried."""
    spec = load_params().space(name)
    tried = getattr(spec.fit, "configurations", ()) or (Configuration(),)
    first, *others = spec.seeds
    calls = [(i, name, first, one, f"configuration {i}, ") for i, one in enumerate(tried)]
    trials = dict(in_processes(fitted, calls, min(processes(), len(calls))))
    best = max(trials, key=lambda i: (trials[i].chosen["validation_score"], -i))
    say(f"configuration {best} of {len(tried)} is the best on validation rows: {tried[best].changes}")
    calls = [(seed, name, seed, tried[best], f"seed {seed}, ") for seed in others]
    spaces = {first: judged(trials[best], list(trials.values()))}
    spaces |= dict(in_processes(fitted, calls, min(processes(), len(calls)))) if calls else {}
    history = [space.history.assign(seed=first, configuration=i) for i, space in sorted(trials.items())]
    history += [spaces[seed].history.assign(seed=seed, configuration=best) for seed in others]
    told = pd.concat(history, ignore_index=True)
    return spaces, told.assign(space=name, kept=told["configuration"] == best)


def judged(space: "Space", trials: list["Space"]) -> "Space":
    """The space with all looks at validation rows that led to it, those of the trials that lost too."""
    from jam.align.looks import Looks

    if space.looks is None:
        return space
    looks = [trial.looks for trial in trials if trial.looks]
    best = np.max([each.best for each in looks], axis=0)
    found = Looks(space.looks.items, space.looks.sides, space.looks.recall, best.tolist())
    return replace(space, looks=found, chosen=space.chosen | found.chance())


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    spaces, history = fit_all(name)
    sources = {side.side: {"encoder": side.encoder, "layer": side.layer} for side in load_params().space(name).sides}
    with atomic_folder(SPACES / name) as folder:
        for seed, space in spaces.items():
            space.save(folder / str(seed), sources)
            say(f"seed {seed}: chosen on validation rows: {space.chosen}")
            if doubt := space.doubt:
                say(f"seed {seed}: warning: {doubt}")
    write_csv(METRICS / "curves" / f"{name}.csv", history)
    return f"adapters in {SPACES / name}"


if __name__ == "__main__":
    run(main, name="a name among the spaces of params.yaml")
