"""Align the sides of one space: trained, once for each seed, or solved in closed form.

Reads   data/features/ENCODER/layer_N.npy and index.parquet of each side
Writes  data/spaces/NAME/SEED/ (a folder a side, space.json), metrics/curves/NAME.csv

By hand:  python -m stages.space spread
"""

import pandas as pd

from jam.align.closed_form import fit_closed_form
from jam.align.train import train
from jam.device import pick_device
from jam.errors import InputError
from jam.io import atomic_folder, write_csv
from jam.params import Objective, load_params
from stages.common import METRICS, SPACES, run, say
from stages.inputs import load_items


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    spec = params.space(name)
    items, validation = (load_items(spec.sides, split) for split in ("train", "val"))
    sources = {side.side: {"encoder": side.encoder, "layer": side.layer} for side in spec.sides}
    history = []
    with atomic_folder(SPACES / name) as folder:
        for seed in spec.seeds:
            try:
                if isinstance(spec.fit, Objective):
                    space = train(
                        items, validation, spec.fit, params.training, pairs=spec.pairs, seed=seed,
                        device=pick_device(), report=say,
                    )  # fmt: skip
                else:
                    space = fit_closed_form(spec.fit.loss, items, validation, spec.fit.grid)
            except ValueError as error:
                raise InputError(str(error)) from error
            space.save(folder / str(seed), sources)
            history.append(space.history.assign(space=name, seed=seed))
            say(f"seed {seed}: chosen on validation rows: {space.chosen}")
    write_csv(METRICS / "curves" / f"{name}.csv", pd.concat(history, ignore_index=True))
    return f"adapters in {SPACES / name}"


if __name__ == "__main__":
    run(main, name="a name among the spaces of params.yaml")
