"""Spaces: light trainable adapters, or closed forms, that align frozen features of any number of sides."""

from jam.align.adapter import Adapter
from jam.align.arrays import train_space
from jam.align.space import Side, Space

__all__ = ["Adapter", "Side", "Space", "train_space"]
