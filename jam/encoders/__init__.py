"""Frozen encoders behind one interface, from four sources: cave, package, hub, folder."""

from typing import TYPE_CHECKING

from jam.lazy import lazily

if TYPE_CHECKING:
    from jam.encoders.encoder import Encoder

__all__ = ["Encoder"]
__getattr__, __dir__ = lazily(__name__, {"jam.encoders.encoder": ("Encoder",)})
