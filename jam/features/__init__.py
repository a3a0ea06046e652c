"""The feature store: states of a frozen encoder, computed once and read through memory maps; pooled, all layers.

A folder holds ``layer_0.npy``, ``layer_1.npy``, … (rows × d_layer), ``index.parquet`` (what each row is) and
``manifest.json`` (what made them). `extract_features` writes it, `FeatureStore` reads it. `extract_tokens` writes all
tokens of one layer, `TokenStore` reads them.
"""

from typing import TYPE_CHECKING

from jam.lazy import lazily

if TYPE_CHECKING:
    from jam.features.extract import extract_features
    from jam.features.store import FeatureStore
    from jam.features.tokens import TokenStore, extract_tokens

__all__ = ["FeatureStore", "TokenStore", "extract_features", "extract_tokens"]
__getattr__, __dir__ = lazily(
    __name__,
    {
        "jam.features.extract": ("extract_features",),
        "jam.features.store": ("FeatureStore",),
        "jam.features.tokens": ("TokenStore", "extract_tokens"),
    },
)
