"""The classification tasks that the downstream stage scores, from all sources that params.yaml names."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from jam.data.schema import read_items
from jam.downstream.sources import task_of_images, tasks_of_items, tasks_of_singles
from jam.downstream.tasks import Task
from jam.encoders import Encoder
from jam.params import Params, Side
from jam.sources.labelled import labelled_folder, labelled_hub
from jam.world.habitats import habitats_of
from jam.world.state import states_of_facts
from stages.common import ENCODERS, SCRATCH, WORLD
from stages.inputs import first_views, items_as_units, load_states


def encoder_of(side: Side, batch_size: int) -> Callable[[Sequence[Any]], np.ndarray]:
    """What gives the features of a side's frozen layer, those that its stage would.

    Raises:
        InputError: there is no encoder but features alone, or its weights can't be had.
    """
    encoder = Encoder.load(ENCODERS / side.encoder)
    return partial(encoder.encode, batch_size=batch_size, layer=side.layer)


def tasks_of(params: Params, side: Side) -> Iterator[Task]:
    """The tasks of all sources on a side of images.

    Raises:
        InputError: a source cannot be had; nothing takes its place.
    """
    options, seed = params.downstream, params.dataset.seed
    encode = encoder_of(side, params.features.batch_size)
    singles = {"digits": ("digit",), "cave": ("colour", "size")}
    asked: dict[str, Sequence[str]] = {name: singles[name] for name in options.sources if name in singles}
    if asked:
        yield from tasks_of_singles(encode, options.images.model_dump(), seed, params.dataset.cave.nuisance, asked)
    if "cave" in options.sources:
        yield from _tasks_of_world(params, side)
    if "folder" in options.sources and options.folder:
        yield task_of_images("folder", encode, labelled_folder(options.folder, seed))
    if "hub" in options.sources and options.hub:
        SCRATCH.mkdir(exist_ok=True)
        yield task_of_images("hub", encode, labelled_hub(options.hub, seed, SCRATCH))


def _tasks_of_world(params: Params, side: Side) -> Iterator[Task]:
    """What is to be told of the world's own items, of the first so many of each split."""
    limits, cave = params.downstream.images.model_dump(), params.dataset.cave
    features, states, habitat, units = {}, {}, {}, {}
    for split, n in limits.items():
        features[split], units[split] = first_views(side, split)[:n], items_as_units(split)[:n]
        states[split] = states_of_facts(np.asarray(load_states(split))[:n])
        contexts = read_items(WORLD, split, ["context"]).column("context").to_pylist()[:n]
        habitat[split] = np.array([context.split("|")[0] for context in contexts])  # as `jam.world.build` writes them
    known = habitats_of(params.dataset.seed, cave.habitats, cave.objects, cave.one_object)
    return tasks_of_items(features, states, habitat, units, known)
