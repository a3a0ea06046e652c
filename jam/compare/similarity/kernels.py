"""Unbiased CKA, RSA and mutual kNN of all pairs of representations of the same items."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from jam.compare.similarity.rsa import rsa_table
from jam.metrics._rows import Array, Groups
from jam.metrics.kernels import kernel_table


def kernel_similarities(
    xs: Mapping[str, Array],
    ys: Mapping[str, Array] | None = None,
    metrics: Sequence[str] = ("unbiased_cka", "rsa", "mutual_knn"),
    k: int = 10,
    groups: Groups = None,
    permutations: int = 100,
    folds: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Every x with every y, or, where there is no y, every two of x; no representation with itself.

    They need no map between spaces. CKA leaves rotation, scale and shift of either side out of account; mutual kNN,
    whose neighbours are those by cosine, rotation and scale; RSA, whose distances are 1 − correlation, scale and the
    order of dimensions: the mean over dimensions that it takes from each row is another one after a rotation.

    Args:
        xs: name → (n, d) features of test items.
        ys: name → (n, d) features of the same items.
        metrics: of `jam.metrics.kernels.KERNEL_METRICS`.
        k: neighbours of mutual kNN.
        groups: (n,) labels of items that are no independent draws (scenes of one state): not neighbours of each
            other, permuted and deleted together.
        permutations: of the items of y, for the null of each pair.
        folds: of the jackknife interval. A bootstrap will not do: an item that is drawn twice is its own neighbour.
        seed: of both.

    Returns:
        Columns x, y, metric, value, low, high, interval, null (95 % of permutations), null_mean, p, n, k.

    Raises:
        ValueError: as `kernel_table`.
        InputError: as `kernel_table`.
    """
    own = ys is None
    others = xs if ys is None else ys
    if not xs or not others or (own and len(xs) < 2):
        return pd.DataFrame()
    engine = [metric for metric in metrics if metric != "rsa"]
    how: dict[str, Any] = {"groups": groups, "permutations": permutations, "folds": folds, "seed": seed}
    tables = [kernel_table(xs, others, engine, k=k, **how)] if engine else []
    if "rsa" in metrics:
        tables.append(rsa_table(xs, others, **how))
    table = pd.concat(tables, ignore_index=True)
    if own:
        place = {name: i for i, name in enumerate(xs)}
        table = table[table["x"].map(place) < table["y"].map(place)].reset_index(drop=True)
    table = table.rename(columns={"p_value": "p"}).drop(columns="calibrated")
    return table.assign(interval="jackknife over items")
