"""Fit one baseline: a linear or MLP adapter by the contrastive loss, or a closed form.

Reads   data/features/{image encoder}/layer_NN.npy, data/features/{text encoder}/layer_NN.npy, their index.parquet
Writes  data/adapters/BASELINE/SEED/ (image/, text/, layers.json), metrics/curves/BASELINE.csv

Trained baselines run once for each of align.seeds; a closed form has nothing random and runs once, as seed 0.

By hand:  python -m stages.baseline ridge
"""

import argparse

import pandas as pd

from jam.baselines import fit_closed_form
from jam.config import Objective, load_params
from jam.device import pick_device
from jam.errors import InputError
from jam.io import atomic_folder, write_csv
from jam.training import train
from stages.common import ADAPTERS, METRICS, run, say
from stages.inputs import load_pairs, save_adapters


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline", help="a name among align.baselines in params.yaml")
    args = parser.parse_args(argv)
    params = load_params()
    if args.baseline not in params.align.baselines:  # the outputs of others are those of another stage
        raise InputError(f"baseline: got {args.baseline!r}, expected one of {list(params.align.baselines)}")

    spec = params.objectives[args.baseline]
    pairs, validation = load_pairs(params, "train"), load_pairs(params, "val")
    history = []
    with atomic_folder(ADAPTERS / args.baseline) as folder:
        for seed in params.align.seeds if isinstance(spec, Objective) else (0,):
            try:
                if isinstance(spec, Objective):
                    fitted = train(
                        pairs, validation, spec, params.training, seed=seed, device=pick_device(), report=say
                    )
                else:
                    fitted = fit_closed_form(spec.model, pairs, validation, spec.grid)
            except ValueError as error:
                raise InputError(str(error)) from error
            save_adapters(folder / str(seed), fitted, params)
            history.append(fitted.history.assign(method=args.baseline, seed=seed))
            say(f"seed {seed}: chosen on validation rows: {fitted.chosen}")
    write_csv(METRICS / "curves" / f"{args.baseline}.csv", pd.concat(history, ignore_index=True))
    return f"adapters in {ADAPTERS / args.baseline}"


if __name__ == "__main__":
    run(main)
