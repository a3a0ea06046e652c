"""Which layer of an encoder is seen where no layer is named."""

from collections.abc import Mapping, Sequence
from itertools import chain, product

import numpy as np

from jam.align.rows import one_row_each, varies
from jam.features.store import FeatureStore
from jam.metrics.kernels import layer_alignment


def choose_layers(
    stores: Mapping[str, FeatureStore], pairs: Sequence[tuple[Sequence[str], Sequence[str]]], k: int
) -> dict[str, int]:
    """For each encoder the layer with the highest mutual kNN with other modalities, on validation rows.

    Layers that are the same for all rows take no part. Where there is but one modality, the last layer is taken.

    Args:
        stores: features by encoder.
        pairs: the encoders of one modality and those of another, as `jam.params.Params.pairs_of_modalities` has them.
        k: neighbours.
    """
    layers: dict[str, dict[int, np.ndarray]] = {}
    for name, store in stores.items():
        rows = one_row_each(store.index, "val")
        found = {i: np.array(store.layer(i)[rows]) for i in range(store.layers)}
        layers[name] = {i: features for i, features in found.items() if varies(features)}
    totals = {name: np.zeros(len(found)) for name, found in layers.items()}
    if not pairs:
        return {name: list(found)[-1] for name, found in layers.items()}
    for x, y in chain.from_iterable(product(*pair) for pair in pairs):
        xs, ys = (list(layers[name].values()) for name in (x, y))
        scores = layer_alignment(xs, ys, ("mutual_knn",), k).scores["mutual_knn"]
        totals[x] += scores.max(axis=1)
        totals[y] += scores.max(axis=0)
    return {name: list(layers[name])[int(total.argmax())] for name, total in totals.items()}
