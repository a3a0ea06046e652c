"""Scene → image: 48 × 32 RGB, each thing a real handwritten scan, painted with what is private to the image.

The scans are scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set: 1,797 digits of
8 × 8 pixels and 17 grey levels. Private, and in no caption: the ground's texture, tint and brightness, the noise, and a
bar that may lie over it (named, see `PRIVATE`); and the scan of each thing, its exact size and place, its shade.
"""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits

from jam.world.state import COLUMNS, DIGITS, ROWS, Scene

CELL = 16  # pixels, each way
HEIGHT, WIDTH = len(ROWS) * CELL, len(COLUMNS) * CELL
INK = np.array(
    [
        (235, 35, 40),  # red
        (255, 140, 10),  # orange
        (245, 235, 60),  # yellow
        (45, 205, 70),  # green
        (60, 225, 230),  # cyan
        (55, 105, 255),  # blue
        (190, 70, 240),  # purple
        (245, 245, 245),  # white
    ],
    np.float32,
)
PIXELS = ((9, 10), (14, 15))  # small, large; which of the two is private
SHIFT = ((-2, 3), (0, 1))  # of the place in its cell, first and last but one
SHADE = 12.0  # spread of an ink's colour around its nominal value, in grey levels
SLOPE = 8.0  # of the ground's brightness from edge to edge, either way

Pool = Sequence[Sequence[int]]
"""For each digit the numbers of the scans that may show it."""

PRIVATE: dict[str, tuple[str, ...]] = {
    "texture": ("plain", "rows", "columns", "checks", "grains"),
    "tint": ("neutral", "rose", "moss", "sea"),
    "brightness": ("dim", "bright"),
    "noise": ("fine", "coarse"),
    "bar": ("none", "across", "down"),
}
_TINT = np.array([(1, 1, 1), (1.5, 0.75, 0.75), (0.75, 1.35, 0.75), (0.6, 0.95, 1.5)], np.float32)
_BRIGHTNESS = (26.0, 62.0)  # grey levels: the ground stays dark, so that all inks stand out on it
_CONTRAST = 0.3  # of a texture, as a share of the brightness
_NOISE = (4.0, 9.0)  # standard deviation in grey levels
_BAR = 0.3  # chance of one; 2 pixels wide
_DOWN, _ACROSS = (np.linspace(-1, 1, length, dtype=np.float32) for length in (HEIGHT, WIDTH))


@lru_cache(maxsize=1)
def scan_digits() -> npt.NDArray[np.int64]:
    """Digit of each of the 1,797 scans; a scan's number is its position here."""
    digits: npt.NDArray[np.int64] = load_digits().target.astype(np.int64)
    return digits


def share_scans(shares: Mapping[str, float], rng: np.random.Generator) -> Mapping[str, Pool]:
    """Cut the handwriting: name → for each digit the numbers of its scans, every digit in the same proportions."""
    pools: dict[str, list[list[int]]] = {name: [] for name in shares}
    for digit in range(len(DIGITS)):
        scans = rng.permutation(np.flatnonzero(scan_digits() == digit))
        ends = np.rint(np.cumsum(list(shares.values())) * len(scans)).astype(int)
        for name, part in zip(shares, np.split(scans, ends[:-1]), strict=True):
            pools[name].append(np.sort(part).tolist())
    return pools


def draw_private(rng: np.random.Generator, nuisance: float = 1.0) -> dict[str, str]:
    """Draw the named private factors of an image; a bar is there with probability .3 · ``nuisance``."""
    drawn = {name: values[int(rng.integers(len(values)))] for name, values in PRIVATE.items()}
    bars = PRIVATE["bar"]
    drawn["bar"] = bars[1 + int(rng.integers(2))] if rng.uniform() < _BAR * nuisance else bars[0]
    return drawn


def draw_scans(scene: Scene, pool: Pool, rng: np.random.Generator) -> dict[int, int]:
    """Choose a scan for each thing from those allowed for its digit: cell → scan."""
    return {cell: pool[thing.digit][int(rng.integers(len(pool[thing.digit])))] for cell, thing in scene.items()}


def render(
    scene: Scene,
    scans: Mapping[int, int],
    private: Mapping[str, str],
    rng: np.random.Generator,
    nuisance: float = 1.0,
) -> Image.Image:
    """Paint a scene.

    Two generators of the same seed give scenes that differ in one thing images that differ in that thing alone.

    Args:
        scene: what to paint.
        scans: cell → scan number, for each cell that holds a thing; see `draw_scans`.
        private: see `draw_private`.
        rng: source of all that is private and has no name.
        nuisance: strength of all that is private, 1 as it is meant; 0 for a plain ground.

    Raises:
        ValueError: the scans belong to other cells or other digits than the scene's.
    """
    if {cell: scan_digits()[scan] for cell, scan in scans.items()} != {cell: of.digit for cell, of in scene.items()}:
        raise ValueError(f"render: got scans {dict(scans)}, expected one of its digit for each cell of {dict(scene)}")
    texture, tint, brightness, noise, bar = (PRIVATE[name].index(private[name]) for name in PRIVATE)
    slope, phase = rng.uniform(-SLOPE, SLOPE, 2).astype(np.float32) * nuisance, int(rng.integers(4))
    level = _BRIGHTNESS[brightness] * (1 + nuisance * _CONTRAST * _texture(texture, phase, rng))
    ground = level + slope[0] * _DOWN[:, None] + slope[1] * _ACROSS
    canvas = ground[:, :, None] * (1 + nuisance * (_TINT[tint] - 1))
    # The same draws for all cells, empty or not: what is private to one cell never depends on what another holds.
    exact, unit, shade = rng.integers(0, 2, 6), rng.uniform(size=(6, 2)), rng.uniform(-SHADE, SHADE, (6, 3))
    for cell, thing in scene.items():
        pixels, (low, high) = PIXELS[thing.size][exact[cell]], SHIFT[thing.size]
        shift = np.floor(low + unit[cell] * (high - low)).astype(int)
        corner = np.array(divmod(cell, len(COLUMNS))) * CELL
        y, x = corner + np.clip((CELL - pixels) // 2 + shift, 0, CELL - pixels)
        cover = _stencils(pixels)[scans[cell]][:, :, None]
        patch = canvas[y : y + pixels, x : x + pixels]
        patch += cover * (INK[thing.colour] + nuisance * shade[cell].astype(np.float32) - patch)
    place = int(rng.integers(HEIGHT - 2)), int(rng.integers(WIDTH - 2))
    if bar == 1:
        canvas[place[0] : place[0] + 2] = 110
    elif bar == 2:
        canvas[:, place[1] : place[1] + 2] = 110
    canvas = canvas + _NOISE[noise] * nuisance * rng.standard_normal(canvas.shape, np.float32)
    return Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))


def _texture(number: int, phase: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Pattern of the ground, (32, 48) around 0; drawn at all times, so that what follows is the same for all."""
    grains = rng.standard_normal((HEIGHT // 4, WIDTH // 4)).astype(np.float32)
    rows = np.sign((np.arange(HEIGHT)[:, None] + phase) % 4 - 1.5) * np.ones(WIDTH)
    columns = np.sign((np.arange(WIDTH) + phase) % 4 - 1.5) * np.ones((HEIGHT, 1))
    patterns = 0 * rows, rows, columns, rows * columns, grains.repeat(4, axis=0).repeat(4, axis=1)
    return patterns[number].astype(np.float32)


@lru_cache(maxsize=4)
def _stencils(pixels: int) -> npt.NDArray[np.float32]:
    """All scans as coverage in [0, 1], upscaled to (1797, pixels, pixels)."""
    scans = (load_digits().images * (255 / 16)).astype(np.uint8)
    size = (pixels, pixels)
    upscaled = [np.asarray(Image.fromarray(scan).resize(size, Image.Resampling.BICUBIC)) for scan in scans]
    return np.clip(np.stack(upscaled).astype(np.float32) / 255 * 1.15, 0, 1)


def picture(
    scene: Scene,
    scans: Mapping[int, int],
    private: Mapping[str, str],
    rng: np.random.Generator,
    nuisance: float = 1.0,
) -> dict[str, Any]:
    """`render` as PNG, with a path that names its scans: provenance that a check can read."""
    buffer = io.BytesIO()
    render(scene, scans, private, rng, nuisance).save(buffer, format="PNG", compress_level=6)
    return {
        "bytes": buffer.getvalue(),
        "path": "-".join(["scan", *(f"{scan:04d}" for scan in scans.values())]) + ".png",
    }
