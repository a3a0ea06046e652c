import itertools

import numpy as np
import pytest
from cave_parser import SCENES, THINGS
from hypothesis import given

from jam.data.cave import scenes as world
from jam.data.cave.scenes import ATTRIBUTES, LABELS, REALITY_DIM, Scene, Thing


@given(SCENES)
def test_round_trips(scene):
    assert world.scene_of_code(world.code_of_scene(scene)) == scene
    assert world.scene_of_labels(world.scene_labels(scene)) == scene


def test_every_scene_has_its_own_code_and_the_world_is_as_large_as_told():
    ones, twos = world.one_thing_codes(), world.two_thing_codes()
    assert (len(ones), len(twos)) == (840, 176_400)
    assert len(np.union1d(ones, twos)) == 840 + 176_400
    assert all(len(world.scene_of_code(code).sides) == 1 for code in ones)
    assert all(len(world.scene_of_code(code).sides) == 2 for code in twos[::997])
    assert len({world.scene_of_code(code) for code in twos[::97]}) == len(twos[::97])


def test_reality_has_the_documented_slots():
    vector = world.reality_of(Scene(None, Thing("3", "yellow", "large", "bottom")))
    assert vector.shape == (REALITY_DIM,) == (46,)
    assert vector.dtype == np.float32
    # right slot: present at 23, digits 24-33, colours 34-40, sizes 41-42, heights 43-45
    assert np.flatnonzero(vector).tolist() == [23, 24 + 3, 34 + 2, 41 + 1, 43 + 2]


@given(SCENES, SCENES)
def test_shared_attributes_counts_facts(one, other):
    def facts(scene):
        return {(side, name, getattr(scene.thing(side), name)) for side in scene.sides for name in ATTRIBUTES}

    expected = len(facts(one) & facts(other)) / max(len(facts(one)), len(facts(other)))
    states = [world.reality_of(scene)[None] for scene in (one, other)]
    assert world.shared_attributes(*states)[0, 0] == pytest.approx(expected)
    assert world.shared_attributes(*states[::-1])[0, 0] == pytest.approx(expected)


def test_labels_are_complete():
    scene = Scene(Thing("7", "red", "small", "top"), None)
    labels = world.scene_labels(scene)
    assert [label["name"] for label in labels] == list(LABELS)
    assert [label["value"] for label in labels] == ["1", "7", "red", "small", "top", "none", "none", "none", "none"]


@given(THINGS, THINGS)
def test_edits_change_what_they_say(left, right):
    scene = Scene(left, right)
    assert scene.mirrored().mirrored() == scene
    for name in ATTRIBUTES:
        swapped = scene.swapped(name)
        assert getattr(swapped.thing("left"), name) == getattr(right, name)
        assert getattr(swapped.thing("right"), name) == getattr(left, name)
        assert swapped.swapped(name) == scene
    for side, (name, values) in itertools.product(("left", "right"), ATTRIBUTES.items()):
        edited = scene.replaced(side, name, values[0])
        assert edited.replaced(side, name, getattr(scene.thing(side), name)) == scene
    with pytest.raises(ValueError, match="nothing on side 'right'"):
        Scene(left, None).thing("right")
