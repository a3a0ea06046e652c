"""The one contract of all alignment losses: a file of this folder ends with ``LOSS``, and is loaded by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """An alignment loss and what it takes.

    Attributes:
        function: of latents (n, d) – anchors, what matches them and, with ``negatives``, what is false of them – of
            the logit scale, ``same``, and the options.
        negatives: whether it takes false views.
        options: names of its further arguments.
    """

    function: Callable[..., Tensor]
    negatives: bool = False
    options: tuple[str, ...] = ()

    def __call__(
        self, a: Tensor, p: Tensor, q: Tensor | None, logit_scale: Tensor | float, same: Tensor | None, **given: Any
    ) -> Tensor:
        """The scalar loss of a batch; of the options given those that it takes are used."""
        latents = (a, p, q) if self.negatives else (a, p)
        return self.function(*latents, logit_scale, same=same, **{name: given[name] for name in self.options})


def load_loss(name: str) -> Loss:
    """The loss of a file of this folder.

    Raises:
        ValueError: there is no such file.
    """
    try:
        loss: Loss = import_module(f"jam.losses.{name}").LOSS
    except (ImportError, AttributeError):
        raise ValueError(f"loss: got {name!r}, expected the name of a file of jam/losses with a LOSS") from None
    return loss
