"""JAM and its siblings: align frozen, independently trained encoders of different modalities."""

from typing import TYPE_CHECKING

from jam.lazy import lazily

if TYPE_CHECKING:
    from jam.align import Adapter, Side, Space, train_space
    from jam.caption import Captioner, train_captioner
    from jam.encoders import Encoder
    from jam.metrics import retrieval_metrics

__all__ = ["Adapter", "Captioner", "Encoder", "Side", "Space", "retrieval_metrics", "train_captioner", "train_space"]
__getattr__, __dir__ = lazily(
    __name__,
    {
        "jam.align": ("Adapter", "Side", "Space", "train_space"),
        "jam.caption": ("Captioner", "train_captioner"),
        "jam.encoders": ("Encoder",),
        "jam.metrics": ("retrieval_metrics",),
    },
)
