"""Scene → image: one thing changed is one cell changed, and what is private is drawn as it is said."""

import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jam.world.image import (
    CELL,
    HEIGHT,
    INK,
    PRIVATE,
    SHADE,
    WIDTH,
    draw_private,
    draw_scans,
    picture,
    render,
    scan_digits,
    share_scans,
)
from jam.world.state import ATTRIBUTES, CELLS, COLOURS, Thing

PLAIN = {"texture": "plain", "tint": "neutral", "brightness": "dim", "noise": "fine", "bar": "none"}
SHARES = {"images": 0.5, "train": 0.25, "val": 0.125, "test": 0.125}
ALL = share_scans({"all": 1.0}, np.random.default_rng(0))["all"]
THINGS = st.builds(Thing, *(st.integers(0, number - 1) for number in ATTRIBUTES.values()))
SCENES = st.dictionaries(st.integers(0, CELLS - 1), THINGS, min_size=1, max_size=3).map(
    lambda scene: dict(sorted(scene.items()))
)
PRIVATES = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in PRIVATE.items()})


def painted(scene, private=PLAIN, seed=0, nuisance=1.0):
    """The image of a scene, with the first scan of each digit."""
    scans = {cell: ALL[thing.digit][0] for cell, thing in scene.items()}
    return np.asarray(render(scene, scans, private, np.random.default_rng(seed), nuisance)).astype(int)


def cells_that_differ(a, b):
    """The cells in which two images differ."""
    different = (a != b).any(axis=2).reshape(HEIGHT // CELL, CELL, WIDTH // CELL, CELL).any(axis=(1, 3))
    return set(np.flatnonzero(different).tolist())


# --- one thing changed ------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(SCENES, PRIVATES, st.integers(0, 2**16), st.data())
def test_another_thing_in_a_cell_changes_that_cell_alone(scene, private, seed, data):
    cell = data.draw(st.sampled_from(sorted(scene)))
    other = dict(scene) | {cell: data.draw(THINGS)}
    assert cells_that_differ(painted(scene, private, seed), painted(other, private, seed)) <= {cell}


@settings(max_examples=50, deadline=None)
@given(SCENES, PRIVATES, st.integers(0, 2**16), st.data())
def test_a_thing_more_changes_its_cell_alone(scene, private, seed, data):
    free = data.draw(st.sampled_from(sorted(set(range(CELLS)) - set(scene))))
    more = dict(sorted({**scene, free: data.draw(THINGS)}.items()))
    assert cells_that_differ(painted(scene, private, seed), painted(more, private, seed)) == {free}


def test_every_digit_colour_and_size_looks_different():
    """Of one scan, ground and seed; and a colour is nearest to its own ink."""
    seen = {
        (d, c, s): painted({4: Thing(d, c, s)}, nuisance=0).tobytes()
        for d in range(10)
        for c in range(len(COLOURS))
        for s in range(2)
    }
    assert len(set(seen.values())) == 160
    for colour in range(len(COLOURS)):
        image = painted({0: Thing(8, colour, 1)})[:CELL, :CELL].reshape(-1, 3)
        brightest = image[image.sum(axis=1).argsort()[-12:]].mean(axis=0)
        assert abs(INK - brightest).sum(axis=1).argmin() == colour


def test_large_things_are_larger_than_small_ones():
    def extent(size, seed):
        lit = painted({0: Thing(0, 7, size)}, seed=seed)[:CELL, :CELL].sum(axis=2) > 300
        return np.ptp(np.flatnonzero(lit.any(axis=1))) + 1

    small, large = ([extent(size, seed) for seed in range(40)] for size in (0, 1))
    assert max(small) < min(large)


# --- what is private --------------------------------------------------------------------------------------------------


def test_private_factors_are_drawn_as_said():
    """Uniformly, except a bar: none with probability .7, else down or across as often; all of them independently."""
    rng = np.random.default_rng(0)
    drawn = [draw_private(rng) for _ in range(20_000)]
    for name, values in PRIVATE.items():
        shares = (
            {"none": 0.7, "across": 0.15, "down": 0.15} if name == "bar" else dict.fromkeys(values, 1 / len(values))
        )
        found = Counter(one[name] for one in drawn)
        assert set(found) == set(values)
        for value, share in shares.items():
            assert abs(found[value] / 20_000 - share) < 5 * np.sqrt(share * (1 - share) / 20_000), (name, value)
    pairs = Counter((one["texture"], one["bar"]) for one in drawn)
    for texture in PRIVATE["texture"]:
        assert pairs[texture, "none"] / 20_000 == pytest.approx(0.2 * 0.7, abs=0.015)
    assert all(draw_private(rng, nuisance=0)["bar"] == "none" for _ in range(200))


def test_each_private_factor_changes_the_ground():
    scene = {0: Thing(3, 1, 1)}
    for name, values in PRIVATE.items():
        seen = {painted(scene, PLAIN | {name: value}).tobytes() for value in values}
        assert len(seen) == len(values), name


def test_without_nuisance_the_ground_is_plain():
    """But for its two levels of brightness nothing private is left, save scan and place of the things."""
    bars = PLAIN | {"brightness": "bright"}
    for private in (PLAIN, bars, PLAIN | {"texture": "checks", "tint": "sea", "noise": "coarse"}):
        image = painted({}, private, nuisance=0)
        assert (image == image[0, 0]).all()
        assert len(set(image[0, 0])) == 1, "grey"
    assert cells_that_differ(painted({}, PLAIN, 1, nuisance=0), painted({}, PLAIN, 2, nuisance=0)) == set()
    assert cells_that_differ(painted({}, PLAIN, 1), painted({}, PLAIN, 2)) == set(range(CELLS))
    thing = painted({3: Thing(5, 0, 1)}, nuisance=0)
    assert cells_that_differ(thing, painted({}, nuisance=0)) == {3}


def test_the_shade_of_an_ink_is_drawn_for_each_thing():
    """The shades of two things of one colour are spread as said, and one tells nothing of the other."""
    scene, shades = {0: Thing(8, 5, 1), 5: Thing(8, 5, 1)}, []
    for seed in range(150):
        image = painted(scene, PLAIN, seed)
        cells = image[:CELL, :CELL], image[CELL:, 2 * CELL :]
        pixels = [cell.reshape(-1, 3)[cell.sum(axis=2).ravel().argsort()[-20:], 0] for cell in cells]  # fully covered
        shades.append([np.mean(red) for red in pixels])
    first, second = np.transpose(shades)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.3
    assert np.std(first) == pytest.approx(SHADE / np.sqrt(3), rel=0.25)


def test_images_are_their_seeds():
    scene, private = {2: Thing(4, 4, 0), 5: Thing(9, 7, 1)}, PLAIN | {"bar": "down", "texture": "grains"}
    np.testing.assert_array_equal(painted(scene, private, 7), painted(scene, private, 7))
    assert painted(scene, private, 7).tobytes() != painted(scene, private, 8).tobytes()


def test_a_picture_is_a_png_of_the_rendering_that_names_its_scans():
    scene = {1: Thing(6, 3, 1), 4: Thing(2, 0, 0)}
    scans = draw_scans(scene, ALL, np.random.default_rng(0))
    image = picture(scene, scans, PLAIN, np.random.default_rng(1))
    assert image["path"] == f"scan-{scans[1]:04d}-{scans[4]:04d}.png"
    opened = Image.open(io.BytesIO(image["bytes"]))
    assert (opened.format, opened.mode, opened.size) == ("PNG", "RGB", (48, 32))
    np.testing.assert_array_equal(opened, render(scene, scans, PLAIN, np.random.default_rng(1)))


# --- handwriting ------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16))
def test_every_scan_is_in_one_share_and_in_its_digit(seed):
    pools = share_scans(SHARES, np.random.default_rng(seed))
    everything = [scan for pool in pools.values() for scans in pool for scan in scans]
    assert sorted(everything) == list(range(1797))
    for name, pool in pools.items():
        for digit, scans in enumerate(pool):
            assert set(scan_digits()[scans]) == {digit}
            assert abs(len(scans) - SHARES[name] * np.count_nonzero(scan_digits() == digit)) <= 1


def test_scans_are_drawn_from_the_pool_of_their_digit():
    pool = share_scans(SHARES, np.random.default_rng(0))["val"]
    scene, rng = {0: Thing(3, 0, 0), 2: Thing(3, 0, 0), 5: Thing(1, 0, 0)}, np.random.default_rng(1)
    drawn = [draw_scans(scene, pool, rng) for _ in range(400)]
    assert all(list(scans) == [0, 2, 5] for scans in drawn)
    assert {scans[0] for scans in drawn} == {scans[2] for scans in drawn} == set(pool[3])
    assert {scans[5] for scans in drawn} == set(pool[1])


@pytest.mark.parametrize("scans", [{}, {0: ALL[4][0]}, {1: ALL[3][0]}, {0: ALL[3][0], 1: ALL[3][0]}])
def test_scans_of_other_cells_or_digits_are_refused(scans):
    with pytest.raises(ValueError, match="expected one of its digit for each cell"):
        render({0: Thing(3, 0, 0)}, scans, PLAIN, np.random.default_rng(0))
