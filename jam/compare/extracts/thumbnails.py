"""Small pictures of the items shown, with one of their sentences, within a limit of bytes."""

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
from PIL import Image

from jam.errors import InputError

LIMIT = 2**20  # bytes of all pictures together


def thumbnails(
    ids: Sequence[str], images: Sequence[Image.Image], captions: Sequence[str], side: int = 48, limit: int = LIMIT
) -> pd.DataFrame:
    """PNG bytes of each picture, its longer side at most so many pixels; never enlarged.

    Colours are reduced to a palette of 64, which an eye hardly sees at this size and which halves the bytes.

    Args:
        ids: of the items.
        images: one of each.
        captions: one of each, for a page to show beside it.
        side: pixels.
        limit: bytes of all together.

    Returns:
        Columns ``id``, ``caption``, ``png``, ``width``, ``height``.

    Raises:
        InputError: they take more bytes than the limit.
    """
    rows: list[dict[str, Any]] = []
    for name, image, caption in zip(ids, images, captions, strict=True):
        small = image.convert("RGB")
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        held = io.BytesIO()
        small.quantize(64, dither=Image.Dither.NONE).save(held, "PNG", optimize=True)
        told = {"id": name, "caption": caption, "png": held.getvalue()}
        rows.append({**told, "width": small.width, "height": small.height})
    if (total := sum(len(row["png"]) for row in rows)) > limit:
        raise InputError(f"thumbnails: got {total:,} bytes of {len(rows)} pictures, expected at most {limit:,}; "
                         "show fewer items, or smaller ones")  # fmt: skip
    return pd.DataFrame(rows, columns=["id", "caption", "png", "width", "height"])
