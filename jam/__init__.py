"""JAM and its siblings: align frozen, independently trained encoders of different modalities."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jam.align import Adapter, Side, Space, train_space
    from jam.encoders import Encoder
    from jam.metrics import retrieval_metrics

# Loaded when first asked for: a stage or a program that wants one room does not wait for the others.
_HOME = {
    "Adapter": "jam.align",
    "Encoder": "jam.encoders",
    "Side": "jam.align",
    "Space": "jam.align",
    "retrieval_metrics": "jam.metrics",
    "train_space": "jam.align",
}

__all__ = ["Adapter", "Encoder", "Side", "Space", "retrieval_metrics", "train_space"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jam' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
