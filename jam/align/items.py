"""Items seen from several sides: which rows of whose features show them, and which tell something false of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from jam.align.tables import as_tensor, pool_rows
from jam.align.truth import Truth


@dataclass(frozen=True)
class SideRows:
    """Frozen features of one side, and the views of n items among its rows.

    Attributes:
        table: (rows, d), perhaps a memory map.
        true: (n, K), the views of item i first, then −1 where it has fewer than K.
        false: (n, M), likewise, views that are false of it (hard negatives); M = 0 where there are none.
        origin: (n, M), of each false view the true one that it was made from, −1 where that has no features (as where
            those of training items are limited); None for the first of the item.
    """

    table: np.ndarray
    true: np.ndarray
    false: np.ndarray
    origin: np.ndarray | None = None

    @property
    def has_false(self) -> bool:
        """Whether every item has a view that is false of it."""
        return self.false.shape[1] > 0 and bool((self.false[:, 0] >= 0).all())

    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of all true views, and the item (0 … n−1) that each shows; both (total,)."""
        item, _ = present = np.nonzero(self.true >= 0)
        return self.true[present], item

    def negatives(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of false views the item, their rows, and those of the true views that they were made from; (total,) each."""
        item, _ = present = np.nonzero(self.false >= 0)
        origin = self.true[item, 0] if self.origin is None else self.origin[present]
        known = origin >= 0
        return item[known], self.false[present][known], origin[known]

    def mean(self) -> np.ndarray:
        """The mean true view of each item, (n, d) in single precision, or double if the features are."""
        if self.true.shape[1] == 1:
            return np.asarray(self.table[self.true[:, 0]])
        return pool_rows(as_tensor(self.table), torch.as_tensor(self.true), "mean").numpy()


@dataclass(frozen=True)
class Items:
    """One split: n items, each with at least one view on every side.

    Attributes:
        sides: by name; of each the rows of the same items in the same order.
        truth: which views are true of which other items; None where each is true of its own alone.
        ids: (n,) what the items are called, where it is known.
        contexts: (n,) of each item the number of its context, −1 where it has none; None where they are not known.

    Raises:
        ValueError: no side or no item, different numbers of items, or an item without a view.
    """

    sides: Mapping[str, SideRows]
    truth: Truth | None = None
    ids: np.ndarray | None = None
    contexts: np.ndarray | None = None

    def __post_init__(self) -> None:
        counts = {name: (len(side.true), len(side.false)) for name, side in self.sides.items()}
        if len({n for both in counts.values() for n in both}) != 1:
            raise ValueError(f"items: got rows of views true and false by side {counts}, expected equal numbers")
        for name, side in self.sides.items():
            if len(side.true) == 0 or (side.true[:, 0] < 0).any():
                raise ValueError(f"{name}: got an item without a view, expected at least one for each of at least one")

    def __len__(self) -> int:
        return len(next(iter(self.sides.values())).true)


def owners(items_x: np.ndarray, items_y: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """What `retrieval_ranks` asks of the views of two sides: for each of y a view of x of its item; groups of x."""
    first = np.searchsorted(items_x, items_y)
    return first, None if len(np.unique(items_x)) == len(items_x) else items_x
