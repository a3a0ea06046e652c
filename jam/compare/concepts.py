"""Do the same concepts cluster in every model? Clusterings of every two models, and of each with what is known."""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd

from jam.compare.analysis import agreement, kmeans_labels
from jam.compare.cast import Rep, expanded
from jam.metrics._rows import Groups


def cluster_table(
    reps: Sequence[Rep],
    labels: Mapping[str, np.ndarray],
    clusters: Sequence[int],
    groups: Groups,
    options: Mapping[str, int],
) -> pd.DataFrame:
    """Rows of results: adjusted mutual information of k-means clusterings of test rows.

    Args:
        reps: what is clustered; pairs of images with texts are among the pairs.
        labels: name → (n,) what is known of test items; its rows have no y, and the name as ``label``.
        clusters: numbers of clusters, one after the other.
        groups: (n,) labels of items that are no independent draws.
        options: ``permutations``, ``folds``, ``seed`` of `agreement`.
    """
    of, parts = {rep.key: rep for rep in reps}, []
    for k in clusters:
        found: dict[str, Any] = {
            key: kmeans_labels(rep.rows["test"], k, options["seed"], name=key) for key, rep in of.items()
        }
        between, with_known = list(combinations(of, 2)), list(product(of, labels))
        if between:
            table = agreement(found, between, **options, groups=groups).assign(k=0, clusters=k)
            parts.append(expanded(table, reps))
        if with_known:
            table = agreement({**found, **labels}, with_known, **options, groups=groups)
            told = table.assign(k=0, clusters=k, label=table["y"], y=table["x"])
            parts.append(expanded(told, reps).assign(y=None, y_layer=None, y_modality=None, y_depth=None, final=True))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
