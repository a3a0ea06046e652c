"""What is known of the items of a world whose state is known, for the stages that hold representations against it."""

from jam.params import Params
from jam.reality.truth import Truth, read_truth
from jam.world.habitats import habitats_of
from stages.common import WORLD


def known_truth(params: Params) -> Truth | None:
    """The true states and all that is made of them; None where the data does not tell them."""
    if params.dataset.source != "cave":
        return None
    cave = params.dataset.cave
    return read_truth(WORLD, habitats_of(params.dataset.seed, cave.habitats, cave.objects, cave.one_object))
