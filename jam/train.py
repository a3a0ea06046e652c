"""Train a space of two or more arrays of frozen features, and save it.

    python -m jam.train image=v.npy text=t.npy -o my-space
    python -m jam.train photo=v.npy caption=t.npy --ids photo=p.npy caption=q.npy -o my-space    five captions a photo
    python -m jam.train image=v.npy text=t.npy --negatives text=false.npy -o my-space            with NegCon

Rows are features of the same things in the same order, or --ids say of each row what it shows. The epoch and the
whitening are chosen on a share of the things that is kept out of training. `jam.Space.load("my-space")` gives it back.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jam.errors import InputError
from jam.io import read_array, replaceable


def named(arguments: Sequence[str], dimensions: int) -> dict[str, np.ndarray]:
    """Arrays of ``NAME=FILE`` arguments, or of ``FILE`` ones, whose name is that of the file.

    Raises:
        InputError: a name that is there twice, or as `jam.io.read_array`.
    """
    found: dict[str, np.ndarray] = {}
    for argument in arguments:
        name, told, path = argument.partition("=")
        if not told:
            name, path = Path(argument).stem, argument
        if name in found or not name:
            raise InputError(f"{argument}: got the name {name!r} more than once or none, expected NAME=FILE")
        found[name] = read_array(Path(path), dimensions)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Read, train, save."""
    parser = argparse.ArgumentParser(
        "python -m jam.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sides", nargs="+", help="(n, d) features of each side in .npy, as NAME=FILE")
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder to save the space in")
    parser.add_argument("--ids", nargs="+", default=[], help="what each row of a side shows, (n,) in .npy, NAME=FILE")
    parser.add_argument("--negatives", nargs="+", default=[], help="views false of the things of a side's rows")
    parser.add_argument("--groups", type=Path, help="(n,) labels of the first side's rows, never split")
    parser.add_argument("--model", default="autoencoder", help="autoencoder, linear or mlp")
    parser.add_argument("--latent", type=int, default=256, help="width of the shared space")
    parser.add_argument("--epochs", type=int, default=10, help="at most")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the weights and the batches")
    parser.add_argument("--device", default="cpu", help="cuda, mps or cpu")
    args = parser.parse_args(argv)
    try:
        options: dict[str, Any] = {
            name: getattr(args, name) for name in ("model", "latent", "epochs", "seed", "device")
        }
        sides, ids, negatives = named(args.sides, 2), named(args.ids, 1), named(args.negatives, 2)
        groups = None if args.groups is None else read_array(args.groups, 1)
        from jam.align.arrays import train_space
        from jam.align.space import SPACE

        replaceable(args.output, SPACE, ("sides", "pairs"))  # before the work
        space = train_space(sides, negatives=negatives or None, ids=ids or None, groups=groups, report=print, **options)
        space.save(args.output)
    except ValueError as error:
        sys.exit(f"train: {error}")
    told = ", ".join(f"{name} {value:.3f}" for name, value in space.chosen.items() if isinstance(value, float))
    print(f"chosen on rows kept out of training: {told}")
    print(f"space of {', '.join(space.sides)} in {args.output}")


if __name__ == "__main__":
    main()
