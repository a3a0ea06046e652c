"""Extracts for a page: maps that are turned onto each other, neighbours, thumbnails within their limit."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import ortho_group

from jam.compare.extracts.maps import maps, principal_map
from jam.compare.extracts.neighbours import neighbours
from jam.compare.extracts.thumbnails import thumbnails
from jam.errors import InputError


@pytest.fixture(scope="module")
def space():
    """Four dimensions of falling variance, of which three make the map."""
    rng = np.random.default_rng(0)
    return {split: rng.normal(size=(n, 4)) * [4, 2, 1, 0.1] for split, n in (("train", 300), ("test", 40))}


def test_a_space_that_is_turned_scaled_and_shifted_has_the_same_map(space):
    turn = ortho_group.rvs(4, random_state=1)
    other = {split: 3 * rows @ turn + 5 for split, rows in space.items()}
    own, found = principal_map(space, space), principal_map(other, space)
    np.testing.assert_allclose(found.points, own.points, atol=1e-10)
    assert found.agreement == pytest.approx(1)
    variances = np.var(space["train"], axis=0)
    np.testing.assert_allclose(found.shares, variances[:3] / variances.sum(), atol=0.02)


def test_the_map_of_the_reference_is_its_principal_axes_scaled(space):
    own = principal_map(space, space)
    centred = space["test"] - space["train"].mean(axis=0)
    for axis in range(3):
        assert abs(np.corrcoef(own.points[:, axis], centred[:, axis])[0, 1]) > 0.98
    assert np.square(principal_map({**space, "test": space["train"]}, space).points).sum(
        axis=1
    ).mean() == pytest.approx(1)


def test_an_unrelated_space_agrees_hardly(space):
    other = {split: np.random.default_rng(5).normal(size=(len(rows), 4)) for split, rows in space.items()}
    assert principal_map(other, space).agreement < 0.05


def test_two_dimensions_are_filled_up(space):
    flat = principal_map({split: rows[:, :2] for split, rows in space.items()}, space)
    assert flat.points.shape == (40, 3)
    assert flat.shares[2] == 0
    assert flat.agreement > 0.8


def test_maps_tell_each_representation_and_item_once(space):
    names, shown = [f"item-{i}" for i in range(40)], np.array([0, 7, 9])
    told = {"a": {"model": "a", "modality": "image"}, "b": {"model": "b", "modality": "image"}}
    found = maps({"a": space, "b": space}, told, {"a": "a", "b": "a"}, names, shown)
    assert list(found["id"]) == ["item-0", "item-7", "item-9"] * 2
    assert found.loc[found["model"] == "a", "a"].tolist() == found.loc[found["model"] == "b", "a"].tolist()
    assert {"share_a", "share_b", "share_c", "agreement"} <= set(found)


def test_neighbours_are_those_of_a_plain_loop(space):
    rows, shown = space["test"], np.arange(0, 40, 3)
    found = neighbours({"a": rows}, {"a": {"model": "a"}}, [str(i) for i in range(40)], shown, 3)
    for item in shown:
        cosines = {
            int(j): rows[item] @ rows[j] / np.linalg.norm(rows[item]) / np.linalg.norm(rows[j])
            for j in shown
            if j != item
        }
        best = sorted(cosines, key=lambda j: -cosines[j])[:3]
        mine = found[found["id"] == str(item)]
        assert mine["neighbour"].tolist() == [str(j) for j in best]
        np.testing.assert_allclose(mine["cosine"], [cosines[j] for j in best], atol=1e-4)
        assert mine["rank"].tolist() == [1, 2, 3]


def test_more_neighbours_than_items_are_refused(space):
    with pytest.raises(ValueError, match=r"k: got 3, expected 1 to 2"):
        neighbours({"a": space["test"]}, {"a": {}}, [str(i) for i in range(40)], np.arange(3), 3)


def test_thumbnails_fit_are_the_picture_and_are_the_same_bytes_twice():
    ramp = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)
    image = Image.fromarray(np.stack([ramp, ramp, ramp], axis=2))
    found = thumbnails(["a"], [image], ["a ramp"], side=24)
    again = thumbnails(["a"], [image], ["a ramp"], side=24)
    pd.testing.assert_frame_equal(found, again)
    small = Image.open(io.BytesIO(found["png"][0])).convert("L")
    assert small.size == (24, 16) == (found["width"][0], found["height"][0])
    expected = np.asarray(image.convert("L").resize((24, 16)), dtype=float)
    assert np.abs(np.asarray(small, dtype=float) - expected).mean() < 4


def test_small_pictures_are_not_enlarged_and_too_many_bytes_are_refused():
    noise = Image.fromarray(np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8))
    assert thumbnails(["a"], [noise], [""], side=48)["width"][0] == 30
    with pytest.raises(InputError, match=r"of 2 pictures, expected at most 100; show fewer items"):
        thumbnails(["a", "b"], [noise, noise], ["", ""], limit=100)
