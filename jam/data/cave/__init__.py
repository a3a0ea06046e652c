"""The cave: a small world whose true state, images and sentences are all known.

A *scene* is one or two coloured handwritten digits on a dark ground. Images are its shadows in light, captions its
shadows in language, and the ``reality`` column is the scene itself. One idea a module: `scenes` (the world), `render`
(scene → image), `grammar` (scene → sentences, true ones and hard negatives), `build` (disjoint splits, files).
"""

from jam.data.cave.build import build_cave, second_views, summarize_cave, write_cave
from jam.data.cave.grammar import describe, hard_negatives
from jam.data.cave.render import render
from jam.data.cave.scenes import (
    ATTRIBUTES,
    LABELS,
    REALITY_DIM,
    SIDES,
    Scene,
    Thing,
    encode_labels,
    reality_of,
    scene_labels,
    scene_of_labels,
    scene_of_reality,
)

__all__ = [
    "ATTRIBUTES",
    "LABELS",
    "REALITY_DIM",
    "SIDES",
    "Scene",
    "Thing",
    "build_cave",
    "describe",
    "encode_labels",
    "hard_negatives",
    "reality_of",
    "render",
    "scene_labels",
    "scene_of_labels",
    "scene_of_reality",
    "second_views",
    "summarize_cave",
    "write_cave",
]
