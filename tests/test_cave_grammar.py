import re
from collections import Counter

import numpy as np
import pytest
from cave_parser import FORMS, ONE, POSITIONAL, RELATIONAL, SCENES, read
from hypothesis import given, settings
from hypothesis import strategies as st

from jam.data.cave.grammar import ONE_THING_FORMS, TWO_THING_FORMS, describe, hard_negatives
from jam.data.cave.scenes import ATTRIBUTES, Scene, Thing

NAMES = tuple(ATTRIBUTES)
seeds = st.integers(0, 2**32 - 1)


def plain(scene):
    return {side: tuple(scene.thing(side)) for side in scene.sides}


def differences(scene, other):
    """Facts of ``scene`` that ``other`` changes, for scenes with things on the same sides."""
    assert set(scene) == set(other)
    return {
        (side, name): (scene[side][i], other[side][i])
        for side in scene
        for i, name in enumerate(NAMES)
        if scene[side][i] != other[side][i]
    }


@settings(max_examples=300)
@given(SCENES, seeds)
def test_captions_are_true_complete_and_different(scene, seed):
    captions = [text for text, _ in describe(scene, 3, np.random.default_rng(seed))]
    assert len(set(captions)) == 3
    for caption in captions:
        assert read(caption)[0] == plain(scene)
        assert len(re.findall(r"\w+|[^\w\s]", caption)) <= 24


@settings(max_examples=500)
@given(SCENES, seeds)
def test_each_hard_negative_is_wrong_in_exactly_one_thing(scene, seed):
    rng = np.random.default_rng(seed)
    spoken = describe(scene, 3, rng)
    truth = plain(scene)
    negatives = hard_negatives(scene, [plan for _, plan in spoken], rng)
    kinds = [negative["kind"] for negative in negatives]
    can_swap = len(truth) == 2 and truth["left"][1:3] != truth["right"][1:3]
    assert kinds == ["replace_object", "replace_attribute", *["swap_attribute"] * can_swap, "replace_relation"]
    for negative in negatives:
        kind, caption = negative["kind"], spoken[negative["of"]][0]
        false, form, first = read(negative["text"])
        _, caption_form, caption_first = read(caption)
        assert negative["tier"] == "hard"
        assert false != truth
        assert form == caption_form
        words, caption_words = (re.findall(r"\w+", text) for text in (negative["text"], caption))
        assert len(words) == len(caption_words)
        edited = [pair for pair in zip(words, caption_words, strict=True) if pair[0] != pair[1]]
        assert len(edited) == (2 if kind == "swap_attribute" else 1)

        mirrored = {"left": truth.get("right"), "right": truth.get("left")}
        if kind == "swap_attribute":
            changes = differences(truth, false)
            (name,) = {name for _, name in changes}
            assert name in ("color", "size")
            assert changes["left", name] == changes["right", name][::-1]
            assert Counter(words) == Counter(caption_words)
            assert first == caption_first
        elif kind == "replace_relation" and edited[0][0] in ("left", "right"):
            assert false == {side: thing for side, thing in mirrored.items() if thing}
            assert FORMS[form] in ONE + RELATIONAL
        else:
            ((_, name),) = differences(truth, false)
            replaced = {"digit": "object", "color": "attribute", "size": "attribute", "height": "relation"}
            assert kind == f"replace_{replaced[name]}"
            if kind == "replace_relation" and FORMS[form] in RELATIONAL:
                assert truth["left"] == truth["right"]  # the mirror image would be the same scene
            assert first == caption_first


def test_twins_have_no_mirror_image_and_no_swap():
    twin = Thing("5", "white", "small", "middle")
    rng = np.random.default_rng(0)
    for _ in range(50):
        spoken = describe(Scene(twin, twin), 3, rng)
        negatives = hard_negatives(Scene(twin, twin), [plan for _, plan in spoken], rng)
        kinds = [negative["kind"] for negative in negatives]
        assert kinds == ["replace_object", "replace_attribute", "replace_relation"]
        assert all(read(negative["text"])[0] != plain(Scene(twin, twin)) for negative in negatives)


@pytest.mark.parametrize("count", [1, 2])
def test_all_forms_orders_and_synonyms_are_in_use(count):
    left = Thing("7", "red", "small", "top")
    scene = Scene(left, Thing("3", "blue", "large", "bottom") if count == 2 else None)
    rng = np.random.default_rng(0)
    captions = [describe(scene, 1, rng)[0][0] for _ in range(1500)]
    forms = Counter(read(caption)[1] for caption in captions)
    expected = ONE if count == 1 else POSITIONAL + RELATIONAL
    assert len(expected) == len(ONE_THING_FORMS if count == 1 else TWO_THING_FORMS) >= 4
    assert {FORMS[form] for form in forms} == set(expected)
    words = Counter(word for caption in captions for word in re.findall(r"\w+", caption))
    assert min(words["small"], words["tiny"]) > 500
    if count == 2:  # in every form either thing may come first, about half of the time
        for form in forms:
            lefts = [read(caption)[2] == "left" for caption in captions if read(caption)[1] == form]
            assert 0.35 < np.mean(lefts) < 0.65


def test_negatives_edit_every_caption():
    scene = Scene(Thing("7", "red", "small", "top"), Thing("3", "blue", "large", "bottom"))
    rng = np.random.default_rng(0)
    edited = Counter()
    for _ in range(100):
        plans = [plan for _, plan in describe(scene, 3, rng)]
        edited.update((negative["kind"], negative["of"]) for negative in hard_negatives(scene, plans, rng))
    assert len(edited) == 4 * 3
    assert min(edited.values()) > 15
