"""Train one pair of adapters with one objective and one seed, on two frozen layers.

Reads   data/features/{image encoder}/layer_NN.npy, data/features/{text encoder}/layer_NN.npy, their index.parquet
Writes  data/adapters/OBJECTIVE/SEED/ (image/, text/, layers.json), metrics/curves/OBJECTIVE-SEED.csv

By hand:  python -m stages.align spread 0
"""

import argparse

from jam.config import Objective, load_params
from jam.device import pick_device
from jam.errors import InputError
from jam.io import write_csv
from jam.training import train
from stages.common import ADAPTERS, METRICS, run, say
from stages.inputs import load_pairs, save_adapters


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objective", help="a name among objectives in params.yaml")
    parser.add_argument("seed", type=int, help="seed of initialisation, batches and dropout")
    args = parser.parse_args(argv)
    params = load_params()
    if args.objective not in params.align.objectives:
        raise InputError(f"objective: got {args.objective!r}, expected one of {list(params.align.objectives)}")

    objective = params.objectives[args.objective]
    assert isinstance(objective, Objective)  # as the schema promises
    pairs, validation = load_pairs(params, "train"), load_pairs(params, "val")
    try:
        trained = train(pairs, validation, objective, params.training, seed=args.seed, device=pick_device(), report=say)
    except ValueError as error:
        raise InputError(str(error)) from error
    folder = ADAPTERS / args.objective / str(args.seed)
    save_adapters(folder, trained, params)
    curve = trained.history.assign(method=args.objective, seed=args.seed)
    write_csv(METRICS / "curves" / f"{args.objective}-{args.seed}.csv", curve)
    return (
        f"kept epoch {trained.chosen['epoch'] + 1}, validation recall {trained.chosen['validation_recall']:.3f}; "
        f"adapters in {folder}"
    )


if __name__ == "__main__":
    run(main)
