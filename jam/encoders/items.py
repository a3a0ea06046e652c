"""What a user hands to an encoder, as a list in its order: nothing is read by label, split into letters or guessed."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from math import isnan
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jam.data.images import as_rgb, decode_image
from jam.encoders.manifest import Modality
from jam.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # fillers of Hangul, and Braille without a dot
EXPECTED = {"image": "PIL images or pathlib.Path", "text": "str"}


def whole_number(value: Any, name: str, least: int, most: int | None = None) -> int:
    """``value`` as an int; InputError where it is none of ``least`` … ``most``, or no whole number at all."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        expected = f"from {least}" if most is None else f"of {least} … {most}"
        raise InputError(f"{name}: got {value!r}, expected a whole number {expected}")
    return int(value)


def listed(items: Iterable[Any], modality: Modality) -> list[Any]:
    """Items by position, whatever holds them: list, tuple, generator, pandas, numpy or Arrow column.

    Raises:
        InputError: one item where a list is expected, what has no order, or an item that is no text or image; a text
            needs a visible character, and no lone surrogate.
    """
    single = isinstance(items, str | bytes | Path | Mapping | AbstractSet) or getattr(items, "ndim", 1) != 1
    if single or not isinstance(items, Iterable):  # a PIL image is no Iterable
        raise InputError(f"items: got {type(items).__name__}, expected a list of {EXPECTED[modality]}")
    found = items.to_pylist() if hasattr(items, "to_pylist") else list(items)
    for position, item in enumerate(found):
        if reason := _unfit(item, modality):
            raise InputError(f"item {position}: got {reason}, expected {EXPECTED[modality]}")
    return [str.__str__(item) for item in found] if modality == "text" else found  # no subclasses, as numpy's


def opened(item: "Image | Path", position: int) -> "Image":
    """An image as the pipeline decodes it: upright 8-bit RGB, see `jam.data.images`.

    Raises:
        InputError: it cannot be read or decoded in full; names its position.
    """
    try:
        return decode_image(item.read_bytes()) if isinstance(item, Path) else as_rgb(item)
    except (OSError, InputError) as error:
        name = f", {item}" if isinstance(item, Path) else ""
        raise InputError(f"item {position}{name}: {getattr(error, 'strerror', None) or error}") from error


def _unfit(item: Any, modality: Modality) -> str | None:
    """What is wrong with an item; None if nothing is."""
    if modality == "image":
        from PIL.Image import Image

        return None if isinstance(item, Image | Path) else type(item).__name__
    if not isinstance(item, str):
        return "NaN" if isinstance(item, float) and isnan(item) else type(item).__name__
    if not any(letter.isprintable() and not letter.isspace() and letter not in BLANK for letter in item):
        return f"a text without a visible character ({item[:40]!r})"
    try:
        item.encode()
    except UnicodeEncodeError:
        return f"a lone surrogate in {item[:40]!r}"
    return None
