"""Scene → image: 32 × 32 RGB, each thing a real handwritten scan, painted with nuisance that no caption mentions.

The scans are scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set: 1,797 digits of
8 × 8 pixels and 17 grey levels. Nuisance: the scan, its exact size and place, the shade of its ink, the colour,
brightness and slope of the ground, and pixel noise.
"""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from jam.data.cave.scenes import SIDES, Scene, pick

CANVAS = 32
INK: dict[str, tuple[int, int, int]] = {
    "red": (235, 35, 40),
    "orange": (255, 140, 10),
    "yellow": (245, 235, 60),
    "green": (45, 205, 70),
    "blue": (55, 120, 255),
    "purple": (190, 70, 240),
    "white": (245, 245, 245),
}
PIXELS: dict[str, tuple[int, int]] = {"small": (10, 11), "large": (14, 15)}  # the exact size is nuisance
CENTER_Y: dict[str, int] = {"top": 8, "middle": 16, "bottom": 24}
CENTER_X: dict[str, int] = {"left": 8, "right": 24}
GROUND_MAX = 80  # the ground stays dark, so that all seven inks stand out on it
SHADE = 12.0  # spread of an ink's colour around its nominal value, in grey levels
NOISE = 6.0  # standard deviation of the pixel noise, in grey levels
_RAMP = np.linspace(-1, 1, CANVAS, dtype=np.float32)


@lru_cache(maxsize=1)
def scan_digits() -> np.ndarray:
    """Digit of each of the 1,797 scans, (1797,) int64; a scan's number is its position here."""
    return load_digits().target.astype(np.int64)


@lru_cache(maxsize=4)
def _stencils(pixels: int) -> np.ndarray:
    """All scans as coverage in [0, 1], upscaled to (1797, pixels, pixels)."""
    scans = (load_digits().images * (255 / 16)).astype(np.uint8)
    size = (pixels, pixels)
    upscaled = [np.asarray(Image.fromarray(scan).resize(size, Image.Resampling.BICUBIC)) for scan in scans]
    return np.clip(np.stack(upscaled).astype(np.float32) / 255 * 1.15, 0, 1)


def draw_scans(scene: Scene, scans_by_digit: Mapping[str, Sequence[int]], rng: np.random.Generator) -> dict[str, int]:
    """Choose a scan for each thing of the scene: side → scan number, from the scans allowed for its digit."""
    return {side: pick(scans_by_digit[scene.thing(side).digit], rng) for side in scene.sides}


def render(scene: Scene, scans: Mapping[str, int], rng: np.random.Generator) -> Image.Image:
    """Paint a scene with the given scans.

    Two calls with different generators give two views of one scene; two generators of the same seed give scenes that
    differ in one attribute images that differ in that alone.

    Args:
        scene: what to paint.
        scans: side → scan number in [0, 1797), for each side that holds a thing; see `draw_scans`.
        rng: source of all nuisance but the scans.

    Raises:
        ValueError: the scans belong to other sides or other digits than the scene's.
    """
    if set(scans) != set(scene.sides):
        raise ValueError(f"render: scans for sides {sorted(scans)}, expected {list(scene.sides)}")
    slope = rng.uniform(-8, 8, 2).astype(np.float32)
    ground = rng.uniform(0.3, 1.0, 3) * rng.uniform(0, GROUND_MAX)
    canvas = np.empty((CANVAS, CANVAS, 3), np.float32)
    canvas[:] = ground
    canvas += (slope[0] * _RAMP[:, None] + slope[1] * _RAMP)[:, :, None]
    # The same draws for either side, absent or not: one side's nuisance never depends on what the other holds.
    for side, exact, shift, shade in zip(
        SIDES, rng.integers(0, 2, 2), rng.integers(-1, 2, (2, 2)), rng.uniform(-SHADE, SHADE, (2, 3)), strict=True
    ):
        if side not in scans:
            continue
        thing, scan = scene.thing(side), scans[side]
        if str(scan_digits()[scan]) != thing.digit:
            raise ValueError(f"render: scan {scan} shows a {scan_digits()[scan]}, expected a {thing.digit}")
        pixels = PIXELS[thing.size][exact]
        edge = 0 if side == "left" else CANVAS // 2  # a thing never leaves its half
        top = _start(CENTER_Y[thing.height] + shift[0], pixels, 0, CANVAS)
        x = _start(CENTER_X[side] + shift[1], pixels, edge, edge + CANVAS // 2)
        cover = _stencils(pixels)[scan][:, :, None]
        patch = canvas[top : top + pixels, x : x + pixels]
        patch += cover * (np.asarray(INK[thing.color], np.float32) + shade.astype(np.float32) - patch)
    canvas += NOISE * rng.standard_normal(canvas.shape, np.float32)
    np.clip(np.rint(canvas, out=canvas), 0, 255, out=canvas)
    return Image.fromarray(canvas.astype(np.uint8))


def _start(center: int, pixels: int, low: int, high: int) -> int:
    """First pixel of a run of ``pixels`` around ``center`` that stays within [low, high)."""
    return min(max(int(center) - pixels // 2, low), high - pixels)


def png_bytes(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
