"""The one contract of all alignment losses: a file of this folder ends with ``LOSS``, and is loaded by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor

Maps = tuple[np.ndarray, np.ndarray]


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


@dataclass(frozen=True)
class ClosedForm:
    """A loss of two sides whose optimum is known.

    Attributes:
        solve: of standardised, hence centred, features of matching rows, x (n, d_x) and y (n, d_y) in float64, and of
            its parameters; gives maps (d_x, k) and (d_y, k) into one space where rows are compared by cosine.
    """

    solve: Callable[..., Maps]


def signed(x_map: np.ndarray, y_map: np.ndarray) -> Maps:
    """Turn directions (columns) round, in both maps at once, which leaves all products of rows as they were.

    The sign of a singular or eigenvector is the library's whim; here the largest weight on y is positive.
    """
    size = np.abs(y_map)
    largest = np.argmax(size > (1 - 1e-6) * size.max(axis=0), axis=0)  # the first of those that rounding may exchange
    signs = np.where(y_map[largest, np.arange(y_map.shape[1])] < 0, -1.0, 1.0)
    return x_map * signs, y_map * signs


def load_loss(name: str) -> Loss | ClosedForm:
    """The loss of a file of this folder.

    Raises:
        ValueError: there is no such file.
    """
    try:
        loss: Loss | ClosedForm = import_module(f"jam.losses.{name}").LOSS
    except (ImportError, AttributeError):
        raise ValueError(f"loss: got {name!r}, expected the name of a file of jam/losses with a LOSS") from None
    return loss
