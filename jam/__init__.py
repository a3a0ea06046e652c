"""JAM and its siblings: align frozen, independently trained encoders of different modalities."""

from jam.encoders import Encoder
from jam.models import Adapter

__all__ = ["Adapter", "Encoder"]
