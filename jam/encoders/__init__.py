"""Frozen encoders behind one interface, from three sources: cave, package, hub."""

from jam.encoders.encoder import Encoder

__all__ = ["Encoder"]
