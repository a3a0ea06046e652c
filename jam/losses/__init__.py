"""Alignment objectives, one a file, named as in the paper: Con, NegCon, Spread; any of them at several
widths at once; and those solved in closed form.
"""

from typing import TYPE_CHECKING

from jam.lazy import lazily

if TYPE_CHECKING:
    from jam.losses.con import contrastive_loss
    from jam.losses.negcon import negcon_loss
    from jam.losses.shared.contract import ClosedForm, Loss, load_loss
    from jam.losses.shared.nested import matryoshka
    from jam.losses.spread import spread_loss, spread_terms

__all__ = [
    "ClosedForm", "Loss", "contrastive_loss", "load_loss", "matryoshka", "negcon_loss", "spread_loss", "spread_terms",
]  # fmt: skip
__getattr__, __dir__ = lazily(
    __name__,
    {
        "jam.losses.con": ("contrastive_loss",),
        "jam.losses.shared.contract": ("ClosedForm", "Loss", "load_loss"),
        "jam.losses.shared.nested": ("matryoshka",),
        "jam.losses.negcon": ("negcon_loss",),
        "jam.losses.spread": ("spread_loss", "spread_terms"),
    },
)
