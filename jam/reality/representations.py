"""Representations of the items of a truth: one row an item, its first view."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from jam.align.adapter import Adapter
from jam.errors import InputError
from jam.features.store import FeatureStore

AGAIN = "again"  # the form of a second image; further captions have the form of the first
KEPT = 0.99  # share of variance that the whitening keeps

Ids = Mapping[str, npt.NDArray[np.object_]]


@dataclass(frozen=True)
class Representation:
    """Rows of the same items for every representation.

    Attributes:
        told: what it is, in columns of results.
        modality: of the views.
        features: split → (n, d).
        second: (m, d) another view of each test item; None where there is none.
    """

    told: Mapping[str, Any]
    modality: str
    features: Mapping[str, np.ndarray]
    second: np.ndarray | None = None


def seen(store: FeatureStore, layer: int, ids: Ids, modality: str, told: Mapping[str, Any]) -> Representation:
    """One layer of an encoder.

    Raises:
        InputError: an item without a view.
    """
    table, lines = store.layer(layer), store.index[store.index["role"] == "true"]
    first = lines[lines["k"] == 0]
    forms = [*first["form"].unique(), AGAIN]
    features = {}
    for split, mine in ids.items():
        rows = _rows(first[first["split"] == split], mine)
        if rows is None:
            raise InputError(f"{store.folder}: an item of split {split} has no row, expected a view of each item")
        features[split] = np.array(table[rows])
    again = lines[(lines["k"] == 1) & (lines["split"] == "test") & lines["form"].isin(forms)]
    rows = _rows(again, ids["test"])
    second = None if rows is None else np.array(table[rows])
    return Representation({**told, "modality": modality}, modality, features, second)


def _rows(lines: pd.DataFrame, ids: npt.NDArray[np.object_]) -> npt.NDArray[np.int64] | None:
    place = pd.Series(lines.index.to_numpy(), index=lines["id"].to_numpy()).reindex(ids)
    return None if place.isna().any() else place.to_numpy().astype(np.int64)


def whitened(of: Representation, told: Mapping[str, Any]) -> Representation:
    """The principal directions of the train rows that hold 99 % of their variance, each scaled to unit variance.

    What is left out are the directions in which a net hardly moves, which unit variance would fill with noise.
    """
    train = of.features["train"].astype(np.float64)
    mean = train.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(train, rowvar=False, bias=True).reshape(train.shape[1], -1))
    variances, directions = np.maximum(variances[::-1], 0), directions[:, ::-1]
    kept = 1 + int(np.searchsorted(variances.cumsum(), KEPT * variances.sum()))
    basis = directions[:, :kept] / np.sqrt(variances[:kept])
    return _mapped(of, lambda rows: (rows - mean) @ basis, told)


def encoded(of: Representation, adapter: Adapter, told: Mapping[str, Any]) -> Representation:
    """What an adapter makes of a representation."""
    return _mapped(of, adapter.encode, told)


def _mapped(of: Representation, how: Any, told: Mapping[str, Any]) -> Representation:
    features = {split: how(rows) for split, rows in of.features.items()}
    second = None if of.second is None else how(of.second)
    return Representation({**of.told, **told}, of.modality, features, second)
