"""The state of a scene: what stands in each of the six cells of a grid, as numbers, as a vector and as factors.

A thing has a digit, a colour and a size (160 kinds); a scene has one to three things in different cells. Everything
else that an image or a caption shows is private to it and no part of the state.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

DIGITS = tuple("0123456789")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white")
SIZES = ("small", "large")
ROWS, COLUMNS = ("top", "bottom"), ("left", "middle", "right")
CELLS = len(ROWS) * len(COLUMNS)  # cell = row · 3 + column
MOST = 3  # things in a scene
KINDS = len(DIGITS) * len(COLOURS) * len(SIZES)
ATTRIBUTES = {"digit": len(DIGITS), "colour": len(COLOURS), "size": len(SIZES)}

States = npt.NDArray[np.uint8]
"""(n, 6): of each cell 0 where it is empty, else 1 + the number of the kind of thing that stands there."""


class Thing(NamedTuple):
    """Numbers of a thing's values in `DIGITS`, `COLOURS` and `SIZES`."""

    digit: int
    colour: int
    size: int


Scene = Mapping[int, Thing]
"""Cell → what stands there, cells in increasing order."""


def kind_of(digit: npt.ArrayLike, colour: npt.ArrayLike, size: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Number of a kind of thing, 0 … 159."""
    return (np.asarray(digit, np.int64) * len(COLOURS) + np.asarray(colour)) * len(SIZES) + np.asarray(size)


def values_of_kind(kinds: npt.ArrayLike) -> dict[str, npt.NDArray[np.int64]]:
    """Inverse of `kind_of`: attribute → numbers of its values."""
    rest, size = np.divmod(np.asarray(kinds, np.int64), len(SIZES))
    digit, colour = np.divmod(rest, len(COLOURS))
    return {"digit": digit, "colour": colour, "size": size}


def scene_of(state: np.ndarray) -> dict[int, Thing]:
    """The scene of one state (6,)."""
    scene = {}
    for cell in np.flatnonzero(state).tolist():
        values = values_of_kind(int(state[cell]) - 1)
        scene[cell] = Thing(*(int(value) for value in values.values()))
    return scene


def state_of(scene: Scene) -> States:
    """Inverse of `scene_of`, (6,)."""
    state = np.zeros(CELLS, np.uint8)
    for cell, thing in scene.items():
        state[cell] = 1 + kind_of(*thing)
    return state


def codes_of(states: States) -> npt.NDArray[np.int64]:
    """One number for each state (n, 6): equal for equal states alone."""
    return states.astype(np.int64) @ (1 + KINDS) ** np.arange(CELLS, dtype=np.int64)


def counts_of(states: States) -> npt.NDArray[np.int64]:
    """How many things each state (n, 6) has."""
    return np.count_nonzero(states, axis=1)


# --- states as vectors ------------------------------------------------------------------------------------------------

_SLOT = 1 + sum(ATTRIBUTES.values())  # present, then one-hot digit, colour and size
STATE_DIM = CELLS * _SLOT  # 126


def facts(states: States) -> npt.NDArray[np.float32]:
    """The true state as a vector, (n, 126): for each cell [present, digit 10, colour 8, size 2], one-hot; else 0."""
    present = states > 0
    parts = [present[:, :, None]]
    for name, values in values_of_kind(np.maximum(states, 1).astype(np.int64) - 1).items():
        parts.append((values[:, :, None] == np.arange(ATTRIBUTES[name])) & present[:, :, None])
    return np.concatenate(parts, axis=2).reshape(len(states), STATE_DIM).astype(np.float32)


def states_of_facts(vectors: npt.ArrayLike) -> States:
    """Inverse of `facts`."""
    present, *one_hot = _slots(np.asarray(vectors))
    digit, colour, size = (values.argmax(axis=2) for values in one_hot)
    states: States = ((1 + kind_of(digit, colour, size)) * (present[:, :, 0] > 0)).astype(np.uint8)
    return states


def _slots(vectors: np.ndarray) -> list[np.ndarray]:
    """Presence, digit, colour and size in each cell, (n, 6, values) each."""
    slots = vectors.reshape(len(vectors), CELLS, _SLOT)
    return np.split(slots, np.cumsum([1, *ATTRIBUTES.values()])[:-1], axis=2)


def factors(states: States) -> dict[str, npt.NDArray[np.float32]]:
    """What a representation may tell of a scene, by name: columns (n, c) of zeros and ones, or counts.

    ``presence`` (6 cells), ``digit``, ``colour`` and ``size`` (each value in each cell), ``count`` (one-hot); and what
    is in the scene, wherever it is: ``digits``, ``colours`` (counts of each value) and ``products`` (counts of each
    digit in each colour: what belongs to what).
    """
    slots = _slots(facts(states))
    found = {
        name: values.reshape(len(states), -1) for name, values in zip(("presence", *ATTRIBUTES), slots, strict=True)
    }
    found["count"] = (counts_of(states)[:, None] == np.arange(1, MOST + 1)).astype(np.float32)
    _, digit, colour, _ = slots
    found["digits"], found["colours"] = digit.sum(axis=1), colour.sum(axis=1)
    found["products"] = np.einsum("ncd,nck->ndk", digit, colour).reshape(len(states), -1)
    return found


def bound(states: States) -> npt.NDArray[np.float32]:
    """All that stands in each cell taken together, (n, 6 · 116): products of two attributes of one thing, one-hot."""
    _, digit, colour, size = _slots(facts(states))
    pairs = (digit, colour), (digit, size), (colour, size)
    return np.concatenate([np.einsum("nca,ncb->ncab", a, b).reshape(len(states), -1) for a, b in pairs], axis=1)
