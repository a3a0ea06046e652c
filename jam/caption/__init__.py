"""Captions from a frozen language model: a prefix projected into it, and what its sentences are worth."""

from typing import TYPE_CHECKING

from jam.lazy import lazily

if TYPE_CHECKING:
    from jam.caption.captioner import Captioner
    from jam.caption.own import train_captioner

__all__ = ["Captioner", "train_captioner"]
__getattr__, __dir__ = lazily(
    __name__, {"jam.caption.captioner": ("Captioner",), "jam.caption.own": ("train_captioner",)}
)
