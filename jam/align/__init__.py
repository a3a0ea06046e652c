"""Spaces: light trainable adapters, or closed forms, that align frozen features of any number of sides."""

from typing import TYPE_CHECKING

from jam.lazy import lazily

if TYPE_CHECKING:
    from jam.align.adapter import Adapter
    from jam.align.arrays import train_space
    from jam.align.space import Side, Space

__all__ = ["Adapter", "Side", "Space", "train_space"]
__getattr__, __dir__ = lazily(
    __name__,
    {
        "jam.align.adapter": ("Adapter",),
        "jam.align.arrays": ("train_space",),
        "jam.align.space": ("Side", "Space"),
    },
)
