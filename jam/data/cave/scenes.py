"""The world of the cave: what a scene is, and its forms as a number, as a vector and as labels.

A thing has a digit, a colour, a size and a height (420 kinds); a scene has at most one thing on each side and at least
one in all. That makes 840 scenes of one thing and 176,400 of two. Everything else that an image shows (which scan
of the digit, where exactly, shade, ground, noise) is nuisance and no part of the scene.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
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

_SLOT = 1 + sum(map(len, ATTRIBUTES.values()))  # present, then one-hot digit, colour, size, height
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


_CONTENTS: tuple[Thing | None, ...] = (None, *(Thing(*values) for values in product(*ATTRIBUTES.values())))  # of a side
_NUMBERS = {content: number for number, content in enumerate(_CONTENTS)}
_BASE = len(_CONTENTS)  # 421


def code_of_scene(scene: Scene) -> int:
    """Number of a scene, in [1, 421²): left · 421 + right, where 0 is an empty side and 1 … 420 the things."""
    return _NUMBERS[scene.left] * _BASE + _NUMBERS[scene.right]


def scene_of_code(code: int) -> Scene:
    """Inverse of `code_of_scene`."""
    if not 0 < code < _BASE**2:
        raise ValueError(f"scene_of_code: got {code}, expected 0 < code < {_BASE**2}")
    left, right = divmod(int(code), _BASE)
    return Scene(_CONTENTS[left], _CONTENTS[right])


def one_thing_codes() -> np.ndarray:
    """Codes of all 840 scenes of one thing."""
    numbers = np.arange(1, _BASE)
    return np.concatenate([numbers * _BASE, numbers])


def two_thing_codes() -> np.ndarray:
    """Codes of all 176,400 scenes of two things."""
    numbers = np.arange(1, _BASE)
    return (numbers[:, None] * _BASE + numbers).ravel()


# --- scene → true-state vector ----------------------------------------------------------------------------------------


def reality_of(scene: Scene) -> np.ndarray:
    """True state of a scene, (46,) float32: for left, then right, [present, digit 10, colour 7, size 2, height 3].

    All but ``present`` are one-hot; an empty side is all zeros.
    """
    facts: list[bool] = []
    for thing in scene:
        facts.append(thing is not None)
        for i, values in enumerate(ATTRIBUTES.values()):
            facts += [thing is not None and thing[i] == value for value in values]
    return np.array(facts, np.float32)


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
