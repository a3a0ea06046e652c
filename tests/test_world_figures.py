"""Figures of the embedded world: what is drawn is what its items hold, and the same items give the same bytes."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from jam.report import world_figures
from jam.report.style import save
from jam.world.build import build_world
from jam.world.edits import KINDS
from jam.world.state import scene_of, states_of_facts


@pytest.fixture(scope="module")
def rows():
    """Test items of a small world, as they are read from its files."""
    sizes = {"pretrain_images": 2, "pretrain_text": 2, "train": 2, "val": 2, "test": 150}
    shape = {"captions": 3, "fine": 0, "edits": 1, "habitats": 8, "objects": 3, "one_object": 0.1}
    world = build_world(**sizes, **shape, synonyms=0.85, mention=0.85, nuisance=1.0, seed=0)
    return [
        row | {"image": row["image"][0].content, "captions": [view.content for view in row["captions"]]}
        for row in world.rows["test"]
    ]


@pytest.fixture(scope="module")
def items(rows):
    return pd.DataFrame({name: [row[key] for row in rows] for name, key in COLUMNS.items()})


COLUMNS = {"id": "id", "context": "context", "state": "reality"}


def images(rows):
    return {row["id"]: row["image"]["bytes"] for row in rows}


def test_bars_are_the_shares_of_things_of_the_most_frequent_habitats(rows, items):
    drawn = world_figures.habitats(items, images(rows))
    habitat = [context.split("|")[0] for context in items["context"]]
    often = [name for name, _ in Counter(habitat).most_common(5)]
    scenes = [scene_of(state) for state in states_of_facts(np.stack(items["state"].tolist()))]
    for line, name in enumerate(often):
        shown, *bars = drawn.axes[3 * line : 3 * line + 3]
        assert shown.get_ylabel() == f"{habitat.count(name) / len(rows):.0%}"
        things = [thing for own, scene in zip(habitat, scenes, strict=True) if own == name for thing in scene.values()]
        for axis, attribute, number in zip(bars, ("digit", "colour"), (10, 8), strict=True):
            found = Counter(getattr(thing, attribute) for thing in things)
            heights = [patch.get_height() for patch in axis.patches]
            np.testing.assert_allclose(heights, [found[value] / len(things) for value in range(number)], rtol=1e-5)


def test_the_maps_are_the_pmi_of_pairs_counted_one_by_one(rows, items):
    drawn = world_figures.habitats(items, images(rows))
    other, same = np.zeros((2, 10, 8))
    for scene in map(scene_of, states_of_facts(np.stack(items["state"].tolist()))):
        for cell, thing in scene.items():
            same[thing.digit, thing.colour] += 1
            for place, second in scene.items():
                other[thing.digit, second.colour] += place != cell
    for axis, counts in zip(drawn.axes[15:17], (other, same), strict=True):
        p = counts / counts.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.log(p / np.outer(p.sum(axis=1), p.sum(axis=0))).T
        found = np.ma.filled(axis.images[0].get_array(), np.nan)
        np.testing.assert_allclose(found, np.where(counts.T > 0, expected, np.nan), atol=1e-6)
        assert np.nanmax(abs(found)) > 0.5


def test_the_first_images_of_a_habitat_are_shown_and_too_few_leave_room(rows, items):
    few = images(rows[:20])
    drawn = world_figures.habitats(items, few)
    for line in range(5):
        [sheet] = drawn.axes[3 * line].images
        assert sheet.get_array().shape == (32, 8 * 51 - 3, 3)
    assert world_figures.habitats(items, {}).axes[0].images[0].get_array().min() == 255


def test_all_captions_are_told_and_the_changed_words_are_bold(rows):
    row = next(row for row in rows if {one["kind"] for one in row["negatives"]} == {*KINDS, "scene"})
    drawn = world_figures.captions([row])
    names, plain, bold = ([text.get_text() for text in drawn.texts[i::3]] for i in range(3))
    told = []
    for name, words, marked in zip(names, plain, bold, strict=True):
        line = "".join(b if a == " " else a for a, b in zip(words, marked.ljust(len(words)), strict=False))
        line += marked[len(words) :]
        if name:
            told.append([name, line, marked.split()])
        else:
            told[-1][1] += " " + line
            told[-1][2] += marked.split()
    assert [text.rstrip() for _, text, _ in told[:5]] == row["captions"]
    assert [name for name, *_ in told[:5]] == ["✓ partial"] * 3 + ["✓ dense", "✓ no colour"]
    assert all(not marked for _, _, marked in told[:5])
    for kind, (name, text, marked) in zip((*KINDS, "scene"), told[5:], strict=True):
        [negative] = [one for one in row["negatives"] if one["kind"] == kind]
        assert text.rstrip() == negative["text"]
        assert name == ("✗ another item" if kind == "scene" else f"✗ {kind.replace('_', ' ')}")
        assert bool(marked) == (kind != "scene")
        if kind in ("replace_digit", "replace_colour", "replace_size", "replace_place"):
            assert len(marked) == 1
            assert (
                Counter(negative["text"].split())[marked[0]]
                > Counter(row["captions"][negative["of"]].split())[marked[0]]
            )


@pytest.mark.parametrize(
    ("true", "false", "bold"),
    [
        ("we see a red one, a two", "we see an orange one, a two", {"orange"}),  # the article follows
        ("we see a red one and a blue two", "we see a blue one and a red two", {"blue", "red"}),
        ("we see a one left of a two", "we see a one above a two", {"above"}),
        ("we see a one now", "we see a one and a two now", {"and", "a", "two"}),
    ],
)
def test_changed_words(true, false, bold):
    places = world_figures._changed(true, false)
    assert {false.split()[i].strip(",") for i in places} == bold


def test_the_same_items_give_the_same_bytes(rows, items, tmp_path):
    for i in range(2):
        save(world_figures.habitats(items, images(rows)), tmp_path / f"habitats{i}.png")
        save(world_figures.captions(rows[:3]), tmp_path / f"captions{i}.png")
    for name in ("habitats", "captions"):
        first, second = ((tmp_path / f"{name}{i}.png").read_bytes() for i in range(2))
        assert first == second
