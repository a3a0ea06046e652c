"""Modalities: how the content of a view is stored, and how it is read for an encoder.

A new modality is one more entry of ``READERS``, and an encoder that takes what its ``read`` gives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jam.data.images import decode_image
from jam.errors import InputError

IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@dataclass(frozen=True)
class Reader:
    """One modality.

    Attributes:
        content: Arrow type of a view's content.
        feature: what `datasets` calls that type, so that it decodes it; None for the plain type.
        read: from one content, never null, to what an encoder of the modality takes.
        once: whether equal contents are encoded once, and all held in memory: texts, which are many and small.
    """

    content: pa.DataType
    feature: dict[str, Any] | None
    read: Callable[[Any], Any]
    once: bool


def _image(cell: dict[str, Any]) -> Any:
    if cell["bytes"] is None:
        raise InputError("got no bytes of an image")
    return decode_image(cell["bytes"])


READERS: dict[str, Reader] = {
    "image": Reader(IMAGE, {"_type": "Image"}, _image, once=False),
    "text": Reader(pa.string(), None, str, once=True),
}
