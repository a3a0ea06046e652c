"""JAM and its siblings: align frozen, independently trained encoders of different modalities."""

from jam.aligned import Aligned
from jam.arrays import train_adapters
from jam.encoders import Encoder
from jam.models import Adapter

__all__ = ["Adapter", "Aligned", "Encoder", "train_adapters"]
