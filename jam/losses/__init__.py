"""Alignment objectives, one a file, named as in the paper: Con, NegCon, Spread; and those solved in closed form."""

from jam.losses.con import contrastive_loss
from jam.losses.contract import ClosedForm, Loss, load_loss
from jam.losses.negcon import negcon_loss
from jam.losses.spread import spread_loss, spread_terms

__all__ = ["ClosedForm", "Loss", "contrastive_loss", "load_loss", "negcon_loss", "spread_loss", "spread_terms"]
