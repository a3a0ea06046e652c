import io

import numpy as np
import pytest
from PIL import Image

from jam.data.cave.render import CANVAS, INK, draw_scans, png_bytes, render, scan_digits
from jam.data.cave.scenes import ATTRIBUTES, Scene, Thing, scene_of_code, two_thing_codes

SCENE = Scene(Thing("7", "red", "large", "top"), Thing("3", "blue", "small", "bottom"))
POOL = {digit: np.flatnonzero(scan_digits() == int(digit)).tolist() for digit in ATTRIBUTES["digit"]}


def paint(scene, seed=0, scans=None):
    scans = scans or {side: POOL[scene.thing(side).digit][0] for side in scene.sides}
    return np.asarray(render(scene, scans, np.random.default_rng(seed))).astype(int)


def ink_mask(scene, seed=0):
    """Pixels that a scene's things cover: those that change when each thing takes another colour."""
    other = scene
    for side in scene.sides:
        other = other.replaced(side, "color", "green" if scene.thing(side).color != "green" else "purple")
    return np.abs(paint(scene, seed) - paint(other, seed)).max(2) > 20


def test_views_differ_but_the_same_generator_gives_the_same_view():
    assert np.array_equal(paint(SCENE, 1), paint(SCENE, 1))
    assert not np.array_equal(paint(SCENE, 1), paint(SCENE, 2))
    ground = [paint(SCENE, seed)[-4:, :8].mean() for seed in range(30)]
    assert np.std(ground) > 5  # brightness of the ground is nuisance
    rows = {int(np.flatnonzero(ink_mask(SCENE, seed)[:, :16].any(1))[0]) for seed in range(30)}
    assert len(rows) > 1  # and so is the exact place


def test_one_attribute_changes_its_own_half_only():
    for name, value in (("color", "green"), ("size", "large"), ("height", "top")):
        changed = np.abs(paint(SCENE) - paint(SCENE.replaced("right", name, value))).max(2)
        assert changed[:, 16:].max() > 50
        assert changed[:, :16].max() == 0


def test_an_absent_thing_leaves_bare_ground():
    alone = Scene(None, SCENE.right)
    assert np.array_equal(paint(alone)[:, 16:], paint(SCENE)[:, 16:])
    assert paint(alone)[:, :16].max() < 140
    assert paint(SCENE)[:, :16].max() > 200


def test_places_and_sizes_can_be_told_apart_in_spite_of_jitter():
    for seed in range(20):
        centers, extents = {}, {}
        for height in ATTRIBUTES["height"]:
            rows = np.flatnonzero(ink_mask(SCENE.replaced("left", "height", height), seed)[:, :16].any(1))
            centers[height] = rows.mean()
        for size in ATTRIBUTES["size"]:
            rows = np.flatnonzero(ink_mask(SCENE.replaced("left", "size", size), seed)[:, :16].any(1))
            extents[size] = rows[-1] - rows[0] + 1
        assert centers["top"] < 11.5 < centers["middle"] < 20.5 < centers["bottom"]
        assert extents["small"] <= 11 < 13 <= extents["large"] <= 15


def test_the_nearest_ink_is_the_true_colour():
    names, inks = list(INK), np.array(list(INK.values()))
    rng = np.random.default_rng(0)
    right = total = 0
    for code in rng.choice(two_thing_codes(), 100):
        scene = scene_of_code(code)
        image = np.asarray(render(scene, draw_scans(scene, POOL, rng), rng)).astype(int)
        for side, half in (("left", image[:, :16]), ("right", image[:, 16:])):
            pixels = half.reshape(-1, 3)
            color = pixels[np.argsort(pixels.max(1))[-12:]].mean(0)
            right += names[int(((inks - color) ** 2).sum(1).argmin())] == scene.thing(side).color
            total += 1
    assert right / total > 0.95


def test_scans_are_drawn_from_the_pool_and_checked():
    pool = {digit: scans[:3] for digit, scans in POOL.items()}
    rng = np.random.default_rng(0)
    drawn = [draw_scans(SCENE, pool, rng) for _ in range(60)]
    assert {scans["left"] for scans in drawn} == set(pool["7"])
    assert {scans["right"] for scans in drawn} == set(pool["3"])
    with pytest.raises(ValueError, match="shows a 3, expected a 7"):
        paint(SCENE, scans={"left": POOL["3"][0], "right": POOL["3"][0]})
    with pytest.raises(ValueError, match=r"scans for sides \['left'\]"):
        paint(SCENE, scans={"left": POOL["7"][0]})


def test_png_keeps_every_pixel():
    image = render(SCENE, {side: POOL[SCENE.thing(side).digit][0] for side in SCENE.sides}, np.random.default_rng(0))
    decoded = Image.open(io.BytesIO(png_bytes(image)))
    assert (decoded.format, decoded.mode, decoded.size) == ("PNG", "RGB", (CANVAS, CANVAS))
    assert np.array_equal(np.asarray(decoded), np.asarray(image))
