"""JAM and its siblings: align frozen, independently trained encoders of different modalities."""

from jam.aligned import Aligned, Side
from jam.arrays import train_adapters
from jam.encoders import Encoder
from jam.metrics import retrieval_metrics
from jam.models import Adapter

__all__ = ["Adapter", "Aligned", "Encoder", "Side", "retrieval_metrics", "train_adapters"]
