"""How alike are two representations of the same things? Every kernel metric of two arrays, with what it is worth.

    python -m jam.score a.npy b.npy                  a table
    python -m jam.score a.npy b.npy --json           the same as JSON, on stdout
    python -m jam.score a.npy b.npy --groups id.npy  rows of one label belong together (five captions of a photo)

Rows are (n, d) features of the same n things in the same order. They are divided by their lengths first, as Huh et al.
2024 do; --as-given leaves them as they are. Kernels of n × n numbers are held for RSA and the platonic variants.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from jam.errors import InputError
from jam.io import read_array

READ = """95 % interval   of a delete-a-group jackknife
chance          mean over {permutations} permutations of the rows; p <= .05: what a score has to exceed
calibrated      the score above chance, 0 at that threshold, 1 at the maximum: compare metrics by it"""


def score_arrays(
    x: np.ndarray,
    y: np.ndarray,
    metrics: Sequence[str] | None = None,
    k: int | None = None,
    groups: Sequence[object] | np.ndarray | None = None,
    permutations: int = 200,
    normalize: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """All metrics of two arrays, (n, d1) and (n, d2): `jam.metrics.kernel_table` with what fits small n.

    Args:
        x, y: features of the same things, row for row.
        metrics: some of `KERNEL_METRICS` and `KERNEL_VARIANTS`; None for all of them.
        k: neighbours; None for 10, or a quarter of the rows that may be neighbours if that is less.
        groups: (n,) labels of rows that belong together.
        permutations: of the null.
        normalize: divide rows by their lengths first.
        seed: of permutations and folds.

    Raises:
        ValueError: what does not fit together, or too few rows: 8 are needed, or groups of them.
    """
    from jam.metrics._rows import numbered, paired_rows, row_norms, unit_rows
    from jam.metrics.kernels import KERNEL_METRICS, KERNEL_VARIANTS, kernel_table

    a, b = paired_rows(x, y, ("a", "b"))
    sizes = np.bincount(numbered(groups, len(a)))
    if len(sizes) < 8:
        raise InputError(f"rows: got {len(sizes)} {'rows' if groups is None else 'groups'}, expected at least 8")
    folds = min(20, len(sizes))
    left = len(a) - sizes.max() * (1 + -(-len(sizes) // folds))  # neighbours that any row has in any fold
    if normalize:
        a, b = (unit_rows(rows, row_norms(rows, name)) for rows, name in ((a, "a"), (b, "b")))
    names = metrics or (*KERNEL_METRICS, *KERNEL_VARIANTS)
    fitting = max(1, min(10, int(left) // 4)) if k is None else k
    return kernel_table({"a": a}, {"b": b}, names, fitting, groups, permutations, folds, seed)


def as_text(table: pd.DataFrame, permutations: int) -> str:
    """The table for a terminal of 100 columns."""
    head = f"{'metric':<16}{'value':>7}  {'95 % interval':<16}{'chance':>8}{'p <= .05':>10}"
    lines = [f"{head}{'p':>8}{'calibrated':>12}{'k':>5}"]
    for row in table.to_dict("records"):
        interval = f"[{row['low']:.3f}, {row['high']:.3f}]"
        k = str(row["k"]) if row["k"] else "-"
        lines.append(
            f"{row['metric']:<16}{row['value']:>7.3f}  {interval:<16}{row['null_mean']:>8.3f}{row['null']:>10.3f}"
            f"{row['p_value']:>8.3f}{row['calibrated']:>12.3f}{k:>5}"
        )
    return "\n".join(lines) + "\n\n" + READ.format(permutations=permutations)


def main(argv: Sequence[str] | None = None) -> None:
    """Read, score, print."""
    parser = argparse.ArgumentParser(
        "python -m jam.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("a", type=Path, help="(n, d1) features in .npy")
    parser.add_argument("b", type=Path, help="(n, d2) features of the same things, row for row")
    parser.add_argument("--metrics", nargs="+", help="some of them; all by default")
    parser.add_argument("-k", type=int, help="neighbours; 10 by default, fewer if there are few rows")
    parser.add_argument("--groups", type=Path, help="(n,) labels in .npy; rows of one label are not neighbours")
    parser.add_argument("--permutations", type=int, default=200, help="of the null")
    parser.add_argument("--seed", type=int, default=0, help="of permutations and folds")
    parser.add_argument("--as-given", action="store_true", help="do not divide rows by their lengths")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    try:
        x, y = read_array(args.a, 2), read_array(args.b, 2)
        groups = None if args.groups is None else read_array(args.groups, 1)
        table = score_arrays(x, y, args.metrics, args.k, groups, args.permutations, not args.as_given, args.seed)
    except ValueError as error:
        sys.exit(f"score: {error}")
    if args.json:
        print(json.dumps(table.drop(columns=["x", "y"]).to_dict("records"), indent=2))
    else:
        print(f"{args.a} against {args.b}: n = {len(x):,}, {x.shape[1]} and {y.shape[1]} dimensions\n")
        print(as_text(table, args.permutations))


if __name__ == "__main__":
    main()
