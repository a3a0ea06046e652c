"""What a caption claims, and of which scenes it is true: decided exactly, so relevance is never a matter of opinion.

A claim mentions one to three things, each constrained in digit, colour, size and cell, and may relate two of them. It
is true of a scene if its mentions can be matched with different things of the scene so that every constraint holds; if
it states a count, the scene has no other thing.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jam.world.state import ATTRIBUTES, CELLS, COLUMNS, MOST, States, values_of_kind

RELATIONS = ("left_of", "right_of", "above", "below", "beside")
CONVERSE = {"left_of": "right_of", "right_of": "left_of", "above": "below", "below": "above", "beside": "beside"}

Values = frozenset[int]


class Mention(NamedTuple):
    """The values that a thing may have to be the one meant; all of them where nothing is said."""

    digit: Values = frozenset(range(ATTRIBUTES["digit"]))
    colour: Values = frozenset(range(ATTRIBUTES["colour"]))
    size: Values = frozenset(range(ATTRIBUTES["size"]))
    cell: Values = frozenset(range(CELLS))


class Claim(NamedTuple):
    """Mentions, relations (first mention, one of `RELATIONS`, second mention), and the number of things if stated."""

    mentions: tuple[Mention, ...]
    relations: tuple[tuple[int, str, int], ...] = ()
    count: int | None = None  # type: ignore[assignment]  # as of a scene; nobody counts the fields of a claim


class Scenes:
    """States (n, 6) laid out so that claims about them are decided for all at once."""

    def __init__(self, states: States) -> None:
        states = np.asarray(states)
        self.count = np.count_nonzero(states, axis=1)
        cells = np.argsort(states == 0, axis=1, kind="stable")[:, :MOST]  # occupied cells first
        self.present = np.arange(MOST) < self.count[:, None]
        kinds = np.take_along_axis(states, cells, axis=1).astype(np.int64)
        self.values = values_of_kind(np.maximum(kinds, 1) - 1) | {"cell": cells}
        row, column = np.divmod(cells, len(COLUMNS))
        self._row, self._column = row, column

    def related(self, relation: str, a: int, b: int) -> npt.NDArray[np.bool_]:
        """Where the a-th thing of a scene stands in a relation to the b-th; (n,)."""
        if CONVERSE[relation] != relation and RELATIONS.index(relation) % 2:
            return self.related(CONVERSE[relation], b, a)
        row, column = self._row, self._column
        found: npt.NDArray[np.bool_]
        if relation == "left_of":
            found = column[:, a] < column[:, b]
        elif relation == "above":
            found = row[:, a] < row[:, b]
        else:
            found = (row[:, a] == row[:, b]) & (abs(column[:, a] - column[:, b]) == 1)
        return found

    def true(self, claim: Claim) -> npt.NDArray[np.bool_]:
        """Of which of the scenes a claim is true, (n,)."""
        fits = [self.present.copy() for _ in claim.mentions]
        for mention, fit in zip(claim.mentions, fits, strict=True):
            for name, allowed in mention._asdict().items():
                fit &= _is_allowed(name, allowed)[self.values[name]]
        found = np.zeros(len(self.count), np.bool_)
        for slots in permutations(range(MOST), len(claim.mentions)):
            here = np.logical_and.reduce([fit[:, slot] for fit, slot in zip(fits, slots, strict=True)])
            for a, relation, b in claim.relations:
                here &= self.related(relation, slots[a], slots[b])
            found |= here
        return found if claim.count is None else found & (self.count == claim.count)


@lru_cache(maxsize=4096)
def _is_allowed(name: str, allowed: Values) -> npt.NDArray[np.bool_]:
    """Of each value of an attribute, or each cell, whether it is among those."""
    return np.isin(np.arange((ATTRIBUTES | {"cell": CELLS})[name]), list(allowed))


def relevance(claims: Sequence[Claim], states: States) -> npt.NDArray[np.bool_]:
    """Which claims (m,) are true of which states (n, 6), (m, n)."""
    scenes = Scenes(states)
    return np.stack([scenes.true(claim) for claim in claims]) if len(claims) else np.zeros((0, len(states)), np.bool_)
