"""The feature store: pooled states of a frozen encoder, all layers, computed once and read through memory maps.

A folder holds ``layer_0.npy``, ``layer_1.npy``, … (rows × d_layer), ``index.parquet`` (what each row is) and
``manifest.json`` (what made them). `extract_features` writes it, `FeatureStore` reads it.
"""

from typing import TYPE_CHECKING

from jam.lazy import lazily

if TYPE_CHECKING:
    from jam.features.extract import extract_features
    from jam.features.store import FeatureStore

__all__ = ["FeatureStore", "extract_features"]
__getattr__, __dir__ = lazily(
    __name__, {"jam.features.extract": ("extract_features",), "jam.features.store": ("FeatureStore",)}
)
