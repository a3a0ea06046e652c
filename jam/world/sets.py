"""Five sets of scenes, no scene in two of them: images and documents to pretrain on; pairs to train, validate, test.

Every state belongs to one set by a seeded hash, and each set is drawn independently from the world's own distribution
given its states. (Drawing one set after the other without what was drawn would strip the habitats' most usual scenes
from the later sets.) Within a set scenes may come again, as they do in the world.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jam.world.habitats import Habitats
from jam.world.state import States, codes_of

SHARES = {"images": 0.3, "documents": 0.25, "train": 0.25, "val": 0.1, "test": 0.1}  # of the states
SETS = tuple(SHARES)
_BATCH = 20_000


@dataclass(frozen=True)
class Drawn:
    """Scenes of one set: states (n, 6), and the habitat (n,) that each was drawn in."""

    states: States
    habitat: npt.NDArray[np.int64]


def draw_sets(habitats: Habitats, sizes: Mapping[str, int], seed: int, rng: np.random.Generator) -> dict[str, Drawn]:
    """Draw as many scenes of each set as ``sizes`` says; ``seed`` decides which states belong to which set."""
    states, habitat = habitats.draw(0, rng)
    while True:
        owner = set_of(states, seed)
        found = {name: np.flatnonzero(owner == i) for i, name in enumerate(SETS)}
        if all(len(found[name]) >= size for name, size in sizes.items()):
            rows = {name: found[name][: sizes.get(name, 0)] for name in SETS}
            return {name: Drawn(states[of], habitat[of]) for name, of in rows.items()}
        more = habitats.draw(_BATCH, rng)
        states, habitat = np.concatenate([states, more[0]]), np.concatenate([habitat, more[1]])


def set_of(states: States, seed: int) -> npt.NDArray[np.int64]:
    """Number in `SETS` of the set that each state (n, 6) belongs to; (n,)."""
    uniform = _hashed(codes_of(states), seed) / 2.0**64
    return np.searchsorted(np.cumsum(list(SHARES.values()))[:-1], uniform, side="right")


def _hashed(codes: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """SplitMix64 of each code (Steele et al. 2014): looks random, and is the same on every machine."""
    with np.errstate(over="ignore"):
        z = codes.astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
        return found
