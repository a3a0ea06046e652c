"""JAM and its siblings: align frozen, independently trained encoders of different modalities."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jam.aligned import Aligned, Side
    from jam.arrays import train_adapters
    from jam.encoders import Encoder
    from jam.metrics import retrieval_metrics
    from jam.models import Adapter

# Loaded when first asked for: a stage or a program that wants one room does not wait for the others.
_HOME = {
    "Adapter": "jam.models",
    "Aligned": "jam.aligned",
    "Encoder": "jam.encoders",
    "Side": "jam.aligned",
    "retrieval_metrics": "jam.metrics",
    "train_adapters": "jam.arrays",
}

__all__ = ["Adapter", "Aligned", "Encoder", "Side", "retrieval_metrics", "train_adapters"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jam' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
