"""Do the same concepts cluster in every model? Clusterings held against each other, and against known labels."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from jam.errors import InputError
from jam.metrics._rows import Array, Groups, as_rows, numbered, require_finite
from jam.metrics.kernels.nulls import calibrate, deal, draw_orders, jackknife_interval, p_value

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def kmeans_labels(rows: Array, clusters: int, seed: int = 0, restarts: int = 4, name: str = "rows") -> Labels:
    """k-means of centred rows as they are, the best of some restarts, (n,) labels in the order in which they appear.

    Raises:
        InputError: features that are not finite, or fewer rows that differ than clusters.
    """
    from sklearn.cluster import KMeans  # half a second to import

    table = as_rows(rows, name)
    require_finite(table, name)
    values = table.double().cpu().numpy()
    if (distinct := len(np.unique(values, axis=0))) < clusters:
        raise InputError(f"{name}: got {distinct} rows that differ, expected at least the {clusters} clusters")
    values = values - values.mean(axis=0)
    return numbered(KMeans(clusters, n_init=restarts, random_state=seed).fit_predict(values), len(values))


def agreement(
    labelled: Mapping[str, Sequence[object] | Labels],
    pairs: Sequence[tuple[str, str]],
    permutations: int = 100,
    folds: int = 10,
    seed: int = 0,
    groups: Groups = None,
) -> pd.DataFrame:
    """Adjusted mutual information of two labellings of the same items, for each of the pairs named.

    AMI = (MI − E[MI]) / (mean(H_x, H_y) − E[MI]) with the expectation over permutations (Vinh et al. 2010): 0 for
    unrelated labellings, whatever their numbers of clusters, 1 for the same one under other names. The interval is the
    delete-a-group jackknife: in a bootstrap, items that are drawn twice agree with themselves, which adds to MI.

    Args:
        labelled: name → (n,) labels.
        pairs: of names.
        permutations: of the items of y. E[MI] is the same under each, so that MI alone is taken again.
        folds: of the jackknife.
        seed: of both.
        groups: (n,) labels of items that are deleted together, and exchanged together as `draw_orders` says.

    Returns:
        Columns x, y, metric, value, low, high, interval, null, null_mean, p, n.

    Raises:
        ValueError: labels of another number of items, or numbers out of range.
        InputError: a labelling with one label alone.
    """
    if not pairs:
        return pd.DataFrame()
    sizes = {len(labels) for labels in labelled.values()}
    if len(sizes) != 1:
        raise ValueError(f"labelled: got labels of {sorted(sizes)} items, expected the same items in all")
    [n] = sizes
    codes = {name: numbered(labels, n) for name, labels in labelled.items()}
    for name, of in codes.items():
        if of.max() == 0:
            raise InputError(f"{name}: got one label for all items, expected at least two")
    fold, orders = deal(n, folds, seed, groups), draw_orders(n, permutations, seed, groups).matrix()
    table = []
    for x, y in pairs:
        a, b = codes[x], codes[y]
        value, expected, most = _adjusted(a, b)
        chance = (_mutual_information(a, b[orders]) - expected) / (most - expected)
        parts = np.array([_adjusted(a[fold != f], b[fold != f])[0] for f in range(folds)])
        interval = jackknife_interval(value, parts)
        table.append(
            {
                "x": x, "y": y, "metric": "ami", "value": value, "low": interval.low, "high": interval.high,
                "interval": "jackknife over items", "null": calibrate(value, chance)[1],
                "null_mean": float(chance.mean()), "p": p_value(value, chance), "n": n,
            }
        )  # fmt: skip
    return pd.DataFrame(table)


def _mutual_information(a: Labels, orders: Labels) -> Floats:
    """In nats, of labels (n,) with each of some labellings (p, n)."""
    n, width = len(a), int(orders.max()) + 1
    cells = (int(a.max()) + 1) * width
    keys = a * width + orders + np.arange(len(orders))[:, None] * cells
    counts = np.bincount(keys.ravel(), minlength=len(orders) * cells).reshape(len(orders), -1, width) / n
    outer = counts.sum(axis=2, keepdims=True) * counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(counts > 0, counts * np.log(counts / outer), 0.0)
    found: Floats = terms.sum(axis=(1, 2))
    return found


def _adjusted(a: Labels, b: Labels) -> tuple[float, float, float]:
    """AMI; of MI the expectation and the mean of the entropies, its most."""
    from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

    n = len(a)
    table = contingency_matrix(a, b, sparse=True, dtype=np.int64)
    expected = float(expected_mutual_information(table, n))
    shares = [np.bincount(labels)[np.bincount(labels) > 0] / n for labels in (a, b)]
    most = float(np.mean([-(share * np.log(share)).sum() for share in shares]))
    found = float(_mutual_information(a, b[None])[0])
    room = most - expected
    if room < 1e-9:  # each item a label of its own, in both
        return 1.0, expected, expected + 1.0
    return (found - expected) / room, expected, most
