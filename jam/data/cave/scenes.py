"""The world of the cave: what a scene is, and its forms as a number, as a vector and as labels.

A thing has a digit, a colour, a size and a height (420 kinds); a scene has at most one thing on each side and at least
one in all. That makes 840 scenes of one thing and 176,400 of two. Everything else that an image shows (which scan
of the digit, where exactly, shade, ground, noise) is nuisance and no part of the scene.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")

SIDES = ("left", "right")
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "digit": tuple("0123456789"),
    "color": ("red", "orange", "yellow", "green", "blue", "purple", "white"),
    "size": ("small", "large"),
    "height": ("top", "middle", "bottom"),
}
ABSENT = "none"

_SHAPE = tuple(len(values) for values in ATTRIBUTES.values())
THINGS = int(np.prod(_SHAPE))  # 420 kinds of thing
ONE_THING_SCENES = 2 * THINGS  # 840

_SLOT = 1 + sum(_SHAPE)  # present, then one-hot digit, colour, size, height
REALITY_DIM = len(SIDES) * _SLOT  # 46

LABELS = ("count", *(f"{side}_{name}" for side in SIDES for name in ATTRIBUTES))


class Thing(NamedTuple):
    """One digit of the scene; each field holds one of the values in ``ATTRIBUTES``."""

    digit: str
    color: str
    size: str
    height: str


class Scene(NamedTuple):
    """What is on either side; None where there is nothing. At least one side holds a thing."""

    left: Thing | None
    right: Thing | None

    @property
    def sides(self) -> tuple[str, ...]:
        """Names of the sides that hold a thing, left first."""
        return tuple(side for side in SIDES if getattr(self, side) is not None)

    def thing(self, side: str) -> Thing:
        """Return the thing on ``side``; ValueError where there is none."""
        thing = self.left if side == "left" else self.right
        if thing is None:
            raise ValueError(f"Scene.thing: nothing on side {side!r}, expected one of {self.sides}")
        return thing

    def replaced(self, side: str, attribute: str, value: str) -> "Scene":
        """Return the same scene with one attribute of one thing changed."""
        return self._replace(**{side: self.thing(side)._replace(**{attribute: value})})

    def swapped(self, attribute: str) -> "Scene":
        """Return the same scene with one attribute exchanged between its two things."""
        left, right = self.thing("left"), self.thing("right")
        there, here = getattr(right, attribute), getattr(left, attribute)
        return Scene(left._replace(**{attribute: there}), right._replace(**{attribute: here}))

    def mirrored(self) -> "Scene":
        """Return the same things, each on the other side."""
        return Scene(self.right, self.left)


def pick(values: Sequence[T], rng: np.random.Generator) -> T:
    """Draw one of the values uniformly (an order of magnitude faster than ``rng.choice``, and any type)."""
    return values[int(rng.integers(len(values)))]


# --- scene ↔ number ---------------------------------------------------------------------------------------------------


def code_of_scene(scene: Scene) -> int:
    """Number of a scene, in [1, 421²): left · 421 + right, where 0 is an empty side and 1 … 420 the things."""
    code = 0
    for thing in scene:
        slot = 0
        if thing is not None:
            indices = tuple(values.index(value) for values, value in zip(ATTRIBUTES.values(), thing, strict=True))
            slot = 1 + int(np.ravel_multi_index(indices, _SHAPE))
        code = code * (THINGS + 1) + slot
    return code


def scene_of_code(code: int) -> Scene:
    """Inverse of `code_of_scene`."""
    if not 0 < code < (THINGS + 1) ** 2:
        raise ValueError(f"scene_of_code: got {code}, expected 0 < code < {(THINGS + 1) ** 2}")
    things: list[Thing | None] = []
    for slot in divmod(int(code), THINGS + 1):
        if slot == 0:
            things.append(None)
            continue
        indices = np.unravel_index(slot - 1, _SHAPE)
        things.append(Thing(*(values[i] for values, i in zip(ATTRIBUTES.values(), indices, strict=True))))
    return Scene(*things)


def one_thing_codes() -> np.ndarray:
    """Codes of all 840 scenes of one thing."""
    slots = np.arange(1, THINGS + 1)
    return np.concatenate([slots * (THINGS + 1), slots])


def two_thing_codes() -> np.ndarray:
    """Codes of all 176,400 scenes of two things."""
    slots = np.arange(1, THINGS + 1)
    return (slots[:, None] * (THINGS + 1) + slots[None, :]).ravel()


# --- scene → true-state vector ----------------------------------------------------------------------------------------


def reality_of(scene: Scene) -> np.ndarray:
    """True state of a scene, (46,) float32: for left, then right, [present, digit 10, colour 7, size 2, height 3].

    All but ``present`` are one-hot; an empty side is all zeros.
    """
    vector = np.zeros(REALITY_DIM, np.float32)
    for slot, thing in zip(vector.reshape(len(SIDES), _SLOT), scene, strict=True):
        if thing is None:
            continue
        slot[0] = 1
        start = 1
        for values, value in zip(ATTRIBUTES.values(), thing, strict=True):
            slot[start + values.index(value)] = 1
            start += len(values)
    return vector


def shared_attributes(realities: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of attributes in common, (n, m) in [0, 1], of two lists of true states (n, 46) and (m, 46).

    An attribute is shared when the same side shows the same value in both scenes; the share is relative to the scene
    with more attributes (four a thing).
    """
    facts, other_facts = (
        np.delete(np.asarray(states, np.float32), [0, _SLOT], axis=1) for states in (realities, others)
    )
    counts, other_counts = facts.sum(1), other_facts.sum(1)
    return (facts @ other_facts.T) / np.maximum(counts[:, None], other_counts[None, :])


# --- scene ↔ labels ---------------------------------------------------------------------------------------------------


def scene_labels(scene: Scene) -> list[dict[str, str]]:
    """Labels of a scene as rows of the pairs table, in the order of ``LABELS``; ``none`` for an absent thing."""
    values = [str(len(scene.sides))]
    for thing in scene:
        values += [ABSENT] * len(ATTRIBUTES) if thing is None else list(thing)
    return [{"name": name, "value": value} for name, value in zip(LABELS, values, strict=True)]


def attribute_of_label(name: str) -> str:
    """What a label tells of either side: ``left_digit`` and ``right_digit`` are both ``digit``."""
    side, _, attribute = name.partition("_")
    return attribute if side in SIDES else name


def scene_of_labels(labels: Iterable[Mapping[str, Any]]) -> Scene:
    """Inverse of `scene_labels`."""
    value_of = {label["name"]: label["value"] for label in labels}
    things = []
    for side in SIDES:
        words = [value_of[f"{side}_{name}"] for name in ATTRIBUTES]
        things.append(None if ABSENT in words else Thing(*words))
    return Scene(*things)
