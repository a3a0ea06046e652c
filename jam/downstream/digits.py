"""Single handwritten digits, rendered as the world renders its scenes: scikit-learn's real scans, one in an image.

Training images are made of scans of the world's training set, test images of those of its test set: no scan of a test
image is in anything that an encoder, an adapter or a probe was trained on. Colours, sizes and places are drawn
uniformly for both. Were scenes told apart, too, as those of the world are, the nearest training image in all but the
digit would always show another digit, and neighbours would tell digits worse than chance.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from jam.world.build import pools_of
from jam.world.image import draw_private, draw_scans, render
from jam.world.sets import SETS
from jam.world.state import CELLS, COLOURS, DIGITS, KINDS, SIZES, codes_of, scene_of, values_of_kind


class Singles(NamedTuple):
    """Images of one digit each.

    Attributes:
        images: n of them.
        scans: (n,) the scan of each.
        scenes: (n,) the number of its scene, see `jam.world.state.codes_of`.
        labels: digit, colour, size → (n,) their names.
    """

    images: list[Image.Image]
    scans: np.ndarray
    scenes: np.ndarray
    labels: dict[str, np.ndarray]


def single_digits(split: str, n: int, seed: int, nuisance: float) -> Singles:
    """Draw n images for a split of the world of a seed: kind of thing and place uniform.

    Args:
        split: ``train`` or ``test``.
        n: how many.
        seed: of the world, ``dataset.seed``.
        nuisance: strength of what is private to an image, as the world's.
    """
    stream = np.random.SeedSequence([seed, SETS.index(split)])  # none of the world's own, which are spawned from seed
    rng, pool = np.random.default_rng(stream), pools_of(seed)[split]
    kinds, states = rng.integers(KINDS, size=n), np.zeros((n, CELLS), np.uint8)
    states[np.arange(n), rng.integers(CELLS, size=n)] = 1 + kinds
    images, scans = [], list[int]()
    for state in states:
        scene = scene_of(state)
        drawn = draw_scans(scene, pool, rng)
        images.append(render(scene, drawn, draw_private(rng, nuisance), rng, nuisance))
        scans += drawn.values()
    values = values_of_kind(kinds)
    names = {"digit": DIGITS, "colour": COLOURS, "size": SIZES}
    labels = {name: np.array(words)[values[name]] for name, words in names.items()}
    return Singles(images, np.array(scans), codes_of(states), labels)
